//! What each component is told before its snapshot, as JSON under the part name `setup`.
//!
//! The host writes these, the guests read them; the other parts are named by the constants.

use serde::{Deserialize, Serialize};

use crate::lexical::Bm25;

/// Part: one of the structs below, as JSON.
pub const SETUP: &str = "setup";
/// Part: the bytes of the model's `tokenizer.json`.
pub const TOKENIZER: &str = "tokenizer";
/// Part: the bytes of the reader's `tokenizer.json`, where it is another.
pub const READER_TOKENIZER: &str = "reader-tokenizer";
/// Part: a [`crate::Graph`]'s bytes.
pub const GRAPH: &str = "graph";
/// Part: a [`crate::lexical::Inverted`]'s bytes.
pub const LEXICAL: &str = "lexical";
/// Part: [`crate::Passages`]' bytes.
pub const PASSAGES: &str = "passages";

/// Part: [`crate::Metadata`]'s bytes.
pub const METADATA: &str = "metadata";
/// Stands before the name of a part that is the delta's instead of the base's.
pub const DELTA: &str = "delta/";
/// Part: the base's passages that are gone, a postcard-encoded `Vec<u32>` of rising numbers.
pub const REMOVED: &str = "delta/removed";

/// How token embeddings become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens (Reimers & Gurevych, 2019).
    Mean,
    /// The first token's.
    Cls,
}

/// How a reranking model scores a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scoring {
    /// Query and passage in one sequence; output `logits`.
    CrossEncoder,
    /// Query and passage apart, compared token by token; output `scores`.
    LateInteraction,
}

/// The retriever's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrieverSetup {
    /// The model's name, as answers show it.
    pub model: String,
    /// The name it is loaded by through wasi:nn.
    pub graph: String,
    /// Tokens its window holds, special tokens included.
    pub max_tokens: usize,
    /// How it pools.
    pub pooling: Pooling,
    /// Documents the passages come from.
    pub documents: u32,
    /// How words are weighed.
    pub bm25: Bm25,
}

/// The reranker's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankerSetup {
    /// The model's name, as answers show it.
    pub model: String,
    /// The name it is loaded by through wasi:nn.
    pub graph: String,
    /// Tokens its window holds, special tokens included.
    pub max_tokens: usize,
    /// How it scores.
    pub scoring: Scoring,
    /// How its scores and others become one.
    pub fusion: Fusion,
}

/// How a passage's scores become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    /// What the reranker's scores weigh beside the first stage's, 0 to 1.
    pub weight: f32,
    /// How many times the first stage's deviation the reranker's scores deviate in general, where known.
    pub spread: Option<f32>,
    /// How much of a passage's score comes from those that are most like it, 0 to 1.
    pub smoothing: f32,
    /// Reads the best passages and adds to the scores of those that answer.
    pub reading: Option<ReadingSetup>,
}

/// A reader that scores passages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadingSetup {
    /// The name it is loaded by through wasi:nn.
    pub graph: String,
    /// Tokens its window holds, special tokens included.
    pub max_tokens: usize,
    /// What is added to the score of a passage that answers beyond doubt, in standard deviations.
    pub weight: f32,
}

/// The extractive generator's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratorSetup {
    /// The name of the sentence encoder, as answers show it.
    pub model: String,
    /// The name it is loaded by through wasi:nn.
    pub graph: String,
    /// Tokens its window holds, special tokens included.
    pub max_tokens: usize,
    /// How it pools.
    pub pooling: Pooling,
    /// Evidence, from 0 to 1, under which it abstains.
    pub threshold: f32,
    /// Reads the answer inside a sentence; sentences alone are chosen where there is none.
    pub reader: Option<ReaderSetup>,
}

/// A model that reads answers out of passages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReaderSetup {
    /// The model's name, as answers show it.
    pub model: String,
    /// The name it is loaded by through wasi:nn.
    pub graph: String,
    /// Tokens its window holds, special tokens included.
    pub max_tokens: usize,
    /// How its logits become evidence.
    pub calibration: Calibration,
}

/// Evidence that a span answers, as the logistic function of
/// `bias + span · s + passage · r + closely · c`: `s` the logarithm of the reader's odds that the passage
/// answers, `r` the reranker's score of its passage, `c` the odds again where nothing is read but the
/// sentence of the span and the two beside it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Added.
    pub bias: f32,
    /// Weight of the span.
    pub span: f32,
    /// Weight of the passage, which also counts when spans of several passages are compared.
    pub passage: f32,
    /// Weight of the second reading; there is none where it is 0.
    pub closely: f32,
}

impl Calibration {
    /// 0 to 1.
    pub fn evidence(&self, span: f32, passage: f32, closely: f32) -> f32 {
        let sum = self.bias + self.span * span + self.passage * passage + self.closely * closely;
        1.0 / (1.0 + (-sum).exp())
    }
}
