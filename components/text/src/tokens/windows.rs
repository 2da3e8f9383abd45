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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder() -> Encoder {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-cross-encoder");
        Encoder::new(&std::fs::read(format!("{folder}/tokenizer.json")).unwrap(), 64).unwrap()
    }

    const FORM: Windows = Windows { tokens: 30, first: 12, overlap: 5, most: 100 };

    #[test]
    fn places_are_bytes_of_the_second_text() {
        let text = "Großmutter’s café: ☕ a cup costs 1 €50, naïve\u{301} 日本 for\u{a0}members.";
        let windows = encoder().windows("What does it cost?", text, FORM).unwrap();
        let mut end = 0;
        for window in &windows {
            assert!(window.encoded.ids.len() <= 30);
            for place in &window.places {
                let piece = text.get(place.clone());
                assert!(piece.is_some_and(|piece| piece.trim() == piece), "{place:?} {piece:?}");
                end = end.max(place.end);
            }
        }
        assert_eq!(end, text.len());
    }

    #[test]
    fn windows_overlap_and_leave_nothing_out() {
        let text: Vec<String> = (0..40).map(|n| format!("word{n}")).collect();
        let (encoder, text) = (encoder(), text.join(" "));
        let windows = encoder.windows("One question.", &text, FORM).unwrap();
        assert!(windows.len() > 3);
        for (one, next) in windows.iter().zip(&windows[1..]) {
            assert_eq!(one.places[one.places.len() - 5..], next.places[..5]);
        }
        let last = windows.last().unwrap();
        assert_eq!((last.places.last().unwrap().end, last.encoded.truncated), (text.len(), 0));
        let most = Windows { most: 2, ..FORM };
        let cut = encoder.windows("One question.", &text, most).unwrap();
        let seen = cut[1].places.len() + cut[0].places.len() - 5;
        assert_eq!(
            (cut.len(), cut[1].encoded.truncated as usize),
            (2, encoder.count(&text).unwrap() - seen)
        );
        assert!(encoder.windows("One question.", "", FORM).unwrap().is_empty());
        let narrow = Windows { tokens: 12, ..FORM };
        assert!(encoder.windows("One question here, long.", &text, narrow).is_err());
    }
}
