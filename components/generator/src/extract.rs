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
use trine_text::sentences::sentences;
use trine_text::words::{content_words, stem};
use trine_text::{markdown, passage_input};

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
struct Candidate {
    passage: usize,
    range: Range<usize>,
    plain: String,
    score: f32,
}

/// The sentences of `passages` that answer `question` best, at most `most`.
pub fn extract(
    encoder: &SentenceEncoder,
    question: &str,
    passages: &[Ranked],
    most: usize,
) -> Result<Extraction, Error> {
    let (mut candidates, passages_dropped) = candidates(passages);
    if candidates.is_empty() {
        return Ok(Extraction { quotes: vec![], evidence: 0.0, more: false, passages_dropped });
    }
    score(encoder, question, passages, &mut candidates)?;
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let best = candidates[0].score;
    let evidence = (best / (1.0 + OVERLAP_WEIGHT)).clamp(0.0, 1.0);

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
    let quotes = chosen.into_iter().map(|c| quote(&passages[c.passage].passage, c)).collect();
    Ok(Extraction { quotes, evidence, more, passages_dropped })
}

/// Every sentence of the passages, best passage first, and how many passages were left out.
fn candidates(passages: &[Ranked]) -> (Vec<Candidate>, usize) {
    let mut all = Vec::new();
    for (position, ranked) in passages.iter().enumerate() {
        let is_markdown = is_markdown(&ranked.passage);
        let text = &ranked.passage.text;
        let ranges = sentences(text, is_markdown);
        if !all.is_empty() && all.len() + ranges.len() > MOST_SENTENCES {
            return (all, passages.len() - position);
        }
        let room = MOST_SENTENCES - all.len();
        all.extend(ranges.into_iter().take(room).filter_map(|range| {
            let verbatim = text.get(range.clone())?;
            let plain = if is_markdown { markdown::plain(verbatim) } else { verbatim.to_owned() };
            let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
            let readable = plain.chars().any(char::is_alphanumeric);
            readable.then_some(Candidate { passage: position, range, plain, score: 0.0 })
        }));
    }
    (all, 0)
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
    }
}

fn is_markdown(passage: &Passage) -> bool {
    passage.media_type == "text/markdown"
}
