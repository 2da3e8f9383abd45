//! What each component is told before its snapshot, as JSON under the part name `setup`.
//!
//! The host writes these, the guests read them; the other parts are named by the constants.

use serde::{Deserialize, Serialize};

/// Part: one of the structs below, as JSON.
pub const SETUP: &str = "setup";
/// Part: the bytes of the model's `tokenizer.json`.
pub const TOKENIZER: &str = "tokenizer";
/// Part: passages, each chunk a postcard-encoded `Vec<Passage>`, in the order of their numbers.
pub const PASSAGES: &str = "passages";
/// Part: a [`crate::Graph`]'s bytes.
pub const GRAPH: &str = "graph";

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// The reranker's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerankerSetup {
    /// The model's name, as answers show it.
    pub model: String,
    /// The name it is loaded by through wasi:nn.
    pub graph: String,
    /// Tokens its window holds, special tokens included.
    pub max_tokens: usize,
    /// How it scores.
    pub scoring: Scoring,
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
}
