//! The special tokens around a text or a pair, learned from the tokenizer itself.

use tokenizers::{Encoding, Result, Token, Tokenizer};

use super::Encoded;

/// Ids that no vocabulary has, for the places of the texts.
const TEXTS: [u32; 2] = [u32::MAX, u32::MAX - 1];

/// What stands where.
pub(super) struct Frame(Vec<Part>);

struct Part {
    /// A special token's id, or one of [`TEXTS`].
    id: u32,
    /// The segment of all its tokens.
    type_id: u32,
}

impl Frame {
    /// What the tokenizer's own post-processor puts around one text, or around two.
    pub(super) fn of(tokenizer: &Tokenizer, pair: bool) -> Result<Frame> {
        let text = |id| Encoding::from_tokens(vec![Token::new(id, String::new(), (0, 0))], 0);
        let second = pair.then(|| text(TEXTS[1]));
        let framed = tokenizer.post_process(text(TEXTS[0]), second, true)?;
        let parts = framed.get_ids().iter().zip(framed.get_type_ids());
        Ok(Frame(parts.map(|(&id, &type_id)| Part { id, type_id }).collect()))
    }

    /// How many special tokens it has.
    pub(super) fn special(&self) -> usize {
        self.0.iter().filter(|part| !TEXTS.contains(&part.id)).count()
    }

    /// How many tokens stand before the second text of a pair whose first has `first` tokens.
    pub(super) fn before_second(&self, first: usize) -> usize {
        let before = self.0.iter().take_while(|part| part.id != TEXTS[1]);
        before.map(|part| if part.id == TEXTS[0] { first } else { 1 }).sum()
    }

    /// The frame around its texts.
    pub(super) fn around(&self, first: &[u32], second: &[u32], truncated: usize) -> Encoded {
        let (mut ids, mut type_ids) = (Vec::new(), Vec::new());
        for part in &self.0 {
            match TEXTS.iter().position(|text| *text == part.id) {
                None => ids.push(part.id),
                Some(0) => ids.extend(first),
                Some(_) => ids.extend(second),
            }
            type_ids.resize(ids.len(), part.type_id);
        }
        Encoded { ids, type_ids, truncated: u32::try_from(truncated).unwrap_or(u32::MAX) }
    }
}
