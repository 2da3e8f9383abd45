//! Spelling: words that the index does not know are read as the nearest that it does.

use std::ops::Range;

use crate::index::{Admitted, Index};
use crate::lexical::fold;

/// Words of one query that are looked for among the others: each costs a walk through all words.
const MOST: usize = 8;

/// Fewest letters of a word that is read otherwise.
const LETTERS: usize = 4;

/// Fewest letters of a word that may be two slips away; shorter ones are one.
const LETTERS_FOR_TWO: usize = 8;

/// Letters of a word that has so many others beside it that it is rarely one of them misspelt.
const SHORT: usize = 5;

/// A word that was read as another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Where it stands in the query.
    pub range: Range<usize>,
    /// The word that the index knows, folded.
    pub read_as: String,
}

impl Index {
    /// What `query` says that no passage does, and is near to what one does. Words between
    /// quotation marks, codes, and whatever is not letters alone are meant as they are written.
    pub fn misspelt(&self, query: &str) -> Vec<Correction> {
        let all = Admitted::default();
        let parts = self.parts(&all);
        let known = |word: &str| parts.iter().any(|part| part.segment.lexical.knows(word));
        let unknown = plain_words(query).filter(|range| !known(&query[range.clone()]));
        let correction = |range: Range<usize>| {
            let word = fold(&query[range.clone()]);
            let letters: Vec<char> = word.chars().collect();
            let most = if letters.len() < LETTERS_FOR_TWO { 1 } else { 2 };
            let likely = |known: &[char], distance| is_likely(&letters, known, distance);
            let near = parts
                .iter()
                .filter_map(|part| part.segment.lexical.nearest(&word, most, likely))
                .min_by_key(|near| (near.distance, u32::MAX - near.count))?;
            Some(Correction { range, read_as: near.word })
        };
        unknown.take(MOST).filter_map(correction).collect()
    }
}

/// `query` as it was read; `corrections` rise.
pub fn corrected(query: &str, corrections: &[Correction]) -> String {
    let (mut text, mut end) = (String::with_capacity(query.len()), 0);
    for Correction { range, read_as } in corrections {
        text.push_str(&query[end..range.start]);
        text.push_str(read_as);
        end = range.end;
    }
    text.push_str(&query[end..]);
    text
}

/// Whether `written` is likely to be meant for `known`, and no word of its own. Of 102 unknown words
/// in the queries of four test collections half were right as they stood: prefixes made them
/// (`reformulation`, `unhelpful`), or they were short words (`slope` and `scope`).
fn is_likely(written: &[char], known: &[char], distance: usize) -> bool {
    let same_start = written.first() == known.first();
    if written.len() > SHORT {
        return same_start || distance == 1;
    }
    let changed = written.iter().zip(known).filter(|(a, b)| a != b).count();
    same_start && !(written.len() == known.len() && changed == 1)
}

/// The words of letters alone that stand between spaces and punctuation, outside of quotation marks.
fn plain_words(query: &str) -> impl Iterator<Item = Range<usize>> {
    let offset = |part: &str| part.as_ptr().addr() - query.as_ptr().addr();
    let unquoted = query.split(['"', '“', '”', '„']).step_by(2);
    unquoted.flat_map(str::split_whitespace).filter_map(move |word| {
        let word = word.trim_start_matches(['(', '[', '\'', '‘', '*']);
        let word = word.trim_end_matches([')', ']', '\'', '’', '*', '.', ',', ';', ':', '!', '?']);
        let word = word.strip_suffix("'s").or(word.strip_suffix("’s")).unwrap_or(word);
        let letters = word.chars().all(char::is_alphabetic) && word.chars().count() >= LETTERS;
        // A capital after the first letter makes it a name.
        let name = word.chars().skip(1).any(char::is_uppercase);
        (letters && !name).then(|| offset(word)..offset(word) + word.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_are_looked_at() {
        let query =
            "Wher's (teh) “quoted wrod” --flga src/fiel camelCsae SIAM resume's, naïve end?";
        let words: Vec<&str> = plain_words(query).map(|range| &query[range]).collect();
        assert_eq!(words, ["Wher", "resume", "naïve"]);
        assert_eq!(plain_words("\"open phrase").count(), 0);
    }

    #[test]
    fn words_of_their_own_are_left_alone() {
        let likely = |written: &str, known: &str, distance| {
            let letters = |word: &str| word.chars().collect::<Vec<_>>();
            is_likely(&letters(written), &letters(known), distance)
        };
        for (written, known, distance) in [
            ("lahte", "lathe", 1),
            ("numy", "numpy", 1),
            ("vackground", "background", 1),
            ("dictionray", "dictionary", 1),
            ("charachhters", "characters", 2),
        ] {
            assert!(likely(written, known, distance), "{written}");
        }
        for (written, known, distance) in
            [("slope", "scope", 1), ("unhelpful", "helpful", 2), ("dull", "full", 1)]
        {
            assert!(!likely(written, known, distance), "{written}");
        }
    }

    #[test]
    fn corrections_are_put_in_their_places() {
        let correction = |range, to: &str| Correction { range, read_as: to.to_owned() };
        let corrections = [correction(0..5, "word"), correction(7..8, "naïve")];
        assert_eq!(corrected("wordd, x?", &corrections), "word, naïve?");
        assert_eq!(corrected("as it is", &[]), "as it is");
    }
}
