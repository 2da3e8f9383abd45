//! Where a text has what a query asks for.

use std::ops::Range;

use super::analyse::Analyser;
use super::codes::codes;
use super::inverted::{CODE, Inverted};
use super::query::Wanted;

/// Finds a query's words, codes and phrases in texts.
pub struct Highlighter<'a> {
    analyser: &'a Analyser,
    /// Stems and codes, sorted.
    terms: Vec<String>,
    /// Stems and their places, stop words counted.
    phrases: Vec<Vec<(String, u32)>>,
}

/// A word of a text.
struct Word {
    stem: String,
    place: u32,
    range: Range<usize>,
}

impl Inverted {
    /// What finds the words, codes and phrases of `query` in texts.
    pub fn highlighter(&self, query: &str) -> Highlighter<'_> {
        let wanted = Wanted::read(query, self.analyser());
        let mut terms: Vec<String> = wanted.terms.into_iter().map(|term| term.name).collect();
        terms.sort_unstable();
        Highlighter { analyser: self.analyser(), terms, phrases: wanted.phrases }
    }
}

impl Highlighter<'_> {
    /// Byte ranges of `text`, rising, none touching another: each word whose stem the query has,
    /// each code that it has, each of its phrases from the first word to the last.
    pub fn ranges(&self, text: &str) -> Vec<Range<usize>> {
        let has = |term: &str| self.terms.binary_search_by(|own| own.as_str().cmp(term)).is_ok();
        let mut ranges = vec![];
        codes(text, |code, range| {
            if has(&format!("{CODE}{code}")) {
                ranges.push(range);
            }
        });
        let mut words = vec![];
        self.analyser.words(text, |word, place, range| {
            let stem = self.analyser.stem(word);
            if has(&stem) {
                ranges.push(range.clone());
            }
            if !self.phrases.is_empty() {
                words.push(Word { stem: stem.into_owned(), place, range });
            }
        });
        ranges.extend(self.phrases.iter().flat_map(|phrase| find(phrase, &words)));
        joined(ranges)
    }
}

/// Where the words of a phrase follow each other.
fn find(phrase: &[(String, u32)], words: &[Word]) -> impl Iterator<Item = Range<usize>> {
    let matching = move |run: &[Word]| {
        let start = run.first()?.place;
        let first = phrase.first()?.1;
        let same = |(word, (stem, place)): (&Word, &(String, u32))| {
            word.stem == *stem && word.place - start == place - first
        };
        let all = run.iter().zip(phrase).all(same);
        all.then(|| Some(run.first()?.range.start..run.last()?.range.end))?
    };
    words.windows(phrase.len().max(1)).filter_map(matching)
}

/// In order, those that overlap made one.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<usize>> = vec![];
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexical::LexicalOptions;

    fn marked(query: &str, text: &str) -> Vec<String> {
        let index = Inverted::build([], LexicalOptions::default()).unwrap();
        let ranges = index.highlighter(query).ranges(text);
        assert!(ranges.is_sorted_by(|a, b| a.end < b.start));
        ranges.into_iter().map(|range| text[range].to_owned()).collect()
    }

    #[test]
    fn words_are_found_by_their_stems() {
        let text = "Tools, naïve café-tools: the *tooling* of a Café.";
        assert_eq!(marked("the cafe tool", text), ["Tools", "café", "tools", "tooling", "Café"]);
        assert_eq!(marked("what is it?", "It is what it is."), [""; 0]);
        assert_eq!(marked("", text), [""; 0]);
    }

    #[test]
    fn codes_are_found_whole() {
        let text = "See ERR_503, `--dry-run` and § 12.3(b); not ERR_504.";
        assert_eq!(marked("ERR_503", text), ["ERR_503", "ERR"]);
        assert_eq!(marked("--dry-run", text), ["--dry-run"]);
        assert_eq!(marked("§12.3(b)", text), ["§ 12.3(b)"]);
    }

    #[test]
    fn a_phrase_is_one_piece() {
        let text = "The state of the art is no art of state; State, of the Art!";
        let phrases = ["state of the art", "art", "state", "State, of the Art"];
        assert_eq!(marked("\"state of the art\"", text), phrases);
    }

    #[test]
    fn no_text_panics() {
        for text in ["", "\"", "“”", "§", "ﬁ\u{301}", "a\u{200d}b_c 東京 ÉCOLE's", "🦀 __ -- 1,000"]
        {
            for query in [text, "\"a b\"", "\"école 東京\" 1000 fi"] {
                marked(query, text);
            }
        }
        assert_eq!(marked("école", "l'ÉCOLE"), [""; 0]);
        assert_eq!(marked("école", "une ÉCOLE"), ["ÉCOLE"]);
    }
}
