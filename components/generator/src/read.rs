//! Reading the answer: a model marks the span of a passage that answers (Devlin et al. 2019, section
//! 4.2), or that none does (section 4.3).

use std::ops::Range;

use trine_guest_nn::bindings::trine::rag::types::{Error, Ranked};
use trine_guest_nn::spans::{QUESTION, Span, Spans};
use trine_index::setup::{Calibration, ReaderSetup};
use trine_text::tokens::{Encoder, Window, Windows};

use crate::extract::Candidate;

/// Windows read for one answer, of all passages together.
const MOST_WINDOWS: usize = 48;
/// What a deviation of the scores that passages are ranked by counts beside the evidence of their spans. On
/// the four collections that models/training/fusion.py chooses by it finds the right passage 68 times of 100:
/// 56 without it, 66 with half of it, and more lets evidence hardly decide.
const FUSED: f32 = 2.0;
/// Tokens that a window shares with the one before.
const OVERLAP: usize = 96;
/// Tokens of the narrowest window that a reader may have: a question, an overlap, and some text.
pub const NARROWEST: usize = QUESTION + OVERLAP + 16;

/// A span that a model says answers.
pub struct Reading {
    /// The sentence that it is in.
    pub candidate: usize,
    /// Its bytes in the sentence's plain text.
    pub span: Range<usize>,
    /// The logarithm of the odds that what was read answers.
    pub odds: f32,
    /// The same of a second reading, of nothing but its sentence and the two beside it.
    pub closely: f32,
}

/// Reads a question's passages.
pub struct Reader<'a> {
    pub setup: &'a ReaderSetup,
    pub encoder: &'a Encoder,
}

/// A passage as it is read: its sentences' plain texts, one after another.
struct Page {
    passage: usize,
    text: String,
    /// Each sentence's number, and its bytes in the text.
    sentences: Vec<(usize, Range<usize>)>,
}

impl Reader<'_> {
    /// The best span of all `candidates`, which come passage by passage. None where there is
    /// nothing to read.
    pub fn read(
        &self,
        question: &str,
        passages: &[Ranked],
        candidates: &[Candidate],
    ) -> Result<Option<Reading>, Error> {
        let pages = pages(candidates);
        let mut windows: Vec<(&Page, Window)> = Vec::new();
        for page in &pages {
            let found = self.windows(question, &page.text, MOST_WINDOWS - windows.len())?;
            windows.extend(found.into_iter().map(|window| (page, window)));
        }
        if windows.is_empty() {
            return Ok(None);
        }
        let read: Vec<&Window> = windows.iter().map(|(_, window)| window).collect();
        let spans = Spans::read(&self.setup.graph, &read)?;
        let best = spans.best(&read, |number| {
            let (page, window) = &windows[number];
            window.places.iter().map(|place| page.sentence_of(place)).collect()
        });
        let readings = windows.iter().zip(best).filter_map(|((page, window), best)| {
            let reading = page.reading(window, best?)?;
            Some((self.weigh(reading.odds, &passages[page.passage]), *page, reading))
        });
        let Some((_, page, reading)) = readings.max_by(|a, b| a.0.total_cmp(&b.0)) else {
            return Ok(None);
        };
        let closely = self.closely(question, page, &reading)?;
        Ok(Some(Reading { closely, ..reading }))
    }

    /// The odds of a reading whose sentence and the two beside it are read again: less stands there
    /// that only sounds like an answer.
    fn closely(&self, question: &str, page: &Page, reading: &Reading) -> Result<f32, Error> {
        let text = page.around(reading.candidate);
        if text.len() == page.text.len() || self.setup.calibration.closely == 0.0 {
            return Ok(reading.odds);
        }
        let windows = self.windows(question, text, 1)?;
        let read: Vec<&Window> = windows.iter().collect();
        let spans = Spans::read(&self.setup.graph, &read)?;
        let best = spans.best(&read, |number| vec![0; read[number].places.len()]).next();
        Ok(best.flatten().map_or(reading.odds, |span| span.odds))
    }

    /// The question with stretches of a text, `most` of them.
    fn windows(&self, question: &str, text: &str, most: usize) -> Result<Vec<Window>, Error> {
        let form =
            Windows { tokens: self.setup.max_tokens, first: QUESTION, overlap: OVERLAP, most };
        let windows = self.encoder.windows(question, text, form);
        windows.map_err(|e| Error::InvalidInput(e.to_string()))
    }

    /// What spans of several passages are compared by: their part of the evidence, were a second
    /// reading to say the same, and how their passages rank, for odds tell passages apart badly.
    fn weigh(&self, odds: f32, passage: &Ranked) -> f32 {
        let Calibration { span, closely, passage: weight, .. } = self.setup.calibration;
        let rank = FUSED * passage.fused_score.unwrap_or(0.0);
        (span + closely) * odds + weight * passage.score + rank
    }
}

impl Page {
    /// The number among its sentences of the one that a place is in.
    fn sentence_of(&self, place: &Range<usize>) -> usize {
        self.sentences.partition_point(|(_, range)| range.end <= place.start)
    }

    /// The text of a sentence with the one before and the one after.
    fn around(&self, candidate: usize) -> &str {
        let at = self.sentences.partition_point(|(number, _)| *number < candidate);
        let last = self.sentences.len().saturating_sub(1);
        let bytes = |at: usize| self.sentences.get(at).map_or(0..0, |(_, range)| range.clone());
        let text = bytes(at.saturating_sub(1)).start..bytes(last.min(at + 1)).end;
        self.text.get(text).unwrap_or_default()
    }

    /// Tokens of a window as bytes of their sentence.
    fn reading(&self, window: &Window, Span { tokens, odds, .. }: Span) -> Option<Reading> {
        let (from, to) = (window.places.get(tokens.start)?, window.places.get(tokens.end - 1)?);
        let (candidate, range) = self.sentences.get(self.sentence_of(from))?;
        // Tokens lie within sentences, but for a space that some tokenizers count to the next word.
        let start = from.start.max(range.start) - range.start;
        let end = to.end.min(range.end).saturating_sub(range.start).max(start);
        Some(Reading { candidate: *candidate, span: start..end, odds, closely: odds })
    }
}

/// The passages of the candidates.
fn pages(candidates: &[Candidate]) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    for (number, candidate) in candidates.iter().enumerate() {
        if pages.last().is_none_or(|page| page.passage != candidate.passage) {
            pages.push(Page { passage: candidate.passage, text: String::new(), sentences: vec![] });
        }
        if let Some(page) = pages.last_mut() {
            if !page.text.is_empty() {
                page.text.push(' ');
            }
            let start = page.text.len();
            page.text.push_str(&candidate.plain);
            page.sentences.push((number, start..page.text.len()));
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(passage: usize, plain: &str) -> Candidate {
        Candidate {
            passage,
            range: 0..plain.len(),
            plain: plain.to_owned(),
            code: false,
            score: 0.0,
        }
    }

    #[test]
    fn spans_are_bytes_of_their_sentence() {
        let candidates = [candidate(0, "One two."), candidate(0, "Three four."), candidate(2, "x")];
        let pages = pages(&candidates);
        assert_eq!(pages.iter().map(|p| p.passage).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(pages[0].text, "One two. Three four.");
        let encoded = trine_text::tokens::Encoded { ids: vec![], type_ids: vec![], truncated: 0 };
        let places = vec![0..3, 4..7, 9..14, 15..19];
        let window = Window { encoded, begin: 1, places };
        let parts: Vec<usize> = window.places.iter().map(|p| pages[0].sentence_of(p)).collect();
        assert_eq!(parts, [0, 0, 1, 1]);
        let span = Span { tokens: 2..4, margin: 4.0, odds: 5.5 };
        let reading = pages[0].reading(&window, span).unwrap();
        assert_eq!((reading.candidate, reading.span, reading.odds), (1, 0..10, 5.5));
    }

    #[test]
    fn a_sentence_is_read_again_with_its_neighbours() {
        let pages = pages(&["One.", "Two.", "Three.", "Four."].map(|plain| candidate(3, plain)));
        let around: Vec<&str> = (0..4).map(|number| pages[0].around(number)).collect();
        assert_eq!(around, ["One. Two.", "One. Two. Three.", "Two. Three. Four.", "Three. Four."]);
        let (first, second) = (candidate(0, "Of another."), candidate(1, "Alone."));
        assert_eq!(super::pages(&[first, second])[1].around(1), "Alone.");
    }
}
