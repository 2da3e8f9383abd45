//! Whether the passages that a sentence cites support it.
//!
//! The reranker scores the sentence against each sentence of those passages, and the best is the
//! quote. A cross-encoder's logit becomes a probability; late interaction's score is a mean cosine.
//! Neither tells 14 days from 90: a number that the sentence has and the passage has not is no support.

use std::collections::BTreeSet;

use crate::bindings::exports::trine::rag::generator::{Citation, Support};
use crate::bindings::trine::rag::reranker::{self, RerankOptions, Scoring};
use crate::bindings::trine::rag::types::{Candidate, Error, Passage, Ranked};
use trine_text::quotable::{Quotable, quotable};

/// Passages that are looked into for one sentence.
const MOST_CITED: usize = 8;
/// Sentences that one is compared with at most.
const MOST_SENTENCES: usize = 200;
/// Scores from which on a sentence is supported: of late interaction, where the paraphrases of a
/// sentence that were tried had 0.74 and more, and inventions about its subject up to 0.56; and of a
/// cross-encoder.
const LATE_INTERACTION: f32 = 0.65;
const CROSS_ENCODER: f32 = 0.5;

/// What was found for a sentence.
pub struct Checked {
    pub support: Support,
    /// The best score, 0 to 1; none where nothing was compared.
    pub score: Option<f32>,
    /// A quote of each passage that supports it.
    pub citations: Vec<Citation>,
}

/// Holds a statement against the passages that it cites, by their places.
pub fn check(statement: &str, cited: &[usize], passages: &[Ranked]) -> Result<Checked, Error> {
    let mut places: Vec<usize> = Vec::new();
    for &place in cited.iter().filter(|place| **place < passages.len()) {
        if !places.contains(&place) && places.len() < MOST_CITED {
            places.push(place);
        }
    }
    let nothing = |support| Checked { support, score: None, citations: vec![] };
    if places.is_empty() {
        return Ok(nothing(Support::Uncited));
    }
    let mut sentences: Vec<(usize, Quotable)> = Vec::new();
    for &place in &places {
        let passage = &passages[place].passage;
        let found = quotable(&passage.text, passage.media_type == "text/markdown");
        sentences.extend(found.into_iter().map(|sentence| (place, sentence)));
    }
    sentences.truncate(MOST_SENTENCES);
    if sentences.is_empty() || !statement.contains(char::is_alphanumeric) {
        return Ok(nothing(Support::Unsupported));
    }
    let scores = scores(statement, &sentences)?;
    let mut citations = Vec::new();
    for place in places {
        let of_passage = sentences.iter().zip(&scores).filter(|((of, _), _)| *of == place);
        let best = of_passage.max_by(|a, b| a.1.score.total_cmp(&b.1.score));
        let passage = &passages[place].passage;
        if let Some(((_, sentence), Score { supports: true, .. })) = best
            && numbers(statement).is_subset(&numbers(&passage.text))
        {
            citations.push(quote(place, passage, sentence));
        }
    }
    let support = if citations.is_empty() { Support::Unsupported } else { Support::Supported };
    let score = scores.iter().map(|score| score.score).max_by(f32::total_cmp);
    Ok(Checked { support, score, citations })
}

/// The numbers in a text that are written in digits, without what groups them.
fn numbers(text: &str) -> BTreeSet<String> {
    let numbers = text.split(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ','));
    let numbers = numbers.map(|number| number.trim_matches(['.', ',']).replace(',', ""));
    numbers.filter(|number| !number.is_empty()).collect()
}

fn quote(place: usize, passage: &Passage, sentence: &Quotable) -> Citation {
    let range = &sentence.range;
    Citation {
        passage: place as u32,
        start: passage.start + range.start as u64,
        end: passage.start + range.end as u64,
        quote: passage.text[range.clone()].to_owned(),
        answer: None,
    }
}

#[derive(Clone, Copy)]
struct Score {
    /// 0 to 1.
    score: f32,
    supports: bool,
}

/// How much each of the sentences supports the statement.
fn scores(statement: &str, sentences: &[(usize, Quotable)]) -> Result<Vec<Score>, Error> {
    let candidates: Vec<Candidate> = sentences
        .iter()
        .zip(0..)
        .map(|((_, sentence), id)| candidate(id, &sentence.plain))
        .collect();
    let options = RerankOptions { top_n: MOST_SENTENCES as u32, fuse: false };
    let reranking = reranker::rerank(statement, &candidates, options)?;
    let none = Score { score: 0.0, supports: false };
    let mut scores = vec![none; sentences.len()];
    for Ranked { passage, score, .. } in reranking.ranked {
        let (score, enough) = match reranking.scoring {
            Scoring::LateInteraction => (score.clamp(0.0, 1.0), LATE_INTERACTION),
            Scoring::CrossEncoder => (1.0 / (1.0 + (-score).exp()), CROSS_ENCODER),
        };
        if let Some(of) = scores.get_mut(passage.id as usize) {
            *of = Score { score, supports: score >= enough };
        }
    }
    Ok(scores)
}

/// A sentence as the reranker takes it.
fn candidate(id: u32, text: &str) -> Candidate {
    let passage = Passage {
        id,
        source: String::new(),
        title: String::new(),
        headings: vec![],
        text: text.to_owned(),
        media_type: "text/plain".to_owned(),
        start: 0,
        end: text.len() as u64,
    };
    Candidate { passage, score: 0.0, dense_score: None, lexical_score: None, highlights: vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_is_written_in_digits() {
        let found: Vec<String> =
            numbers("In 2024, 1,500 of 3.5 (90%). Nr. 7.").into_iter().collect();
        assert_eq!(found, ["1500", "2024", "3.5", "7", "90"]);
        assert!(numbers("none, at all...").is_empty());
    }
}
