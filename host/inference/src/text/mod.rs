//! Text to a decoder's tokens and back, by its own tokenizer and chat template.

mod chat;
mod from_gguf;
mod stop;
mod stream;

use std::path::Path;

use tokenizers::Tokenizer;

use crate::ModelError;
use crate::config::read_bytes_if_any;
use crate::decoder::DecoderModel;
pub use chat::{ChatTemplate, Message};
pub(crate) use stop::{MOST_STOP_BYTES, MOST_STOPS, Stop};
pub use stream::TextStream;

/// A decoder's tokenizer.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
}

/// Why text could not be made into tokens, tokens into text, or messages into a prompt.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The model's files are at fault.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer refused a text or tokens.
    #[error("cannot tokenize: {0}")]
    Tokenize(String),
    /// The chat template is no template, or failed.
    #[error("the chat template failed: {0}")]
    Template(String),
}

impl TextTokenizer {
    /// The tokenizer of an opened model: `tokenizer.json` of its folder, or what GGUF's metadata say.
    pub fn of(model: &DecoderModel) -> Result<TextTokenizer, ModelError> {
        match model.gguf() {
            Some(gguf) => from_gguf::read(gguf),
            None => TextTokenizer::read(&model.path().join("tokenizer.json")),
        }
    }

    fn read(path: &Path) -> Result<TextTokenizer, ModelError> {
        let missing = || ModelError::File {
            path: path.to_owned(),
            reason: "there is no such file".to_owned(),
        };
        let bytes = read_bytes_if_any(path)?.ok_or_else(missing)?;
        TextTokenizer::parse(path, &bytes)
    }

    /// `path` is for errors.
    fn parse(path: &Path, json: &[u8]) -> Result<TextTokenizer, ModelError> {
        let wrong = |e: tokenizers::Error| ModelError::Format {
            path: path.to_owned(),
            reason: e.to_string(),
        };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(wrong)?;
        tokenizer.with_truncation(None).map_err(wrong)?;
        tokenizer.with_padding(None);
        Ok(TextTokenizer { tokenizer })
    }

    /// The tokens of a text. `special` puts those before and after it that the model wants around a
    /// text; a prompt from a chat template has them already.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, TextError> {
        let encoded = self.tokenizer.encode_fast(text, special);
        let encoded = encoded.map_err(|e| TextError::Tokenize(e.to_string()))?;
        Ok(encoded.get_ids().to_vec())
    }

    /// The text of some tokens, special ones left out.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TextError> {
        self.tokenizer.decode(tokens, true).map_err(|e| TextError::Tokenize(e.to_string()))
    }

    /// The number of a token by its text, such as `<|im_end|>`.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    /// A token's text in the vocabulary.
    pub fn name(&self, token: u32) -> Option<String> {
        self.tokenizer.id_to_token(token)
    }
}

#[cfg(test)]
mod tests;
