//! Which tokens of a text answer a question, by a reader behind wasi:nn: each token's logit of being
//! the answer's first and last, and the first token's of there being none (Devlin et al. 2019,
//! sections 4.2 and 4.3).

use std::ops::Range;

use crate::{Graph, NnError, Tensor};
use trine_text::tokens::Window;

/// Tokens of a question that are read.
pub const QUESTION: usize = 64;
/// Tokens of the longest answer.
const LONGEST: usize = 40;
/// The output that a reader has which ranks.
const RELEVANCE: &str = "relevance";

/// What a reader says of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The tokens of the window's stretch whose logits are largest together.
    pub tokens: Range<usize>,
    /// Those logits, less the ones of no answer.
    pub margin: f32,
    /// The logarithm of the odds that anything in the window answers: all its tokens' probabilities of
    /// being first, and of being last, against those of no answer. It tells answerable questions from
    /// others better than the margin does, as an answer may have several bounds that are nearly as good.
    pub odds: f32,
}

/// The logits of some windows, row by row.
pub struct Spans {
    width: usize,
    starts: Vec<f32>,
    ends: Vec<f32>,
    /// Of each window, of a reader that ranks: how much rather than other texts this one answers, a logit.
    pub relevance: Option<Vec<f32>>,
}

impl Spans {
    /// Reads windows by one call to the host.
    pub fn read(graph: &str, windows: &[&Window]) -> Result<Spans, NnError> {
        let ids = || windows.iter().map(|w| w.encoded.ids.as_slice());
        let types = windows.iter().map(|w| w.encoded.type_ids.as_slice());
        let outputs = Graph::load(graph)?.compute(vec![
            ("input_ids", Tensor::rows(ids(), 0)),
            ("attention_mask", Tensor::mask(ids())),
            ("token_type_ids", Tensor::rows(types, 0)),
        ])?;
        let width = ids().map(<[u32]>::len).max().unwrap_or(0);
        let count = windows.len() as u32;
        let logits = |name: &str, shape: &[u32]| {
            let (dimensions, logits) = outputs.f32(name)?;
            if dimensions != shape {
                let text = format!("`{graph}` returned `{name}` of shape {dimensions:?}");
                return Err(NnError::Failed(text));
            }
            if logits.iter().any(|logit| !logit.is_finite()) {
                let text = format!("`{graph}` returned `{name}` that is not finite");
                return Err(NnError::Failed(text));
            }
            Ok(logits)
        };
        let of_tokens = |name| logits(name, &[count, width as u32]);
        let (starts, ends) = (of_tokens("start_logits")?, of_tokens("end_logits")?);
        let ranks = outputs.has(RELEVANCE);
        let relevance = ranks.then(|| logits(RELEVANCE, &[count])).transpose()?;
        Ok(Spans { width, starts, ends, relevance })
    }

    /// Of each window the best span. None crosses from one part of the text into another, where
    /// `part_of` gives each window's tokens their parts. None where a window has no token.
    pub fn best<'a>(
        &'a self,
        windows: &'a [&Window],
        part_of: impl Fn(usize) -> Vec<usize> + 'a,
    ) -> impl Iterator<Item = Option<Span>> + 'a {
        let width = self.width.max(1);
        let rows = self.starts.chunks_exact(width).zip(self.ends.chunks_exact(width));
        windows.iter().zip(rows).enumerate().map(move |(number, (window, (starts, ends)))| {
            let parts = part_of(number);
            let (tokens, margin) = best(&parts, window.begin, starts, ends)?;
            let odds = |logits| odds(logits, window.begin, parts.len());
            Some(Span { tokens, margin, odds: odds(starts) + odds(ends) })
        })
    }
}

/// The best span of one window whose tokens, from `begin` on, belong to `parts`.
fn best(
    parts: &[usize],
    begin: usize,
    starts: &[f32],
    ends: &[f32],
) -> Option<(Range<usize>, f32)> {
    let none = starts.first()? + ends.first()?;
    let mut best: Option<(Range<usize>, f32)> = None;
    for (from, part) in parts.iter().enumerate() {
        let start = starts.get(begin + from)?;
        let reach = parts.iter().enumerate().skip(from).take(LONGEST);
        for (to, _) in reach.take_while(|(_, other)| *other == part) {
            let margin = start + ends.get(begin + to)? - none;
            if best.as_ref().is_none_or(|(_, highest)| margin > *highest) {
                best = Some((from..to + 1, margin));
            }
        }
    }
    best
}

/// The logarithm of the odds of `count` tokens, from `begin` on, against the first one.
fn odds(logits: &[f32], begin: usize, count: usize) -> f32 {
    let inside = logits.get(begin..).unwrap_or_default();
    let inside = &inside[..count.min(inside.len())];
    let most = inside.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = inside.iter().map(|logit| (logit - most).exp()).sum();
    most + sum.ln() - logits.first().copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_are_of_all_tokens_against_none() {
        // Three times as likely as none, in two tokens.
        let logits = [0.5, 9.0, 0.5, 0.5 + 2f32.ln(), 9.0];
        assert!((odds(&logits, 2, 2) - 3f32.ln()).abs() < 1e-6);
        let far = [-3e38, 0.0, 3e38];
        assert!(odds(&far, 1, 2) > 1e38, "no sum overflows before the difference does");
        assert!((odds(&[0.0, 1.0], 1, 9) - 1.0).abs() < 1e-6, "a row that is too short");
    }

    #[test]
    fn spans_stay_within_a_part() {
        // The two largest logits are of different parts.
        let (starts, ends) = ([1.0, 0.0, 5.0, 1.0, 0.0], [0.5, 0.0, 1.0, 2.0, 6.0]);
        assert_eq!(best(&[0, 0, 1, 1], 1, &starts, &ends), Some((2..4, 5.5)));
        assert_eq!(best(&[0; 4], 1, &starts, &ends), Some((1..4, 9.5)));
        assert_eq!(best(&[], 1, &starts, &ends), None);
        assert_eq!(best(&[0; 9], 1, &starts, &ends), None, "rows that are too short");
    }

    #[test]
    fn the_longest_answer_is_bounded() {
        let mut ends = vec![0.0; 102];
        (ends[101], ends[41]) = (9.0, 1.0);
        let mut starts = vec![0.0; 102];
        starts[2] = 5.0;
        let (span, margin) = best(&[0; 101], 1, &starts, &ends).unwrap();
        assert_eq!(margin, 9.0, "a start far from the highest end");
        assert!(span.end == 101 && span.len() <= LONGEST);
    }
}
