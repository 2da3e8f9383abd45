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
const PASSAGES: usize = 16;
/// The margin over no answer from which on a span rather answers than not, and by what the distance to it
/// is divided before it becomes a probability (Platt 1999). models/training/fusion.py chooses these numbers.
const THRESHOLD: f32 = 0.0;
const TEMPERATURE: f32 = 2.0;
/// What late interaction's scores are multiplied by, before they and a reader's relevance together say which
/// passage answers.
const SHARPNESS: f32 = 25.0;
/// What the probability counts that a passage answers where a reader does not compare them: several gain then.
const UNCOMPARED: f32 = 0.4;

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
    /// Adds to the scores of the best texts the probability that they answer, weighted. `compared` are
    /// late interaction's own scores, which say with the reader which does.
    pub fn add(
        &self,
        question: &str,
        texts: &[String],
        compared: &[f32],
        scores: &mut [f32],
    ) -> Result<(), Error> {
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
        let compared: Vec<f32> = read.iter().map(|&(at, _)| compared[at]).collect();
        let answers = answering(&own, spans.relevance.as_deref(), &compared);
        for ((at, _), answers) in read.iter().zip(answers) {
            scores[*at] += self.setup.weight * answers;
        }
        Ok(())
    }
}

/// What each passage read gains, before the weight. `own` are the probabilities that each answers, judged
/// alone; `relevance` are the reader's logits that compare them, where it has such a head.
fn answering(own: &[f32], relevance: Option<&[f32]>, compared: &[f32]) -> Vec<f32> {
    match relevance {
        Some(relevance) => shared(own, relevance, compared),
        None => own.iter().map(|own| UNCOMPARED * own).collect(),
    }
}

/// The probability that any of the passages answers, given to each by how likely it is the one: the reader
/// and late interaction were both trained to tell that from their comparison, and what both say is multiplied
/// (a product of experts, Hinton 2002).
fn shared(own: &[f32], relevance: &[f32], compared: &[f32]) -> Vec<f32> {
    let any = own.iter().copied().fold(0.0, f32::max);
    let both = |(read, seen): (&f32, &f32)| read + SHARPNESS * seen;
    let logits: Vec<f32> = relevance.iter().zip(compared).map(both).collect();
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let shares: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
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
    fn what_answers_is_shared_by_what_both_models_say() {
        let near = |found: Vec<f32>, expected: [f32; 3]| {
            let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.len() == 3 && apart < 1e-6, "{found:?}");
        };
        let (own, three) = ([0.1, 0.8, 0.3], 3f32.ln());
        near(shared(&own, &[three, 0.0, 0.0], &[0.5; 3]), [0.48, 0.16, 0.16]);
        near(shared(&own, &[2.0; 3], &[0.0, three / SHARPNESS, 0.0]), [0.16, 0.48, 0.16]);
        // They contradict each other.
        let found = shared(&own, &[three, 0.0, 0.0], &[0.0, three / SHARPNESS, 0.0]);
        near(found, [2.4 / 7.0, 2.4 / 7.0, 0.8 / 7.0]);
        assert_eq!(shared(&[0.5, 0.5], &[f32::MAX, f32::MIN], &[1.0, 1.0]), [0.5, 0.0]);
        assert!(shared(&[], &[], &[]).is_empty());
    }

    #[test]
    fn a_reader_that_does_not_compare_lets_several_gain() {
        let own = [0.1, 0.8, 0.75];
        let found = answering(&own, None, &[9.0, 0.0, 0.0]);
        assert_eq!(found, [0.1, 0.8, 0.75].map(|own| UNCOMPARED * own));
        // One that does gives the whole of it to the one they agree on.
        let found = answering(&own, Some(&[0.0, 50.0, 0.0]), &[0.0; 3]);
        assert!(found[1] > 0.79 && found[2] < 1e-6, "{found:?}");
    }

    #[test]
    fn the_rule_is_that_of_the_training() {
        let golden = Golden::read();
        let own: Vec<f32> = golden.list("margins").into_iter().map(probability).collect();
        let (expected, weight) = (golden.list("answering"), golden.number("reader"));
        let (relevance, compared) = (golden.list("relevance"), golden.list("reranked"));
        let found = shared(&own, &relevance, &compared).into_iter().map(|p| p * weight);
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
