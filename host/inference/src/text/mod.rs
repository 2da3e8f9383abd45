//! A decoder's tokenizer and chat template, from its files.

mod from_gguf;
mod template;

use std::path::Path;

pub use trine_language::{
    ChatTemplate, DecoderSetup, Message, TextError, TextStream, TextTokenizer,
};

use crate::ModelError;
use crate::config::read_bytes_if_any;
use crate::decoder::DecoderModel;

impl DecoderModel {
    /// Its tokenizer: `tokenizer.json` of its folder, or what GGUF's metadata say.
    pub fn tokenizer(&self) -> Result<TextTokenizer, ModelError> {
        if let Some(gguf) = self.gguf() {
            return from_gguf::read(gguf);
        }
        let path = self.path().join("tokenizer.json");
        let missing =
            || ModelError::File { path: path.clone(), reason: "there is no such file".to_owned() };
        parse(&path, &read_bytes_if_any(&path)?.ok_or_else(missing)?)
    }
}

/// `path` is for errors.
fn parse(path: &Path, json: &[u8]) -> Result<TextTokenizer, ModelError> {
    TextTokenizer::parse(json)
        .map_err(|e| ModelError::Format { path: path.to_owned(), reason: e.to_string() })
}
