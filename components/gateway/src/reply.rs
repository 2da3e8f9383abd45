//! What callers get: the stages' records as JSON.

use std::ops::Range;

use serde::Serialize;
use trine_text::snippet::snippet;

use crate::bindings::trine::rag::generator::Citation;
use crate::bindings::trine::rag::retriever::Retrieval;
use crate::bindings::trine::rag::types::{Candidate, Passage, Ranked, Span};
use crate::written::{SentenceReply, UsageReply};

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
    #[serde(flatten)]
    scores: Scores,
    #[serde(skip_serializing_if = "Option::is_none")]
    snippet: Option<SnippetReply>,
    #[serde(skip_serializing_if = "is_empty")]
    highlights: Vec<SpanReply>,
    /// The passages around a candidate, in the document's order.
    #[serde(skip_serializing_if = "is_empty")]
    context: Vec<PassageReply>,
    /// Of a passage that is there for what it surrounds: the place of that one in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_of: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    truncated_tokens: u32,
}

/// What a passage was ranked by.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Scores {
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fused_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retrieval_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dense_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lexical_score: Option<f32>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

impl PassageReply {
    /// A passage without a score of its own.
    fn new(passage: &Passage) -> PassageReply {
        PassageReply {
            id: passage.id,
            source: passage.source.clone(),
            title: passage.title.clone(),
            headings: passage.headings.clone(),
            text: passage.text.clone(),
            media_type: passage.media_type.clone(),
            start: passage.start,
            end: passage.end,
            scores: Scores::default(),
            snippet: None,
            highlights: vec![],
            context: vec![],
            context_of: None,
            truncated_tokens: 0,
        }
    }

    /// What the reranker kept of the retriever's `candidates`.
    pub fn ranked(ranked: &Ranked, candidates: &[Candidate]) -> PassageReply {
        let found = candidates.iter().find(|c| c.passage.id == ranked.passage.id);
        PassageReply {
            scores: Scores {
                score: Some(ranked.score),
                fused_score: ranked.fused_score,
                retrieval_score: Some(ranked.retrieval_score),
                dense_score: found.and_then(|c| c.dense_score),
                lexical_score: found.and_then(|c| c.lexical_score),
            },
            truncated_tokens: ranked.truncated_tokens,
            ..PassageReply::new(&ranked.passage)
        }
    }

    /// What the retriever found, with a snippet of at most so many bytes, and what is around it.
    pub fn candidate(candidate: &Candidate, snippet: u32, around: &[Passage]) -> PassageReply {
        let others = around.iter().filter(|other| other.id != candidate.passage.id);
        PassageReply {
            scores: Scores {
                score: Some(candidate.score),
                fused_score: None,
                retrieval_score: Some(candidate.score),
                dense_score: candidate.dense_score,
                lexical_score: candidate.lexical_score,
            },
            snippet: (snippet > 0).then(|| SnippetReply::of(candidate, snippet)),
            highlights: candidate.highlights.iter().map(SpanReply::from).collect(),
            context: others.map(PassageReply::new).collect(),
            ..PassageReply::new(&candidate.passage)
        }
    }

    /// A passage around the one at this place of the list.
    pub fn context_of(place: u32, passage: &Passage) -> PassageReply {
        PassageReply { context_of: Some(place), ..PassageReply::new(passage) }
    }
}

/// Byte offsets, from and past.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SpanReply {
    start: u64,
    end: u64,
}

impl From<&Span> for SpanReply {
    fn from(span: &Span) -> SpanReply {
        SpanReply { start: span.start, end: span.end }
    }
}

/// The piece of a passage that shows why it was found.
#[derive(Debug, Serialize)]
pub struct SnippetReply {
    /// The document's bytes `start..end`.
    text: String,
    start: u64,
    end: u64,
    /// Byte offsets into `text`.
    highlights: Vec<SpanReply>,
}

impl SnippetReply {
    fn of(candidate: &Candidate, longest: u32) -> SnippetReply {
        let Candidate { passage, highlights, .. } = candidate;
        // A highlight outside of the passage becomes a range that no text has.
        let within = |at: u64| at.checked_sub(passage.start).map_or(usize::MAX, |at| at as usize);
        let marks: Vec<Range<usize>> =
            highlights.iter().map(|span| within(span.start)..within(span.end)).collect();
        let markdown = passage.media_type == "text/markdown";
        let found = snippet(&passage.text, markdown, &marks, longest as usize);
        let begin = found.range.start;
        let offset = |at: usize| passage.start + at as u64;
        let marked = found.highlights.iter();
        SnippetReply {
            text: passage.text[found.range.clone()].to_owned(),
            start: offset(begin),
            end: offset(found.range.end),
            highlights: marked
                .map(|mark| SpanReply {
                    start: (mark.start - begin) as u64,
                    end: (mark.end - begin) as u64,
                })
                .collect(),
        }
    }
}

/// What the retriever read the query as, where that is not as it was written.
#[derive(Debug, Default, Serialize)]
pub struct ReadingReply {
    /// The parts that were searched for, when the question was split.
    #[serde(skip_serializing_if = "is_empty")]
    parts: Vec<String>,
    /// Words that were read as others.
    #[serde(skip_serializing_if = "is_empty")]
    corrections: Vec<CorrectionReply>,
}

/// A word of the query that was read as another.
#[derive(Debug, Serialize)]
pub struct CorrectionReply {
    written: String,
    read_as: String,
}

impl ReadingReply {
    /// What `retrieval` says of the query.
    pub fn of(retrieval: &Retrieval) -> ReadingReply {
        let corrections = retrieval
            .corrections
            .iter()
            .map(|c| CorrectionReply { written: c.written.clone(), read_as: c.read_as.clone() });
        ReadingReply { parts: retrieval.parts.clone(), corrections: corrections.collect() }
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
    /// The answer itself within the quote, where a model read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerSpan>,
}

impl AnswerSpan {
    /// The answer of a citation; none where it has none, or one that is not within its quote.
    pub fn within(citation: &Citation) -> Option<AnswerSpan> {
        let Span { start, end } = citation.answer?;
        let from = usize::try_from(start.checked_sub(citation.start)?).ok()?;
        let to = usize::try_from(end.checked_sub(citation.start)?).ok()?;
        let text = citation.quote.get(from..to)?.to_owned();
        Some(AnswerSpan { start, end, text })
    }
}

/// The bytes of a quote that are the answer.
#[derive(Debug, Serialize)]
pub struct AnswerSpan {
    /// Byte offset in the document.
    pub start: u64,
    /// Past the last byte.
    pub end: u64,
    /// The document's bytes `start..end`.
    pub text: String,
}

/// The models that took part.
#[derive(Debug, Default, Serialize)]
pub struct ModelsReply {
    /// The reranker's model.
    pub reranker: String,
    /// How it scores.
    pub scoring: &'static str,
    /// The generator's model.
    pub generator: String,
}

/// `POST /v1/answer`.
#[derive(Debug, Default, Serialize)]
pub struct AnswerReply {
    /// The question.
    pub query: String,
    /// How it was read.
    #[serde(flatten)]
    pub reading: ReadingReply,
    /// The answer; a fixed sentence when abstained.
    pub answer: String,
    /// The words of the first citation that are the answer itself, where a model read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_answer: Option<String>,
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
    /// The sentences that a language model wrote, in order.
    #[serde(skip_serializing_if = "is_empty")]
    pub sentences: Vec<SentenceReply>,
    /// What the reranker kept, best first, and then what is around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passages: Option<Vec<PassageReply>>,
    /// The same, under the name that `GET /answer` gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supporting_docs: Option<Vec<PassageReply>>,
    /// What was cut or left out, in words.
    pub warnings: Vec<String>,
    /// Who answered.
    pub models: ModelsReply,
    /// What a language model read and wrote, where one answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageReply>,
    /// How long it took.
    pub timings_ms: Timings,
}

/// `POST /v1/retrieve`.
#[derive(Debug, Serialize)]
pub struct RetrieveReply {
    /// The query.
    pub query: String,
    /// How it was read.
    #[serde(flatten)]
    pub reading: ReadingReply,
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
    /// Both stages' scores made one, where that ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused_score: Option<f32>,
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
