//! Text to tokens and back.

use tokenizers::Tokenizer;

use crate::TextError;

/// A language model's tokenizer.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
}

impl TextTokenizer {
    /// From the bytes of a `tokenizer.json`. Neither cuts texts nor pads them, whatever that says.
    pub fn parse(json: &[u8]) -> Result<TextTokenizer, TextError> {
        let wrong = |e: tokenizers::Error| TextError::Format(e.to_string());
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(wrong)?;
        tokenizer.with_truncation(None).map_err(wrong)?;
        tokenizer.with_padding(None);
        Ok(TextTokenizer { tokenizer })
    }

    /// Its `tokenizer.json`.
    pub fn json(&self) -> Result<String, TextError> {
        self.tokenizer.to_string(false).map_err(|e| TextError::Format(e.to_string()))
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
