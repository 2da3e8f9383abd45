//! Phrases: words that follow each other.

use super::postings::{Cursor, END, List, Writer};

/// The passages where the words follow each other. Each of `words` is a list and the place of its
/// word in the phrase, stop words counted.
pub(super) fn matches(words: &[(List, u32)]) -> Writer {
    let mut found = Writer::default();
    let mut words: Vec<(Cursor, u32)> =
        words.iter().map(|&(list, place)| (list.cursor(), place)).collect();
    let mut starts = Vec::new();
    let mut positions = Vec::new();
    while let Some(passage) = next_common(&mut words) {
        for (index, (cursor, place)) in words.iter_mut().enumerate() {
            cursor.positions(&mut positions);
            let start = positions.iter().filter_map(|&position| position.checked_sub(*place));
            if index == 0 {
                starts.clear();
                starts.extend(start);
            } else {
                let begins: Vec<u32> = start.collect();
                starts.retain(|start| begins.binary_search(start).is_ok());
            }
        }
        if !starts.is_empty() {
            found.push_frequency(passage, starts.len() as u32);
        }
        words[0].0.advance();
    }
    found
}

/// Moves all cursors to the first passage that has all words.
fn next_common(words: &mut [(Cursor, u32)]) -> Option<u32> {
    let mut passage = words.first()?.0.passage;
    loop {
        let before = passage;
        for (cursor, _) in words.iter_mut() {
            cursor.seek(passage);
            passage = cursor.passage;
        }
        if passage == END {
            return None;
        }
        if passage == before {
            return Some(passage);
        }
    }
}
