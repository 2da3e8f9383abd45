//! Choosing the sentences that answer.
//!
//! Each sentence is scored by two signals that err in different ways: the cosine between the
//! question's vector and the sentence's, read with its title and headings, and the share of the
//! question's words it holds, rare words counting more. Over passages of SQuAD the sum puts an
//! answering sentence first more often than either alone, or than MaxSim.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use trine_guest_nn::SentenceEncoder;
use trine_guest_nn::bindings::trine::rag::types::{Error, Passage, Ranked};
use trine_text::passage_input;
use trine_text::quotable::{Quotable, quotable};
use trine_text::words::{content_words, stem};

use crate::read::{Reader, Reading};

/// Sentences scored in one call: bounds the tensors that come back.
const MOST_SENTENCES: usize = 192;
/// Weight of the word overlap beside the cosine's one.
const OVERLAP_WEIGHT: f32 = 0.5;
/// A further sentence joins the answer when its score is at least this share of the best one's.
const CLOSE: f32 = 0.85;

/// A sentence that supports the answer.
pub struct Quote {
    /// Position of its passage in the list given.
    pub passage: usize,
    /// Byte offsets in the document.
    pub start: u64,
    /// Past the last byte.
    pub end: u64,
    /// The document's bytes.
    pub verbatim: String,
    /// Those without markup.
    pub plain: String,
    /// Whether it is code, whose lines are kept.
    pub code: bool,
    /// The bytes of the document that are the answer itself.
    pub answer: Option<Range<u64>>,
}

/// What was found.
pub struct Extraction {
    /// In the order they are read.
    pub quotes: Vec<Quote>,
    /// Strength of the best sentence, 0 to 1.
    pub evidence: f32,
    /// Whether further sentences were close enough but too many.
    pub more: bool,
    /// Passages that were not read because there were too many sentences before them.
    pub passages_dropped: usize,
}

/// A sentence that might answer.
pub struct Candidate {
    /// Position of its passage.
    pub passage: usize,
    /// Its bytes in the passage.
    pub range: Range<usize>,
    /// Those without markup.
    pub plain: String,
    /// Whether it is code.
    pub code: bool,
    /// How well it answers.
    pub score: f32,
}

/// The sentences of `passages` that answer `question` best, at most `most`. With a reader the one
/// that it reads the answer in leads.
pub fn extract(
    encoder: &SentenceEncoder,
    reader: Option<&Reader>,
    question: &str,
    passages: &[Ranked],
    most: usize,
) -> Result<Extraction, Error> {
    let (mut candidates, passages_dropped) = candidates(passages);
    if candidates.is_empty() {
        return Ok(Extraction { quotes: vec![], evidence: 0.0, more: false, passages_dropped });
    }
    score(encoder, question, passages, &mut candidates)?;
    let best = candidates.iter().map(|c| c.score).fold(f32::MIN, f32::max);
    let mut evidence = (best / (1.0 + OVERLAP_WEIGHT)).clamp(0.0, 1.0);
    let mut answer = None;
    if let Some(reader) = reader
        && let Some(reading) = reader.read(question, passages, &candidates)?
    {
        let lead = &mut candidates[reading.candidate];
        let passage = passages[lead.passage].score;
        evidence = reader.setup.calibration.evidence(reading.odds, passage, reading.closely);
        answer = answer_range(&passages[lead.passage].passage, lead, &reading);
        lead.score = f32::MAX;
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));

    let mut seen = HashSet::new();
    let mut chosen: Vec<Candidate> = candidates
        .into_iter()
        .take_while(|c| c.score >= best * CLOSE)
        .filter(|c| seen.insert(c.plain.clone()))
        .take(most + 1)
        .collect();
    let more = chosen.len() > most;
    chosen.truncate(most);
    // The best sentence leads; the others follow as they stand in the documents.
    chosen[1..].sort_by_key(|c| (c.passage, c.range.start));
    let mut quotes: Vec<Quote> =
        chosen.into_iter().map(|c| quote(&passages[c.passage].passage, c)).collect();
    quotes[0].answer = answer;
    Ok(Extraction { quotes, evidence, more, passages_dropped })
}

/// Where in the document the span is that was read; none where markup parts it.
fn answer_range(passage: &Passage, lead: &Candidate, reading: &Reading) -> Option<Range<u64>> {
    let read = lead.plain.get(reading.span.clone())?;
    let verbatim = passage.text.get(lead.range.clone())?;
    // Of several the one that stands where it was read, or nearest: markup only moves text on.
    let places = verbatim.match_indices(read).map(|(at, _)| at);
    let at = places.min_by_key(|at| at.abs_diff(reading.span.start))?;
    let start = passage.start + (lead.range.start + at) as u64;
    (!read.is_empty()).then(|| start..start + read.len() as u64)
}

/// Every sentence of the passages, best passage first, and how many passages were left out.
fn candidates(passages: &[Ranked]) -> (Vec<Candidate>, usize) {
    let mut all = Vec::new();
    for (position, ranked) in passages.iter().enumerate() {
        let found = of_passage(position, &ranked.passage);
        if !all.is_empty() && all.len() + found.len() > MOST_SENTENCES {
            return (all, passages.len() - position);
        }
        let room = MOST_SENTENCES - all.len();
        all.extend(found.into_iter().take(room));
    }
    (all, 0)
}

/// The sentences of one passage.
fn of_passage(position: usize, passage: &Passage) -> Vec<Candidate> {
    let found = quotable(&passage.text, passage.media_type == "text/markdown").into_iter();
    let candidate = |Quotable { range, plain, code }| Candidate {
        passage: position,
        range,
        plain,
        code,
        score: 0.0,
    };
    found.map(candidate).collect()
}

fn score(
    encoder: &SentenceEncoder,
    question: &str,
    passages: &[Ranked],
    candidates: &mut [Candidate],
) -> Result<(), Error> {
    let mut texts = vec![question.to_owned()];
    texts.extend(candidates.iter().map(|c| {
        let passage = &passages[c.passage].passage;
        passage_input(&passage.title, &passage.headings, &c.plain, false)
    }));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embeddings = encoder.embed(&texts)?;
    let [asked, read @ ..] = embeddings.as_slice() else {
        return Err(Error::Inference("the model returned no rows".to_owned()));
    };
    let overlaps = overlaps(question, candidates);
    for ((candidate, embedding), overlap) in candidates.iter_mut().zip(read).zip(overlaps) {
        candidate.score = asked.vector.cosine(&embedding.vector) + OVERLAP_WEIGHT * overlap;
    }
    Ok(())
}

/// For each sentence the share of the question's words it holds, 0 to 1, words weighted by their
/// inverse document frequency (Spärck Jones, 1972) with the sentences as the documents.
fn overlaps(question: &str, candidates: &[Candidate]) -> Vec<f32> {
    let stems = |text: &str| -> HashSet<String> {
        content_words(text).map(|word| stem(&word).to_owned()).collect()
    };
    let asked = stems(question);
    let held: Vec<HashSet<String>> = candidates.iter().map(|c| stems(&c.plain)).collect();
    let weights: HashMap<&str, f32> = asked
        .iter()
        .map(|word| {
            let sentences = held.iter().filter(|words| words.contains(word)).count();
            let idf = (1.0 + candidates.len() as f32 / (1.0 + sentences as f32)).ln();
            (word.as_str(), idf)
        })
        .collect();
    let total: f32 = weights.values().sum();
    held.iter()
        .map(|words| {
            let shared = asked.iter().filter(|word| words.contains(*word));
            let weight: f32 = shared.filter_map(|word| weights.get(word.as_str())).sum();
            if total > 0.0 { weight / total } else { 0.0 }
        })
        .collect()
}

fn quote(passage: &Passage, chosen: Candidate) -> Quote {
    Quote {
        passage: chosen.passage,
        start: passage.start + chosen.range.start as u64,
        end: passage.start + chosen.range.end as u64,
        verbatim: passage.text[chosen.range].to_owned(),
        plain: chosen.plain,
        code: chosen.code,
        answer: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str, media_type: &str) -> Passage {
        Passage {
            id: 0,
            source: "a.md".to_owned(),
            title: String::new(),
            headings: vec![],
            text: text.to_owned(),
            media_type: media_type.to_owned(),
            start: 100,
            end: 100 + text.len() as u64,
        }
    }

    #[test]
    fn rare_words_of_the_question_weigh_more() {
        let text = "The plan is here. The plan costs money. The quokka plan is here.";
        let found = of_passage(0, &passage(text, "text/plain"));
        let overlaps = overlaps("Which plan has a quokka?", &found);
        assert!(overlaps[2] > 0.99 && overlaps[0] < 0.5, "{overlaps:?}");
        assert_eq!(super::overlaps("of the", &found), [0.0; 3]);
    }
}
