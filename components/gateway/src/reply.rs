//! What callers get: the stages' records as JSON.

use serde::Serialize;

use crate::bindings::trine::rag::types::{Candidate, Passage, Ranked};

/// Milliseconds each stage took, as the gateway saw it.
#[derive(Debug, Default, Serialize)]
pub struct Timings {
    /// Embedding the query and searching.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieve: Option<f64>,
    /// Scoring the pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<f64>,
    /// Making the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate: Option<f64>,
    /// From the request's arrival in the gateway to its answer.
    pub total: f64,
}

/// A passage and its scores.
#[derive(Debug, Serialize)]
pub struct PassageReply {
    id: u32,
    source: String,
    title: String,
    headings: Vec<String>,
    text: String,
    media_type: String,
    start: u64,
    end: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    retrieval_score: f32,
    #[serde(skip_serializing_if = "is_zero")]
    truncated_tokens: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl PassageReply {
    fn new(passage: &Passage, score: Option<f32>, retrieval_score: f32, truncated: u32) -> Self {
        PassageReply {
            id: passage.id,
            source: passage.source.clone(),
            title: passage.title.clone(),
            headings: passage.headings.clone(),
            text: passage.text.clone(),
            media_type: passage.media_type.clone(),
            start: passage.start,
            end: passage.end,
            score,
            retrieval_score,
            truncated_tokens: truncated,
        }
    }
}

impl From<&Ranked> for PassageReply {
    fn from(r: &Ranked) -> Self {
        PassageReply::new(&r.passage, Some(r.score), r.retrieval_score, r.truncated_tokens)
    }
}

impl From<&Candidate> for PassageReply {
    fn from(c: &Candidate) -> Self {
        PassageReply::new(&c.passage, None, c.score, 0)
    }
}

/// A quote that supports the answer.
#[derive(Debug, Serialize)]
pub struct CitationReply {
    /// The document.
    pub source: String,
    /// Byte offsets of the quote in the document.
    pub start: u64,
    /// Past its last byte.
    pub end: u64,
    /// The document's bytes `start..end`.
    pub quote: String,
    /// Position in the list of passages, from zero.
    pub passage: u32,
}

/// The models that took part.
#[derive(Debug, Serialize)]
pub struct ModelsReply {
    /// The reranker's model.
    pub reranker: String,
    /// How it scores.
    pub scoring: &'static str,
    /// The generator's model.
    pub generator: String,
}

/// `POST /v1/answer`.
#[derive(Debug, Serialize)]
pub struct AnswerReply {
    /// The question.
    pub query: String,
    /// The answer; a fixed sentence when abstained.
    pub answer: String,
    /// Whether no passage supports an answer.
    pub abstained: bool,
    /// `stop`, `length` or `abstained`.
    pub finish_reason: &'static str,
    /// Strength of the best evidence, 0 to 1.
    pub evidence: f32,
    /// What it was held against.
    pub threshold: f32,
    /// Support, in the order of the answer's sentences.
    pub citations: Vec<CitationReply>,
    /// What the reranker kept, best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passages: Option<Vec<PassageReply>>,
    /// The same, under the name that `GET /answer` gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supporting_docs: Option<Vec<PassageReply>>,
    /// What was cut or left out, in words.
    pub warnings: Vec<String>,
    /// Who answered.
    pub models: ModelsReply,
    /// How long it took.
    pub timings_ms: Timings,
}

/// `POST /v1/retrieve`.
#[derive(Debug, Serialize)]
pub struct RetrieveReply {
    /// The query.
    pub query: String,
    /// Best first.
    pub candidates: Vec<PassageReply>,
    /// What was cut, in words.
    pub warnings: Vec<String>,
    /// How long it took.
    pub timings_ms: Timings,
}

/// One reranked passage of the caller's.
#[derive(Debug, Serialize)]
pub struct RerankResult {
    /// Its position in the request, from zero.
    pub index: u32,
    /// The model's score.
    pub score: f32,
    /// Tokens that the model's window left out.
    pub truncated_tokens: u32,
}

/// `POST /v1/rerank`.
#[derive(Debug, Serialize)]
pub struct RerankReply {
    /// The query.
    pub query: String,
    /// Best first.
    pub results: Vec<RerankResult>,
    /// The reranker's model.
    pub model: String,
    /// How it scores.
    pub scoring: &'static str,
    /// How long it took.
    pub timings_ms: Timings,
}

/// `GET /health`.
#[derive(Debug, Serialize)]
pub struct HealthReply {
    /// `ok`.
    pub status: &'static str,
    /// This component's version.
    pub version: &'static str,
    /// Passages in the bundle.
    pub passages: u32,
    /// Documents they come from.
    pub documents: u32,
    /// The embedding model.
    pub model: String,
    /// Length of its vectors.
    pub dimensions: u32,
}
