//! A text as it comes, token by token, cut only where characters end.

use crate::{TextError, TextTokenizer};

/// No character is more tokens than its bytes, of which there are four.
const MOST_PENDING: usize = 8;

/// The text of tokens that come one at a time. What it gives, one after another, is the text of all.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    pub(super) tokens: Vec<u32>,
    /// The tokens given last, whose text tells whether a space comes before the next, and where those
    /// begin that are not given yet.
    before: usize,
    next: usize,
}

impl TextStream {
    /// What the next token adds; nothing while a character is not whole.
    pub fn push(&mut self, tokenizer: &TextTokenizer, token: u32) -> Result<String, TextError> {
        self.tokens.push(token);
        self.take(tokenizer, self.tokens.len() - self.next >= MOST_PENDING)
    }

    /// What is left at the end, broken characters replaced.
    pub fn finish(&mut self, tokenizer: &TextTokenizer) -> Result<String, TextError> {
        self.take(tokenizer, true)
    }

    fn take(&mut self, tokenizer: &TextTokenizer, all: bool) -> Result<String, TextError> {
        let before = tokenizer.decode(&self.tokens[self.before..self.next])?;
        let now = tokenizer.decode(&self.tokens[self.before..])?;
        if !all && now.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        // A decoder may see the end of what came before otherwise, now that it knows what follows.
        let new = now.get(before.len()..).unwrap_or_default().to_owned();
        if !new.is_empty() || all {
            self.tokens.drain(..self.before);
            self.before = self.next - self.before;
            self.next = self.tokens.len();
        }
        Ok(new)
    }
}
