//! What callers get of a language model's work.

use serde::Serialize;

use crate::bindings::trine::rag::generator::{Sentence, Support, Usage};

/// A sentence that a language model wrote, and what holds it up.
#[derive(Debug, Serialize)]
pub struct SentenceReply {
    /// Byte offset in the answer.
    start: u32,
    /// Past its last byte.
    end: u32,
    /// `supported`, `unsupported` or `uncited`.
    support: &'static str,
    /// The best support that was found, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
}

impl SentenceReply {
    /// What the generator says of it.
    pub fn of(Sentence { start, end, support, score }: Sentence) -> SentenceReply {
        let support = match support {
            Support::Supported => "supported",
            Support::Unsupported => "unsupported",
            Support::Uncited => "uncited",
        };
        SentenceReply { start, end, support, score }
    }
}

/// Tokens that a language model read and wrote.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct UsageReply {
    /// Of the prompt.
    pub prompt_tokens: u32,
    /// Of those, what the cache had already.
    pub cached_tokens: u32,
    /// Of the answer.
    pub generated_tokens: u32,
}

impl From<Usage> for UsageReply {
    fn from(usage: Usage) -> UsageReply {
        let Usage { prompt_tokens, cached_tokens, generated_tokens } = usage;
        UsageReply { prompt_tokens, cached_tokens, generated_tokens }
    }
}
