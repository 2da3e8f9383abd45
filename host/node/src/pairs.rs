//! Real pairs to score: a question and each of some passages.

use std::path::PathBuf;

use trine_corpus::{Corpus, CutOptions, Cutter, ReadOptions};
use trine_index::{MediaType, Passage};
use trine_text::passage_input;
use trine_text::tokens::{Encoded, Encoder};

use crate::NodeError;

/// Pairs of `question` and `count` passages, spread evenly over the documents in `paths`; fewer
/// where there are fewer. Cut and tokenised as a bundle's are, for a model with the tokenizer and
/// the window given.
pub fn pairs(
    paths: &[PathBuf],
    question: &str,
    count: usize,
    (tokenizer, window): (&[u8], usize),
) -> Result<Vec<Encoded>, NodeError> {
    let encoder = Encoder::new(tokenizer, window)?;
    let tokens = |text: &str| encoder.count(text).unwrap_or(0);
    let cut = CutOptions { window, target: window * 4 / 5, ..CutOptions::default() };
    let mut all = Vec::new();
    Corpus::open(paths, ReadOptions::default())?.passages::<NodeError>(
        &Cutter::new(&tokens, cut),
        &|_| {},
        &mut |passages| {
            all.extend(passages);
            Ok(())
        },
    )?;
    let count = count.min(all.len());
    let pair = |passage: &Passage| {
        let Passage { title, headings, text, media_type, .. } = passage;
        let markdown = *media_type == MediaType::Markdown;
        encoder.encode_pair(question, &passage_input(title, headings, text, markdown))
    };
    Ok((0..count).map(|i| pair(&all[i * all.len() / count])).collect::<Result<_, _>>()?)
}
