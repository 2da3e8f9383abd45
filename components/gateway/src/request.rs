//! What callers send, checked.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::bindings::trine::rag::retriever::{Fusion, Mode, RetrievalOptions, Surroundings};
use crate::fields::{Fields, refused};
use crate::problem::Problem;

/// Candidates and passages one request may ask for.
const MOST: u32 = 200;
/// Bytes a question may have; far beyond any model's window, whose cut is reported.
const LONGEST_QUERY: usize = 16 * 1024;
/// Passages before and after one.
const MOST_NEIGHBOURS: u32 = 10;
/// Passages that a section is cut to.
const LONGEST_SECTION: u32 = 20;
/// Bytes of a snippet when a request does not say: about two lines.
const SNIPPET: u32 = 240;
/// Bytes a snippet may have.
const LONGEST_SNIPPET: u32 = 4000;

/// What the first stage is asked, whichever route asks it.
#[derive(Clone, Debug)]
pub struct Search {
    /// The question.
    pub query: String,
    /// Candidates to fetch; the application's default when absent.
    pub top_k: Option<u32>,
    /// What belongs to each passage that is kept.
    pub context: Option<Surroundings>,
    /// The rest, with 0 for `top-k`.
    options: RetrievalOptions,
}

impl Search {
    /// Reads its fields; the query's name is the route's to say.
    fn read(fields: &mut Fields, query: &'static str) -> Result<Search, Problem> {
        // Whether an answer may be one given before: the server's to say, which keeps them.
        is_auto(fields, "cache")?;
        Ok(Search {
            query: read_query(fields, query)?,
            top_k: fields.number("top_k", 1..=MOST)?,
            context: read_context(fields)?,
            options: RetrievalOptions {
                top_k: 0,
                mode: read_mode(fields)?,
                fusion: read_fusion(fields)?,
                exact: fields.take("exact", "true or false")?.unwrap_or(false),
                filter: read_filter(fields)?,
                diversity: fields.number("diversity", 0.0..=1.0)?,
                per_document: fields.number("per_document", 1..=MOST)?,
                decompose: is_auto(fields, "decompose")?,
                spelling: is_auto(fields, "spelling")?,
                highlight: false,
            },
        })
    }

    /// The retriever's options, where `top_k` is what is fetched unless the request says.
    pub fn options(&self, top_k: u32, highlight: bool) -> RetrievalOptions {
        let top_k = self.top_k.unwrap_or(top_k);
        RetrievalOptions { top_k, highlight, ..self.options.clone() }
    }
}

/// `POST /v1/answer`, and `GET /answer` with `q` for `query`.
#[derive(Clone, Debug)]
pub struct AnswerRequest {
    /// What is searched for.
    pub search: Search,
    /// Passages the reranker keeps.
    pub top_n: Option<u32>,
    /// Whether the first stage's scores count in reranking.
    pub fuse: bool,
    /// Sentences the answer may have.
    pub max_sentences: u32,
    /// Evidence under which the generator abstains; its own default when absent.
    pub threshold: Option<f32>,
}

impl AnswerRequest {
    /// Reads a body.
    pub fn from_json(text: &str) -> Result<AnswerRequest, Problem> {
        AnswerRequest::read(Fields::of_json(text)?, "query")
    }

    /// Reads a query string, with `q` for the query.
    pub fn from_query_string(text: &str) -> Result<AnswerRequest, Problem> {
        AnswerRequest::read(Fields::of_query_string(text)?, "q")
    }

    fn read(mut fields: Fields, query: &'static str) -> Result<AnswerRequest, Problem> {
        let request = AnswerRequest {
            search: Search::read(&mut fields, query)?,
            top_n: fields.number("top_n", 1..=MOST)?,
            fuse: fields.take("fuse", "true or false")?.unwrap_or(true),
            max_sentences: fields.number("max_sentences", 1..=20)?.unwrap_or(3),
            threshold: fields.number("threshold", 0.0..=1.0)?,
        };
        fields.end()?;
        Ok(request)
    }
}

/// `POST /v1/retrieve`.
#[derive(Clone, Debug)]
pub struct RetrieveRequest {
    /// What is searched for.
    pub search: Search,
    /// Bytes of a candidate's snippet; 0 for none.
    pub snippet: u32,
}

impl RetrieveRequest {
    /// Reads a body.
    pub fn from_json(text: &str) -> Result<RetrieveRequest, Problem> {
        let mut fields = Fields::of_json(text)?;
        let request = RetrieveRequest {
            search: Search::read(&mut fields, "query")?,
            snippet: fields.number("snippet", 0..=LONGEST_SNIPPET)?.unwrap_or(SNIPPET),
        };
        fields.end()?;
        Ok(request)
    }
}

/// `POST /v1/rerank`: passages of the caller's own.
#[derive(Clone, Debug)]
pub struct RerankRequest {
    /// The query.
    pub query: String,
    /// Texts, or texts with a title.
    pub passages: Vec<RerankPassage>,
    /// How many to keep; all when absent.
    pub top_n: Option<u32>,
    /// Whether the first stage's scores count too; when absent, where passages carry them.
    pub fuse: Option<bool>,
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
        /// What a first stage scored it with.
        #[serde(default)]
        retrieval_score: Option<f32>,
    },
}

impl RerankPassage {
    /// Whether it carries a first stage's score.
    pub fn scored(&self) -> bool {
        matches!(self, RerankPassage::Record { retrieval_score: Some(_), .. })
    }
}

impl RerankRequest {
    /// Reads a body.
    pub fn from_json(text: &str) -> Result<RerankRequest, Problem> {
        let mut fields = Fields::of_json(text)?;
        let passages: Vec<RerankPassage> = fields
            .take("passages", "a list of texts, or of objects with `text` and `title`")?
            .unwrap_or_default();
        let request = RerankRequest {
            query: read_query(&mut fields, "query")?,
            top_n: fields.number("top_n", 1..=MOST)?,
            fuse: fields.take("fuse", "true or false")?,
            passages,
        };
        fields.end()?;
        let given = request.passages.len();
        if !(1..=MOST as usize).contains(&given) {
            return Err(Problem::Invalid(format!("{given} passages; there may be 1 to {MOST}")));
        }
        let infinite = |passage: &RerankPassage| match passage {
            RerankPassage::Record { retrieval_score: Some(score), .. } => !score.is_finite(),
            _ => false,
        };
        if request.passages.iter().any(infinite) {
            return Err(Problem::Invalid("a `retrieval_score` is too large".to_owned()));
        }
        Ok(request)
    }
}

fn read_query(fields: &mut Fields, name: &'static str) -> Result<String, Problem> {
    let Some(query) = fields.take::<String>(name, "a string")? else {
        return Err(Problem::Invalid(match name {
            "q" => "the question is missing: ask with /answer?q=your+question".to_owned(),
            name => format!("the field `{name}` is missing: a string"),
        }));
    };
    check_query(&query)?;
    Ok(query)
}

fn read_mode(fields: &mut Fields) -> Result<Mode, Problem> {
    Ok(match fields.word("mode", &["hybrid", "dense", "lexical"])? {
        Some(1) => Mode::Dense,
        Some(2) => Mode::Lexical,
        _ => Mode::Hybrid,
    })
}

/// `"weighted"`, or `{"reciprocal_rank": 60}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FusionField {
    Weighted,
    ReciprocalRank(f32),
}

fn read_fusion(fields: &mut Fields) -> Result<Fusion, Problem> {
    let allowed = "\"weighted\" or {\"reciprocal_rank\": k} with k greater than 0";
    match fields.take("fusion", allowed)? {
        None | Some(FusionField::Weighted) => Ok(Fusion::Weighted),
        Some(FusionField::ReciprocalRank(k)) if k > 0.0 && k.is_finite() => {
            Ok(Fusion::ReciprocalRank(k))
        }
        Some(FusionField::ReciprocalRank(k)) => Err(refused("reciprocal_rank", k, "above 0")),
    }
}

/// `{"neighbours": 2}`, or `"section"`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ContextField {
    Neighbours(u32),
    Section,
}

fn read_context(fields: &mut Fields) -> Result<Option<Surroundings>, Problem> {
    let allowed =
        format!("\"section\" or {{\"neighbours\": n}} with n from 1 to {MOST_NEIGHBOURS}");
    match fields.take("context", &allowed)? {
        None => Ok(None),
        Some(ContextField::Section) => Ok(Some(Surroundings::Section(LONGEST_SECTION))),
        Some(ContextField::Neighbours(n @ 1..=MOST_NEIGHBOURS)) => {
            Ok(Some(Surroundings::Neighbours(n)))
        }
        Some(ContextField::Neighbours(n)) => {
            Err(refused("neighbours", n, format!("1 to {MOST_NEIGHBOURS}")))
        }
    }
}

/// A condition, which the retriever reads: as text, in its own order of names.
fn read_filter(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let filter = fields.take::<Map<String, Value>>("filter", "a JSON object")?;
    Ok(filter.map(|filter| Value::Object(filter).to_string()))
}

fn is_auto(fields: &mut Fields, name: &'static str) -> Result<bool, Problem> {
    Ok(fields.word(name, &["auto", "off"])? != Some(1))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Search {
        AnswerRequest::from_query_string(text).unwrap().search
    }

    fn wrong(text: &str) -> String {
        message(AnswerRequest::from_query_string(text).unwrap_err())
    }

    fn message(problem: Problem) -> String {
        match problem {
            Problem::Invalid(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_query_string_is_form_decoded() {
        let search = asked("q=caf%C3%A9+or%20tea%3F&top_k=7&exact=true");
        assert_eq!((search.query.as_str(), search.top_k), ("café or tea?", Some(7)));
        assert!(search.options(50, false).exact);
        // What looks like JSON is text where text is asked for.
        assert_eq!(asked("q=%22to+be%22").query, "\"to be\"");
        assert_eq!(asked("q=404").query, "404");
    }

    #[test]
    fn bad_query_strings_say_what_is_wrong() {
        assert!(wrong("").contains("missing"));
        assert!(wrong("q=%FF").contains("not UTF-8"));
        assert_eq!(wrong("q=a&top_k=many"), "top_k is \"many\"; it may be 1 to 200");
        assert!(wrong("q=a&topk=1").contains("`topk`"));
        assert!(wrong(&format!("q=a&{}=1", "é".repeat(500))).len() < 300);
    }

    #[test]
    fn limits_are_held() {
        assert!(wrong("q=+").contains("empty"));
        assert!(wrong("q=a%00b").contains("NUL"));
        assert!(wrong("q=a&top_k=0").contains("1 to 200"));
        assert!(wrong("q=a&top_n=1000000000").contains("1 to 200"));
        assert!(wrong("q=a&threshold=1.5").contains("0 to 1"));
        assert!(wrong("q=a&threshold=NaN").contains("0 to 1"));
        assert!(wrong("q=a&diversity=1.1").contains("0 to 1"));
        assert!(wrong("q=a&per_document=0").contains("1 to 200"));
        assert!(wrong(&format!("q={}", "a".repeat(LONGEST_QUERY + 1))).contains("bytes"));
    }

    #[test]
    fn options_have_one_shape_in_bodies_and_query_strings() {
        let body = r#"{"query": "a", "mode": "lexical", "fusion": {"reciprocal_rank": 60},
            "context": {"neighbours": 2}, "filter": {"field": "tags", "in": ["x"]},
            "diversity": 0.5, "per_document": 3, "decompose": "off", "spelling": null}"#;
        let text = "q=a&mode=lexical&fusion={\"reciprocal_rank\":60}&context={\"neighbours\":2}\
            &filter={\"field\":\"tags\",\"in\":[\"x\"]}&diversity=0.5&per_document=3\
            &decompose=off";
        for search in [AnswerRequest::from_json(body).unwrap().search, asked(text)] {
            let options = search.options(50, true);
            assert_eq!(options.mode, Mode::Lexical);
            assert!(matches!(options.fusion, Fusion::ReciprocalRank(60.0)));
            assert!(matches!(search.context, Some(Surroundings::Neighbours(2))));
            assert_eq!(options.filter.as_deref(), Some(r#"{"field":"tags","in":["x"]}"#));
            assert_eq!((options.diversity, options.per_document), (Some(0.5), Some(3)));
            assert!(!options.decompose && options.spelling && options.highlight);
            assert_eq!(options.top_k, 50);
        }
        let section = asked("q=a&context=section&fusion=weighted");
        assert!(matches!(section.context, Some(Surroundings::Section(LONGEST_SECTION))));
        assert_eq!(section.options(50, false).mode, Mode::Hybrid);
    }

    #[test]
    fn shapes_that_are_wrong_are_told_the_right_one() {
        assert!(wrong("q=a&mode=bm25").ends_with("hybrid or dense or lexical"));
        assert!(wrong("q=a&fusion=rrf").contains("{\"reciprocal_rank\": k}"));
        assert!(wrong("q=a&fusion={\"reciprocal_rank\":0}").contains("above 0"));
        assert!(wrong("q=a&fusion={\"reciprocal_rank\":1e39}").contains("reciprocal_rank"));
        assert!(wrong("q=a&context=page").contains("\"section\""));
        assert!(wrong("q=a&context={\"neighbours\":11}").contains("1 to 10"));
        assert!(wrong("q=a&filter=x").contains("a JSON object"));
        assert!(wrong("q=a&decompose=yes").contains("auto or off"));
        let body = |text| message(RetrieveRequest::from_json(text).unwrap_err());
        assert!(body(r#"{"query": "a", "snippet": 4001}"#).contains("0 to 4000"));
        assert!(body(r#"{"query": "a", "top_n": 3}"#).contains("snippet"));
        assert!(body(r#"{"query": 5}"#).contains("a string"));
        assert!(body("[]").contains("JSON"));
    }

    #[test]
    fn passages_to_rerank_are_texts_or_records() {
        let body = r#"{"query": "a", "passages": ["b", {"text": "c", "title": "d"},
            {"text": "e", "retrieval_score": 0.5}]}"#;
        let passages = RerankRequest::from_json(body).unwrap().passages;
        let record = |passage: &RerankPassage| match passage {
            RerankPassage::Text(text) => (text.clone(), String::new(), 0.0),
            RerankPassage::Record { text, title, retrieval_score } => {
                (text.clone(), title.clone(), retrieval_score.unwrap_or_default())
            }
        };
        let found: Vec<_> = passages.iter().map(record).collect();
        let of = |text: &str, title: &str, score| (text.to_owned(), title.to_owned(), score);
        assert_eq!(found, [of("b", "", 0.0), of("c", "d", 0.0), of("e", "", 0.5)]);
    }
}
