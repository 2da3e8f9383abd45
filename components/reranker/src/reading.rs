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
const PASSAGES: usize = 10;
/// The margin over no answer from which on a span rather answers than not, and by what the distance to it
/// is divided before it becomes a probability (Platt 1999). A passage is among others here, of which at
/// most a few answer, so the margin is more than 0; models/training/fusion.py chooses both.
const THRESHOLD: f32 = 2.0;
const TEMPERATURE: f32 = 2.0;

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
        for ((at, _), best) in read.iter().zip(best) {
            if let Some(best) = best {
                scores[*at] += self.setup.weight * probability(best.margin);
            }
        }
        Ok(())
    }
}

fn probability(margin: f32) -> f32 {
    (1.0 + ((THRESHOLD - margin) / TEMPERATURE).exp()).recip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_whatever_the_margin() {
        assert_eq!(probability(THRESHOLD), 0.5);
        assert_eq!((probability(f32::MAX), probability(f32::MIN)), (1.0, 0.0));
        assert!(probability(THRESHOLD + 2.0) > 0.7 && probability(0.0) < 0.3);
    }
}
