//! Pairs whose second text is longer than the window: stretches of it that overlap, each with the
//! places of its tokens (Devlin et al. 2019, appendix A.3; the "doc stride" of its SQuAD script).

use std::ops::Range;

use super::{Encoded, Encoder, TokenError, encode_error};

/// How a pair is laid into windows.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Tokens of a window, special ones included.
    pub tokens: usize,
    /// Tokens of the first text that are kept.
    pub first: usize,
    /// Tokens that a window shares with the one before.
    pub overlap: usize,
    /// Windows at most; what they do not reach is counted as truncated.
    pub most: usize,
}

/// The first text with a stretch of the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Of the last window `truncated` says how many tokens no window has.
    pub encoded: Encoded,
    /// Where in the sequence the stretch begins.
    pub begin: usize,
    /// The bytes of the second text that each token of the stretch stands for.
    pub places: Vec<Range<usize>>,
}

impl Encoder {
    /// Lays a pair into windows. None where the second text has no token.
    pub fn windows(
        &self,
        first: &str,
        second: &str,
        windows: Windows,
    ) -> Result<Vec<Window>, TokenError> {
        let mut first = self.pieces(first)?;
        let cut = first.len().saturating_sub(windows.first);
        first.truncate(windows.first);
        let special = self.pair.special() + first.len();
        let room = match windows.tokens.checked_sub(special) {
            Some(room) if room > windows.overlap => room,
            _ => return Err(TokenError::Window(windows.tokens)),
        };
        let encoding = self.tokenizer.encode(second, false).map_err(encode_error)?;
        let (ids, places) = (encoding.get_ids(), encoding.get_offsets());
        let begin = self.pair.before_second(first.len());
        let (mut found, mut at) = (vec![], 0);
        while at < ids.len() && found.len() < windows.most {
            let end = ids.len().min(at + room);
            let last = end == ids.len() || found.len() + 1 == windows.most;
            let truncated = if last { ids.len() - end + cut } else { 0 };
            found.push(Window {
                encoded: self.pair.around(&first, &ids[at..end], truncated),
                begin,
                places: places[at..end].iter().map(|&(from, to)| from..to).collect(),
            });
            at = if last { ids.len() } else { end - windows.overlap };
        }
        Ok(found)
    }
}
