//! Text to token ids, and what was cut to fit a model's window.
//!
//! The tokenizer file decides everything a family decides (normalisation, pieces, special
//! tokens, segments); this file decides only where a text is cut, and says how much was.

mod ascii;
mod frame;
mod windows;

use tokenizers::Tokenizer;

pub use windows::{Window, Windows};

use ascii::AsciiWords;
use frame::Frame;

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
    /// How words of ASCII are cut, if that is known.
    ascii: Option<AsciiWords>,
    /// What goes around one text, and around a pair.
    single: Frame,
    pair: Frame,
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
        let ascii = AsciiWords::of(&tokenizer);
        let single = Frame::of(&tokenizer, false).map_err(encode_error)?;
        let pair = Frame::of(&tokenizer, true).map_err(encode_error)?;
        let encoder = Encoder { tokenizer, ascii, single, pair, max_tokens };
        encoder.room(&encoder.single)?;
        Ok(encoder)
    }

    /// One text: `[CLS] text [SEP]`, cut at the window's end.
    pub fn encode(&self, text: &str) -> Result<Encoded, TokenError> {
        let room = self.room(&self.single)?;
        let mut ids = self.pieces(text)?;
        let truncated = ids.len().saturating_sub(room);
        ids.truncate(room);
        Ok(self.single.around(&ids, &[], truncated))
    }

    /// A pair: `[CLS] first [SEP] second [SEP]`; the longer side is cut first, token by token,
    /// until both fit or are equally long (`longest_first` of Hugging Face).
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Encoded, TokenError> {
        let room = self.room(&self.pair)?;
        let (mut first, mut second) = (self.pieces(first)?, self.pieces(second)?);
        let whole = first.len() + second.len();
        let (a, b) = longest_first(first.len(), second.len(), room);
        first.truncate(a);
        second.truncate(b);
        Ok(self.pair.around(&first, &second, whole - first.len() - second.len()))
    }

    /// How many tokens `text` has, special tokens not counted.
    pub fn count(&self, text: &str) -> Result<usize, TokenError> {
        Ok(self.pieces(text)?.len())
    }

    /// The window's tokens that are left for text.
    fn room(&self, frame: &Frame) -> Result<usize, TokenError> {
        match self.max_tokens.checked_sub(frame.special()) {
            Some(room) if room > 0 => Ok(room),
            _ => Err(TokenError::Window(self.max_tokens)),
        }
    }

    /// All of `text`'s tokens, no special ones. The whole text is read, however long: only so is
    /// the number of tokens cut known, and callers bound what they take in.
    fn pieces(&self, text: &str) -> Result<Vec<u32>, TokenError> {
        let any = |text: &str, ids: &mut Vec<u32>| {
            let encoding = self.tokenizer.encode_fast(text, false).map_err(encode_error)?;
            ids.extend(encoding.get_ids());
            Ok(())
        };
        let mut ids = Vec::with_capacity(text.len() / 4);
        match &self.ascii {
            Some(ascii) => ascii.encode(&self.tokenizer, text, &mut ids, any)?,
            None => any(text, &mut ids)?,
        }
        Ok(ids)
    }
}

/// What is left of two lengths that together may be `most`.
fn longest_first(first: usize, second: usize, most: usize) -> (usize, usize) {
    if first + second <= most {
        return (first, second);
    }
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) = match short + short.max(most.saturating_sub(short)) {
        together if together <= most => (short, long.min(most - short)),
        _ => (most / 2, most - most / 2),
    };
    if first > second { (long, short) } else { (short, long) }
}

fn encode_error(error: tokenizers::Error) -> TokenError {
    TokenError::Encode(error.to_string())
}
