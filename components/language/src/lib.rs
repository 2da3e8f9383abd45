//! What stands around a language model: messages to a prompt, text to tokens, logits to the next
//! token, tokens to text again.
//!
//! One library for both sides of the wasm boundary, so that a model writes the same whether the host
//! drives it or a component does.

mod chat;
mod sample;
mod setup;
mod stop;
mod stream;
mod tokenizer;

pub use chat::{ChatTemplate, Message};
pub use sample::{Sampler, Sampling, SamplingError};
pub use setup::DecoderSetup;
pub use stop::{MOST_STOP_BYTES, MOST_STOPS, Stop};
pub use stream::TextStream;
pub use tokenizer::TextTokenizer;

/// Why text could not be made into tokens, tokens into text, or messages into a prompt.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The tokenizer is none.
    #[error("{0}")]
    Format(String),
    /// The tokenizer refused a text or tokens.
    #[error("cannot tokenize: {0}")]
    Tokenize(String),
    /// The chat template is no template, or failed.
    #[error("the chat template failed: {0}")]
    Template(String),
}

#[cfg(test)]
mod tests;
