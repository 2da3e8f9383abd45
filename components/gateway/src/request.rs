//! What callers send, checked.

use serde::Deserialize;

use crate::bindings::trine::rag::generator::{Message, Writing};
use crate::fields::Fields;
use crate::problem::Problem;
use crate::search::Search;
use crate::writing::read_writing;

/// Candidates and passages one request may ask for.
pub const MOST: u32 = 200;
/// Bytes a question may have; far beyond any model's window, whose cut is reported.
const LONGEST_QUERY: usize = 16 * 1024;
/// Bytes of a snippet when a request does not say: about two lines.
const SNIPPET: u32 = 240;
/// Bytes a snippet may have.
const LONGEST_SNIPPET: u32 = 4000;
/// Tokens that a language model writes when a request does not say.
const MAX_TOKENS: u32 = 512;
/// Tokens that one may be asked for.
const MOST_TOKENS: u32 = 131_072;

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
    /// Tokens that a language model may write.
    pub max_tokens: u32,
    /// Who answers; the preferred model when absent.
    pub model: Option<String>,
    /// How a language model is asked.
    pub writing: Writing,
    /// Whether the answer is sent while it is made.
    pub stream: bool,
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

    /// Reads what is left of a chat's fields.
    pub fn of_chat(
        mut fields: Fields,
        question: String,
        history: Vec<Message>,
    ) -> Result<AnswerRequest, Problem> {
        check_query(&question)?;
        let newer = fields.number("max_completion_tokens", 1..=MOST_TOKENS)?;
        let mut request = AnswerRequest::fields(fields, question)?;
        request.max_tokens = newer.unwrap_or(request.max_tokens);
        request.writing.history = history;
        Ok(request)
    }

    fn read(mut fields: Fields, query: &'static str) -> Result<AnswerRequest, Problem> {
        let query = read_query(&mut fields, query)?;
        AnswerRequest::fields(fields, query)
    }

    fn fields(mut fields: Fields, query: String) -> Result<AnswerRequest, Problem> {
        let request = AnswerRequest {
            search: Search::read(&mut fields, query)?,
            top_n: fields.number("top_n", 1..=MOST)?,
            fuse: fields.take("fuse", "true or false")?.unwrap_or(true),
            max_sentences: fields.number("max_sentences", 1..=20)?.unwrap_or(3),
            threshold: fields.number("threshold", 0.0..=1.0)?,
            max_tokens: fields.number("max_tokens", 1..=MOST_TOKENS)?.unwrap_or(MAX_TOKENS),
            model: fields.take("model", "a model's name")?,
            writing: read_writing(&mut fields)?,
            stream: fields.take("stream", "true or false")?.unwrap_or(false),
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
            search: {
                let query = read_query(&mut fields, "query")?;
                Search::read(&mut fields, query)?
            },
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
    use crate::bindings::trine::rag::retriever::{Fusion, Mode, Surroundings};
    use crate::search::LONGEST_SECTION;

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
        // However long the name is, the message has but its beginning.
        let long = |name: usize| wrong(&format!("q=a&{}=1", "é".repeat(name))).len();
        assert_eq!(long(500), long(5000));
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
