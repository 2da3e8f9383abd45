//! What a reader says of the best passages: whether some words of each answer the question.
//!
//! Passages about a question's subject are alike to late interaction; a reader tells the one that
//! answers from those that are only near. It reads both texts in one sequence, as a cross-encoder does,
//! and costs as much, so only the best passages are read (a cascade: Matveeva et al. 2006).

use trine_guest_nn::bindings::trine::rag::types::Error;
use trine_guest_nn::spans::{QUESTION, Spans};
use trine_index::setup::ReadingSetup;
use trine_text::tokens::{Encoder, Window, Windows};

/// Passages that are read.
const PASSAGES: usize = 12;
/// The margin over no answer from which on a span rather answers than not, and by what the distance to it
/// is divided before it becomes a probability (Platt 1999); by what relevance is divided before the shares
/// of the passages are. models/training/fusion.py chooses them.
const THRESHOLD: f32 = 0.0;
const TEMPERATURE: f32 = 2.0;
const SOFTNESS: f32 = 1.0;
/// What the probability counts that a passage answers where a reader does not compare them: several gain then.
const UNCOMPARED: f32 = 0.5;

/// A reader and its tokenizer.
pub struct Reading<'a> {
    pub setup: &'a ReadingSetup,
    pub encoder: &'a Encoder,
}

/// Refuses a window that holds a question, and nothing else.
pub fn check(setup: &ReadingSetup) -> Result<(), String> {
    let (graph, tokens) = (&setup.graph, setup.max_tokens);
    match tokens < 2 * QUESTION {
        true => Err(format!(
            "the window of `{graph}` has {tokens} tokens; reading needs {}",
            2 * QUESTION
        )),
        false => Ok(()),
    }
}

impl Reading<'_> {
    /// Adds to the scores of the best texts the probability that they answer, weighted.
    pub fn add(&self, question: &str, texts: &[String], scores: &mut [f32]) -> Result<(), Error> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        order.truncate(PASSAGES);
        // The beginning of a passage that is longer than the window.
        let form = Windows { tokens: self.setup.max_tokens, first: QUESTION, overlap: 0, most: 1 };
        let mut read: Vec<(usize, Window)> = Vec::with_capacity(order.len());
        for at in order {
            let windows = self.encoder.windows(question, &texts[at], form);
            let windows = windows.map_err(|e| Error::InvalidInput(e.to_string()))?;
            read.extend(windows.into_iter().map(|window| (at, window)));
        }
        if read.is_empty() {
            return Ok(());
        }
        let windows: Vec<&Window> = read.iter().map(|(_, window)| window).collect();
        let spans = Spans::read(&self.setup.graph, &windows)?;
        let best = spans.best(&windows, |number| vec![0; windows[number].places.len()]);
        let own: Vec<f32> =
            best.map(|best| best.map_or(0.0, |best| probability(best.margin))).collect();
        let answers = match &spans.relevance {
            Some(relevance) => shared(&own, relevance),
            None => own.iter().map(|own| UNCOMPARED * own).collect(),
        };
        for ((at, _), answers) in read.iter().zip(answers) {
            scores[*at] += self.setup.weight * answers;
        }
        Ok(())
    }
}

/// The probability that any of the passages answers, given to each by how relevant it is: a reader that
/// ranks tells by their comparison which one does.
fn shared(own: &[f32], relevance: &[f32]) -> Vec<f32> {
    let any = own.iter().copied().fold(0.0, f32::max);
    let most = relevance.iter().copied().fold(f32::MIN, f32::max);
    let shares: Vec<f32> = relevance.iter().map(|r| ((r - most) / SOFTNESS).exp()).collect();
    let sum: f32 = shares.iter().sum();
    shares.iter().map(|share| any * share / sum).collect()
}

fn probability(margin: f32) -> f32 {
    (1.0 + ((THRESHOLD - margin) / TEMPERATURE).exp()).recip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;

    #[test]
    fn what_answers_is_shared_by_relevance() {
        let found = shared(&[0.1, 0.8, 0.3], &[SOFTNESS * 3f32.ln(), 0.0, 0.0]);
        let expected = [0.48, 0.16, 0.16];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        assert_eq!(shared(&[0.5, 0.5], &[f32::MAX, f32::MIN]), [0.5, 0.0]);
        assert!(shared(&[], &[]).is_empty());
    }

    #[test]
    fn the_rule_is_that_of_the_training() {
        let golden = Golden::read();
        let own: Vec<f32> = golden.list("margins").into_iter().map(probability).collect();
        let (expected, weight) = (golden.list("answering"), golden.number("reader"));
        let found = shared(&own, &golden.list("relevance")).into_iter().map(|p| p * weight);
        assert_eq!(own.len(), expected.len());
        let apart = found.zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{apart} from {expected:?}");
    }

    #[test]
    fn probabilities_are_whatever_the_margin() {
        assert_eq!(probability(THRESHOLD), 0.5);
        assert_eq!((probability(f32::MAX), probability(f32::MIN)), (1.0, 0.0));
        assert!(probability(THRESHOLD + 2.0) > 0.7 && probability(THRESHOLD - 2.0) < 0.3);
    }
}
