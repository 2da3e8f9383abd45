//! What callers send: JSON bodies and query strings, checked.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::Deserialize;

use crate::problem::Problem;

/// Candidates and passages one request may ask for.
const MOST: u32 = 200;
/// Bytes a question may have; far beyond any model's window, whose cut is reported.
const LONGEST_QUERY: usize = 16 * 1024;

/// `POST /v1/answer`, and `GET /answer` with `q` for `query`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// The question.
    pub query: String,
    /// Candidates the retriever fetches.
    pub top_k: Option<u32>,
    /// Passages the reranker keeps.
    pub top_n: Option<u32>,
    /// Compare with every passage instead of walking the index.
    #[serde(default)]
    pub exact: bool,
    /// Sentences the answer may have.
    #[serde(default = "default_max_sentences")]
    pub max_sentences: u32,
    /// Evidence under which the generator abstains; its own default when absent.
    pub threshold: Option<f32>,
}

/// `POST /v1/retrieve`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrieveRequest {
    /// The query.
    pub query: String,
    /// Candidates to return.
    pub top_k: Option<u32>,
    /// Compare with every passage instead of walking the index.
    #[serde(default)]
    pub exact: bool,
}

/// `POST /v1/rerank`: passages of the caller's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankRequest {
    /// The query.
    pub query: String,
    /// Texts, or texts with a title.
    pub passages: Vec<RerankPassage>,
    /// How many to keep; all when absent.
    pub top_n: Option<u32>,
}

/// One passage to rerank.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum RerankPassage {
    /// A text alone.
    Text(String),
    /// A text with what it is known by.
    #[serde(rename_all = "snake_case")]
    Record {
        /// The passage.
        text: String,
        /// Its document's title.
        #[serde(default)]
        title: String,
    },
}

fn default_max_sentences() -> u32 {
    3
}

impl AnswerRequest {
    /// Reads `q`, `top_k`, `top_n`, `exact`, `max_sentences` and `threshold`.
    pub fn from_query_string(query_string: &str) -> Result<AnswerRequest, Problem> {
        let mut request = AnswerRequest {
            query: String::new(),
            top_k: None,
            top_n: None,
            exact: false,
            max_sentences: default_max_sentences(),
            threshold: None,
        };
        let mut asked = false;
        for pair in query_string.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(name, value)?;
            match name {
                "q" => {
                    request.query = value;
                    asked = true;
                }
                "top_k" => request.top_k = Some(number(name, &value)?),
                "top_n" => request.top_n = Some(number(name, &value)?),
                "max_sentences" => request.max_sentences = number(name, &value)?,
                "threshold" => request.threshold = Some(number(name, &value)?),
                "exact" => request.exact = number(name, &value)?,
                other => {
                    return Err(Problem::Invalid(format!(
                        "no parameter is called `{other}`; there are q, top_k, top_n, exact, \
                         max_sentences and threshold"
                    )));
                }
            }
        }
        if !asked {
            return Err(Problem::Invalid(
                "the question is missing: ask with /answer?q=your+question".to_owned(),
            ));
        }
        Ok(request)
    }

    /// Holds every field against its limits.
    pub fn checked(self) -> Result<AnswerRequest, Problem> {
        check_query(&self.query)?;
        check_range("top_k", self.top_k, MOST)?;
        check_range("top_n", self.top_n, MOST)?;
        check_range("max_sentences", Some(self.max_sentences), 20)?;
        if self.threshold.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
            return Err(Problem::Invalid("threshold may be 0 to 1".to_owned()));
        }
        Ok(self)
    }
}

impl RetrieveRequest {
    /// Holds every field against its limits.
    pub fn checked(self) -> Result<RetrieveRequest, Problem> {
        check_query(&self.query)?;
        check_range("top_k", self.top_k, MOST)?;
        Ok(self)
    }
}

impl RerankRequest {
    /// Holds every field against its limits.
    pub fn checked(self) -> Result<RerankRequest, Problem> {
        check_query(&self.query)?;
        check_range("top_n", self.top_n, MOST)?;
        if self.passages.is_empty() || self.passages.len() > MOST as usize {
            let given = self.passages.len();
            return Err(Problem::Invalid(format!("{given} passages; there may be 1 to {MOST}")));
        }
        Ok(self)
    }
}

fn check_query(query: &str) -> Result<(), Problem> {
    let wrong = if query.trim().is_empty() {
        "the query is empty".to_owned()
    } else if query.contains('\0') {
        "the query holds a NUL character".to_owned()
    } else if query.len() > LONGEST_QUERY {
        format!("the query has {} bytes; there may be {LONGEST_QUERY}", query.len())
    } else {
        return Ok(());
    };
    Err(Problem::Invalid(wrong))
}

/// What a request does not say has a default, which is in range.
fn check_range(name: &str, value: Option<u32>, most: u32) -> Result<(), Problem> {
    match value {
        Some(value) if !(1..=most).contains(&value) => {
            Err(Problem::Invalid(format!("{name} is {value}; it may be 1 to {most}")))
        }
        _ => Ok(()),
    }
}

/// Form decoding: `+` is a space, `%xx` a byte, and the bytes must be UTF-8.
fn decode(name: &str, value: &str) -> Result<String, Problem> {
    let spaced = value.replace('+', " ");
    percent_decode(spaced.as_bytes())
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| Problem::Invalid(format!("the value of `{name}` is not UTF-8")))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Problem> {
    value.parse().map_err(|_| Problem::Invalid(format!("`{value}` does not do for {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(problem: Problem) -> String {
        match problem {
            Problem::Invalid(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_query_string_is_form_decoded() {
        let request =
            AnswerRequest::from_query_string("q=caf%C3%A9+or%20tea%3F&top_k=7&exact=true").unwrap();
        assert_eq!(request.query, "café or tea?");
        assert_eq!((request.top_k, request.top_n, request.exact), (Some(7), None, true));
    }

    #[test]
    fn bad_query_strings_say_what_is_wrong() {
        let wrong = |s| message(AnswerRequest::from_query_string(s).unwrap_err());
        assert!(wrong("").contains("missing"));
        assert!(wrong("q=%FF").contains("not UTF-8"));
        assert!(wrong("q=a&top_k=many").contains("`many`"));
        assert!(wrong("q=a&topk=1").contains("`topk`"));
    }

    #[test]
    fn limits_are_held() {
        let wrong =
            |s| message(AnswerRequest::from_query_string(s).unwrap().checked().unwrap_err());
        assert!(wrong("q=+").contains("empty"));
        assert!(wrong("q=a%00b").contains("NUL"));
        assert!(wrong("q=a&top_k=0").contains("1 to 200"));
        assert!(wrong("q=a&top_n=1000000000").contains("1 to 200"));
        assert!(wrong("q=a&threshold=1.5").contains("0 to 1"));
        assert!(wrong("q=a&threshold=NaN").contains("0 to 1"));
        assert!(wrong(&format!("q={}", "a".repeat(LONGEST_QUERY + 1))).contains("bytes"));
    }
}
