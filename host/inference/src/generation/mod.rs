//! Answers, token by token: sessions on a device, and a loop that many answers share.
//!
//! [`Sessions`] reads tokens and gives logits. [`Generator`] makes answers of them: in each step every
//! answer under way gets its next token, and prompts are read a part at a time beside them, so that
//! none of them waits for another. [`Generations`] is that loop on a thread of its own, for callers of
//! any thread; where encoders compute on its device, each step has its turn in their line.

mod generator;
mod metrics;
mod pool;
mod service;
mod sessions;
mod shared;

pub use generator::{Generator, GeneratorOptions};
pub use pool::PoolCounts;
pub use service::{Generation, GenerationOptions, Generations};
pub use sessions::{Feed, SessionId, Sessions};

use crate::{InferenceError, Sampling};

/// An answer to be made.
#[derive(Clone, Debug, Default)]
pub struct GenerationRequest {
    /// The prompt's tokens.
    pub prompt: Vec<u32>,
    /// Tokens of the answer at most.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts before which the answer ends; they need a tokenizer.
    pub stop: Vec<String>,
    /// Whether tokens that end an answer are passed over, for measuring speed.
    pub ignore_end: bool,
    /// Whether, instead of an answer, the logits after the prompt are wanted.
    pub logits: bool,
}

impl GenerationRequest {
    /// Tokens that may be written.
    fn answer(&self) -> usize {
        if self.logits { 1 } else { self.max_tokens }
    }
}

/// What an answer gives, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerationEvent {
    /// A token and the text that it adds, which may be none while a character is not whole, or while a
    /// stop string may have begun. Of models without a tokenizer there is no text.
    Token {
        /// The token.
        token: u32,
        /// What it adds.
        text: String,
    },
    /// The end. Nothing follows.
    End {
        /// Why.
        reason: EndReason,
        /// Text that was held back until now.
        text: String,
        /// What was counted.
        usage: Usage,
    },
    /// What was wanted instead of an answer. Nothing follows.
    Logits {
        /// After the prompt's last token, `[vocabulary]`.
        logits: Vec<f32>,
        /// What was counted.
        usage: Usage,
    },
    /// The answer failed. Nothing follows.
    Failed(InferenceError),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The model ended it.
    End,
    /// A stop string came.
    Stop,
    /// It has as many tokens as it may have.
    Length,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, tokens that the cache had already.
    pub cached_tokens: usize,
    /// Tokens of the answer.
    pub generated_tokens: usize,
}
