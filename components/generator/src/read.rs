//! Reading the answer: a model marks the span of a passage that answers (Devlin et al. 2019, section
//! 4.2), or that none does (section 4.3).

use std::ops::Range;

use trine_guest_nn::bindings::trine::rag::types::{Error, Ranked};
use trine_guest_nn::{Graph, NnError, Tensor};
use trine_index::setup::{Calibration, ReaderSetup};
use trine_text::tokens::{Encoder, Window, Windows};

use crate::extract::Candidate;

/// Windows read for one answer, of all passages together.
const MOST_WINDOWS: usize = 48;
/// Tokens of the question that are read.
const QUESTION: usize = 64;
/// Tokens that a window shares with the one before.
const OVERLAP: usize = 96;
/// Tokens of the narrowest window that a reader may have: a question, an overlap, and some text.
pub const NARROWEST: usize = QUESTION + OVERLAP + 16;
/// Tokens of the longest answer.
const LONGEST: usize = 40;

/// A span that a model says answers.
pub struct Reading {
    /// The sentence that it is in.
    pub candidate: usize,
    /// Its bytes in the sentence's plain text.
    pub span: Range<usize>,
    /// Its logits, less those of no answer.
    pub margin: f32,
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
            let most = MOST_WINDOWS - windows.len();
            let form =
                Windows { tokens: self.setup.max_tokens, first: QUESTION, overlap: OVERLAP, most };
            let found = self.encoder.windows(question, &page.text, form);
            let found = found.map_err(|e| Error::InvalidInput(e.to_string()))?;
            windows.extend(found.into_iter().map(|window| (page, window)));
        }
        if windows.is_empty() {
            return Ok(None);
        }
        let (width, starts, ends) = self.compute(&windows)?;
        let rows = starts.chunks_exact(width).zip(ends.chunks_exact(width));
        let readings = windows.iter().zip(rows).filter_map(|((page, window), (starts, ends))| {
            let reading = best_span(page, window, starts, ends)?;
            Some((self.weigh(reading.margin, passages[page.passage].score), reading))
        });
        Ok(readings.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, reading)| reading))
    }

    /// What spans of several passages are compared by: their part of the evidence.
    fn weigh(&self, margin: f32, passage: f32) -> f32 {
        let Calibration { span, passage: weight, .. } = self.setup.calibration;
        span * margin + weight * passage
    }

    /// Tokens of the widest row, and the logits of all rows.
    fn compute(&self, windows: &[(&Page, Window)]) -> Result<(usize, Vec<f32>, Vec<f32>), NnError> {
        let ids = || windows.iter().map(|(_, w)| w.encoded.ids.as_slice());
        let types = windows.iter().map(|(_, w)| w.encoded.type_ids.as_slice());
        let outputs = Graph::load(&self.setup.graph)?.compute(vec![
            ("input_ids", Tensor::rows(ids(), 0)),
            ("attention_mask", Tensor::mask(ids())),
            ("token_type_ids", Tensor::rows(types, 0)),
        ])?;
        let width = ids().map(<[u32]>::len).max().unwrap_or(0);
        let logits = |name: &str| {
            let (dimensions, logits) = outputs.f32(name)?;
            if dimensions != [windows.len() as u32, width as u32] {
                let model = &self.setup.model;
                let text = format!("`{model}` returned `{name}` of shape {dimensions:?}");
                return Err(NnError::Failed(text));
            }
            if logits.iter().any(|logit| !logit.is_finite()) {
                let text = format!("`{}` returned `{name}` that is not finite", self.setup.model);
                return Err(NnError::Failed(text));
            }
            Ok(logits)
        };
        Ok((width, logits("start_logits")?, logits("end_logits")?))
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

/// The span of one sentence whose logits are largest together.
fn best_span(page: &Page, window: &Window, starts: &[f32], ends: &[f32]) -> Option<Reading> {
    let none = starts.first()? + ends.first()?;
    let sentence_of = |place: &Range<usize>| {
        page.sentences.partition_point(|(_, range)| range.end <= place.start)
    };
    let sentences: Vec<usize> = window.places.iter().map(sentence_of).collect();
    let mut best: Option<(f32, usize, usize)> = None;
    for (from, sentence) in sentences.iter().enumerate() {
        let start = starts.get(window.begin + from)?;
        let reach = sentences.iter().enumerate().skip(from).take(LONGEST);
        for (to, _) in reach.take_while(|(_, other)| *other == sentence) {
            let logit = start + ends.get(window.begin + to)?;
            if best.is_none_or(|(highest, ..)| logit > highest) {
                best = Some((logit, from, to));
            }
        }
    }
    let (logit, from, to) = best?;
    let (candidate, range) = page.sentences.get(sentences[from])?;
    let (from, to) = (&window.places[from], &window.places[to]);
    // Tokens lie within sentences, but for a space that some tokenizers count to the next word.
    let start = from.start.max(range.start) - range.start;
    let end = to.end.min(range.end).saturating_sub(range.start).max(start);
    Some(Reading { candidate: *candidate, span: start..end, margin: logit - none })
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
    fn spans_stay_within_a_sentence() {
        let candidates = [candidate(0, "One two."), candidate(0, "Three four."), candidate(2, "x")];
        let pages = pages(&candidates);
        assert_eq!(pages.iter().map(|p| p.passage).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(pages[0].text, "One two. Three four.");
        let encoded = trine_text::tokens::Encoded { ids: vec![], type_ids: vec![], truncated: 0 };
        let places = vec![0..3, 4..7, 9..14, 15..19];
        let window = Window { encoded, begin: 1, places };
        // The two largest logits are of different sentences.
        let (starts, ends) = ([1.0, 0.0, 5.0, 1.0, 0.0], [0.5, 0.0, 1.0, 2.0, 6.0]);
        let best = best_span(&pages[0], &window, &starts, &ends).unwrap();
        assert_eq!((best.candidate, best.span, best.margin), (1, 0..10, 5.5));
    }
}
