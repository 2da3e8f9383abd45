//! Text to token ids, and what was cut to fit a model's window.
//!
//! The tokenizer file decides everything a family decides (normalisation, pieces, special
//! tokens, segments); this file decides only where a text is cut, and says how much was.

use tokenizers::utils::truncation::truncate_encodings;
use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationParams};

/// The token ids of one text or pair, as a BERT-family encoder takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Segment of each token: 0 for the first text, 1 for the second of a pair.
    pub type_ids: Vec<u32>,
    /// Tokens that did not fit the window and were left out.
    pub truncated: u32,
}

/// A tokenizer and the window of the model that it feeds.
pub struct Encoder {
    tokenizer: Tokenizer,
    max_tokens: usize,
}

/// Why a tokenizer could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// `tokenizer.json` is not one.
    #[error("not a tokenizer.json: {0}")]
    Parse(String),
    /// The tokenizer refused a text.
    #[error("cannot tokenize: {0}")]
    Encode(String),
    /// The window cannot hold even the special tokens.
    #[error("a window of {0} tokens is too small")]
    Window(usize),
}

impl Encoder {
    /// Reads the bytes of a `tokenizer.json`; `max_tokens` is the model's window,
    /// special tokens included. Truncation and padding set in the file are ignored.
    pub fn new(tokenizer_json: &[u8], max_tokens: usize) -> Result<Encoder, TokenError> {
        let mut tokenizer =
            Tokenizer::from_bytes(tokenizer_json).map_err(|e| TokenError::Parse(e.to_string()))?;
        tokenizer.with_truncation(None).map_err(|e| TokenError::Parse(e.to_string()))?;
        tokenizer.with_padding(None);
        let encoder = Encoder { tokenizer, max_tokens };
        encoder.room(false)?;
        Ok(encoder)
    }

    /// One text: `[CLS] text [SEP]`, cut at the window's end.
    pub fn encode(&self, text: &str) -> Result<Encoded, TokenError> {
        self.fit(self.pieces(text)?, None)
    }

    /// A pair: `[CLS] first [SEP] second [SEP]`; the longer side is cut first, token by token,
    /// until both fit or are equally long (`longest_first` of Hugging Face).
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Encoded, TokenError> {
        self.fit(self.pieces(first)?, Some(self.pieces(second)?))
    }

    /// How many tokens `text` has, special tokens not counted.
    pub fn count(&self, text: &str) -> Result<usize, TokenError> {
        Ok(self.pieces(text)?.len())
    }

    /// The window's tokens that are left for text.
    fn room(&self, pair: bool) -> Result<usize, TokenError> {
        let special = self.tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(pair));
        match self.max_tokens.checked_sub(special) {
            Some(room) if room > 0 => Ok(room),
            _ => Err(TokenError::Window(self.max_tokens)),
        }
    }

    /// All of `text`'s tokens, no special ones. The whole text is read, however long: only so is
    /// the number of tokens cut known, and callers bound what they take in.
    fn pieces(&self, text: &str) -> Result<Encoding, TokenError> {
        self.tokenizer.encode_fast(text, false).map_err(encode_error)
    }

    /// Cuts to the window, then lets the tokenizer's own post-processor add its special tokens:
    /// the other way round, a cut would take the final `[SEP]`.
    fn fit(&self, first: Encoding, second: Option<Encoding>) -> Result<Encoded, TokenError> {
        let length =
            |a: &Encoding, b: &Option<Encoding>| a.len() + b.as_ref().map_or(0, |b| b.len());
        let whole = length(&first, &second);
        let window =
            TruncationParams { max_length: self.room(second.is_some())?, ..Default::default() };
        let (mut first, mut second) =
            truncate_encodings(first, second, &window).map_err(encode_error)?;
        // What was cut off stays with an encoding as its "overflowing" parts; nobody reads them.
        for encoding in std::iter::once(&mut first).chain(second.as_mut()) {
            encoding.take_overflowing();
        }
        let truncated = whole - length(&first, &second);
        let encoding = self.tokenizer.post_process(first, second, true).map_err(encode_error)?;
        Ok(Encoded {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            truncated: u32::try_from(truncated).unwrap_or(u32::MAX),
        })
    }
}

fn encode_error(error: tokenizers::Error) -> TokenError {
    TokenError::Encode(error.to_string())
}
