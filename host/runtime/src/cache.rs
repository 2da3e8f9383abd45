//! Answers given before, for a while: what was asked again need not be computed again.
//!
//! Two requests are the same when their path and fields are, and their questions but for what no
//! stage reads: case, spaces, articles, and the marks that end a sentence. Everything else counts,
//! so that `C++` is not `C`, and no answer is given to another question. A cache belongs to one
//! program and goes with it: no answer outlives the documents it came from.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use lru::LruCache;
use serde_json::{Map, Value};

/// Bytes that a request may have to be remembered: a long one is not asked twice.
const LONGEST_REQUEST: usize = 8 << 10;

/// Bounds on a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// How long an answer is given again.
    pub time_to_live: Duration,
    /// Bytes of requests and answers that are kept; 0 keeps none.
    pub bytes: usize,
}

impl Default for CacheOptions {
    fn default() -> Self {
        CacheOptions { time_to_live: Duration::from_secs(600), bytes: 16 << 20 }
    }
}

/// What was asked, in the words that count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(String);

/// Marks a response that was given before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored;

/// Answers by what was asked, the least lately used leaving first.
#[derive(Debug)]
pub(crate) struct AnswerCache {
    options: CacheOptions,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    answers: LruCache<Key, Answer>,
    bytes: usize,
}

#[derive(Debug)]
struct Answer {
    body: Bytes,
    given: Instant,
}

impl AnswerCache {
    /// An empty cache.
    pub(crate) fn new(options: CacheOptions) -> AnswerCache {
        let kept = Kept { answers: LruCache::unbounded(), bytes: 0 };
        AnswerCache { options, kept: Mutex::new(kept) }
    }

    /// The answer that was given, marked with its age, unless that is over the time to live.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Bytes> {
        let mut kept = self.kept();
        let answer = kept.answers.get(key)?;
        let age = now.saturating_duration_since(answer.given);
        if age <= self.options.time_to_live {
            return Some(marked(&answer.body, age));
        }
        kept.remove(key);
        None
    }

    /// Keeps an answer, in place of what has not been asked for longest.
    pub(crate) fn put(&self, key: Key, body: Bytes, now: Instant) {
        let size = size(&key, &body);
        // What fills a large part of the cache would cost many others their place.
        if size > self.options.bytes / 8 {
            return;
        }
        let mut kept = self.kept();
        kept.remove(&key);
        kept.bytes += size;
        kept.answers.put(key, Answer { body, given: now });
        while kept.bytes > self.options.bytes
            && let Some((key, answer)) = kept.answers.pop_lru()
        {
            kept.bytes -= self::size(&key, &answer.body);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No method leaves it half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) {
        if let Some((key, answer)) = self.answers.pop_entry(key) {
            self.bytes -= size(&key, &answer.body);
        }
    }
}

fn size(key: &Key, body: &Bytes) -> usize {
    key.0.len() + body.len()
}

impl Key {
    /// What a request asks; `None` where it asks nothing that is kept, or with `cache: off`.
    pub(crate) fn of(request: &Request<Bytes>) -> Option<Key> {
        let uri = request.uri();
        let fields = match (request.method(), uri.path()) {
            (&Method::GET, "/answer") => in_query_string(uri.query()?),
            (&Method::POST, "/v1/answer" | "/v1/retrieve") => in_body(request.body())?,
            _ => return None,
        };
        Key::from(uri.path(), fields)
    }

    fn from(path: &str, mut fields: Map<String, Value>) -> Option<Key> {
        if fields.remove("cache").is_some_and(|cache| !cache.is_null() && cache != "auto") {
            return None;
        }
        let name = if path == "/answer" { "q" } else { "query" };
        let question = normal(fields.get(name)?.as_str()?);
        fields.insert(name.to_owned(), question.into());
        // Fields come in the order of their names, whatever order they were sent in.
        let key = format!("{path} {}", Value::Object(fields));
        (key.len() <= LONGEST_REQUEST).then_some(Key(key))
    }
}

fn in_body(body: &Bytes) -> Option<Map<String, Value>> {
    if body.len() > LONGEST_REQUEST {
        return None;
    }
    serde_json::from_slice(body).ok()
}

fn in_query_string(query: &str) -> Map<String, Value> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()
}

/// A question without what no stage reads.
fn normal(question: &str) -> String {
    let lower = question.to_lowercase();
    let words = lower.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the"));
    let mut normal = words.collect::<Vec<_>>().join(" ");
    normal.truncate(normal.trim_end_matches(['?', '.', '!', ' ']).len());
    normal
}

/// An answer's JSON object with one more field, which says how old it is.
fn marked(body: &Bytes, age: Duration) -> Bytes {
    match body.strip_prefix(b"{") {
        Some(rest) => {
            let mark = format!(r#"{{"cached":{{"age_seconds":{}}},"#, age.as_secs());
            [mark.as_bytes(), rest].concat().into()
        }
        None => body.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(path: &str, body: &str) -> Request<Bytes> {
        Request::post(path).body(Bytes::from(body.to_owned())).unwrap()
    }

    fn asked(question: &str) -> Option<Key> {
        Key::of(&post("/v1/answer", &serde_json::json!({ "query": question }).to_string()))
    }

    #[test]
    fn what_no_stage_reads_makes_no_other_question() {
        let key = asked("When does the library open?").unwrap();
        for same in [
            "when does the library open",
            " When  does library\topen ?",
            "WHEN DOES A LIBRARY OPEN!",
        ] {
            assert_eq!(asked(same).as_ref(), Some(&key), "{same}");
        }
        for other in [
            "When does the library close?",
            "Does the library open when?",
            "When does the \"library open\"?",
        ] {
            assert_ne!(asked(other).as_ref(), Some(&key), "{other}");
        }
        assert_ne!(asked("What is C++?"), asked("What is C?"));
        assert_ne!(asked("--verbose"), asked("verbose"));
        assert_ne!(asked("in 2023?"), asked("in 2024?"));
    }

    #[test]
    fn fields_count_and_their_order_does_not() {
        let key = |body| Key::of(&post("/v1/answer", body));
        let first = key(r#"{"query": "a b", "top_k": 5, "filter": {"field": "x", "eq": 1}}"#);
        assert!(first.is_some());
        assert_eq!(first, key(r#"{"filter": {"eq": 1, "field": "x"}, "top_k": 5, "query": "b"}"#));
        assert_ne!(first, key(r#"{"query": "a b", "top_k": 6}"#));
        assert_ne!(first, Key::of(&post("/v1/retrieve", r#"{"query": "a b", "top_k": 5}"#)));
        let get = |uri: &str| Key::of(&Request::get(uri).body(Bytes::new()).unwrap());
        assert_eq!(get("/answer?q=Where+to%3F&top_n=2"), get("/answer?top_n=2&q=where+to"));
        assert_ne!(get("/answer?q=where+to"), get("/answer?q=where+to&top_n=2"));
    }

    #[test]
    fn what_is_no_question_or_wants_no_cache_has_no_key() {
        assert_eq!(Key::of(&post("/v1/rerank", r#"{"query": "x"}"#)), None);
        assert_eq!(Key::of(&post("/v1/answer", r#"{"query": 1}"#)), None);
        assert_eq!(Key::of(&post("/v1/answer", "no JSON")), None);
        assert_eq!(Key::of(&post("/v1/answer", r#"{"query": "x", "cache": "off"}"#)), None);
        let auto = Key::of(&post("/v1/answer", r#"{"query": "x", "cache": "auto"}"#));
        assert_eq!(auto, asked("x"));
        assert_eq!(asked(&"long ".repeat(LONGEST_REQUEST)), None);
        let get = Request::get("/answer?q=x&cache=off").body(Bytes::new()).unwrap();
        assert_eq!(Key::of(&get), None);
    }

    #[test]
    fn answers_come_back_marked_until_their_time_is_over() {
        let options = CacheOptions { time_to_live: Duration::from_secs(60), bytes: 1 << 10 };
        let cache = AnswerCache::new(options);
        let (key, now) = (asked("x").unwrap(), Instant::now());
        assert_eq!(cache.get(&key, now), None);
        cache.put(key.clone(), Bytes::from(r#"{"answer":"y"}"#), now);
        let later = |seconds| cache.get(&key, now + Duration::from_secs(seconds));
        let marked: Value = serde_json::from_slice(&later(5).unwrap()).unwrap();
        assert_eq!(marked, serde_json::json!({ "answer": "y", "cached": { "age_seconds": 5 } }));
        assert!(later(60).is_some());
        assert_eq!(later(61), None);
        assert_eq!(later(5), None, "what is too old has left");
        assert_eq!(cache.kept().bytes, 0);
    }

    #[test]
    fn it_holds_no_more_bytes_than_it_may() {
        let cache = AnswerCache::new(CacheOptions { bytes: 4 << 10, ..Default::default() });
        let now = Instant::now();
        for n in 0..100 {
            cache.put(asked(&format!("question {n}")).unwrap(), vec![b'x'; 300].into(), now);
            cache.get(&asked("question 0").unwrap(), now);
        }
        assert!(cache.kept().bytes <= 4 << 10 && cache.kept().answers.len() > 5);
        assert!(cache.get(&asked("question 0").unwrap(), now).is_some(), "the last used stay");
        assert!(cache.get(&asked("question 50").unwrap(), now).is_none());
        cache.put(asked("large").unwrap(), vec![b'x'; 600].into(), now);
        assert!(cache.get(&asked("large").unwrap(), now).is_none());
        let none = AnswerCache::new(CacheOptions { bytes: 0, ..Default::default() });
        none.put(asked("x").unwrap(), Bytes::from("{}"), now);
        assert!(none.get(&asked("x").unwrap(), now).is_none());
    }
}
