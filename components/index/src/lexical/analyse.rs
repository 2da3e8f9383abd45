//! Words: what of a text and of a query is compared.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use snowball_stemmers_rs::Stemmer;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::language::Language;

/// How text becomes words. An index remembers it, so that queries are read in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// Whose inflections are removed; with `None` words are compared as they stand.
    pub language: Option<Language>,
    /// Whether the language's stop words are indexed like all others. Only those of English are known:
    /// Lucene's 33, and lone small letters.
    pub stop_words: bool,
    /// Whether words are all that counts, as in other engines: runs of two or more letters, digits
    /// and `_`. No part of a compound is a word, no code and no phrase is looked for, and nothing is
    /// left out of a query because it only asks.
    pub plain: bool,
}

impl Default for Analysis {
    fn default() -> Self {
        Analysis { language: Some(Language::English), stop_words: false, plain: false }
    }
}

/// Lucene's English stop words.
const ENGLISH_STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// Words that questions are made of. Texts that never ask make them look rare, and so telling.
const ENGLISH_ASKING_WORDS: &[&str] = &[
    "about", "am", "any", "been", "can", "could", "did", "do", "does", "from", "had", "has",
    "have", "he", "her", "his", "how", "me", "my", "our", "she", "should", "so", "some", "than",
    "them", "us", "we", "were", "what", "when", "where", "which", "who", "whom", "whose", "why",
    "would", "you", "your",
];

/// An [`Analysis`] made ready.
pub(super) struct Analyser {
    stemmer: Option<Stemmer>,
    stop_words: &'static [&'static str],
    /// Whether letters with accents are others, to the stemmer at least.
    accents: bool,
    plain: bool,
}

impl Analyser {
    pub(super) fn new(analysis: Analysis) -> Analyser {
        let stop_words = match analysis.language {
            Some(Language::English) if !analysis.stop_words => ENGLISH_STOP_WORDS,
            _ => &[],
        };
        let stemmer = analysis.language.map(|language| Stemmer::create(language.algorithm()));
        let accents = !matches!(analysis.language, None | Some(Language::English));
        Analyser { stemmer, stop_words, accents, plain: analysis.plain }
    }

    /// Whether there is nothing but words.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// A word as [`Analyser::words`] emits it.
    pub(super) fn fold<'a>(&self, word: &'a str) -> Cow<'a, str> {
        match self.accents {
            false => fold(word),
            true => word.nfc().flat_map(char::to_lowercase).collect::<String>().into(),
        }
    }

    /// Calls `emit` with each word, folded, its position, and its bytes in `text`, in order. Stop
    /// words take a position but are not emitted. Returns how many positions there are.
    ///
    /// A word is a part of a word of Unicode Annex 29: that keeps `snake_case`, `camelCase` and
    /// `1.2.3` whole, and what is whole is the business of [`super::codes`].
    pub(super) fn words(&self, text: &str, mut emit: impl FnMut(&str, u32, Range<usize>)) -> u32 {
        let mut position = 0;
        let take = |part: &str| {
            let word = self.fold(part);
            if !self.is_stop_word(part, &word) {
                emit(&word, position, range_in(text, part));
            }
            position += 1;
        };
        match self.plain {
            false => text.unicode_words().flat_map(parts).for_each(take),
            true => runs(text).for_each(take),
        }
        position
    }

    /// Beside the listed words, a lone letter says something only as a capital (vitamin C).
    fn is_stop_word(&self, word: &str, folded: &str) -> bool {
        let letter = matches!(word.as_bytes(), [b'a'..=b'z' | b'I']);
        !self.stop_words.is_empty() && (letter || self.stop_words.binary_search(&folded).is_ok())
    }

    /// Whether a folded word is left out as too common.
    pub(super) fn stops(&self, word: &str) -> bool {
        self.stop_words.binary_search(&word).is_ok()
    }

    /// Whether a folded word of a query only asks, and says nothing about what.
    pub(super) fn asks(&self, word: &str) -> bool {
        let asks = !self.plain && !self.stop_words.is_empty();
        asks && ENGLISH_ASKING_WORDS.binary_search(&word).is_ok()
    }

    /// The term of a folded word: what is left of it without its inflection.
    pub(super) fn stem<'a>(&self, word: &'a str) -> Cow<'a, str> {
        match &self.stemmer {
            Some(stemmer) if self.accents => fold(&stemmer.stem(word)).into_owned().into(),
            Some(stemmer) => stemmer.stem(word),
            None => word.into(),
        }
    }
}

/// Where `part`, a slice of `text`, lies in it.
pub(super) fn range_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

/// The parts of a compound: `ERR_503` is `ERR` and `503`, `HTTPServer` is `HTTP` and `Server`.
/// Apostrophes and the commas of large numbers separate nothing.
pub(super) fn parts(compound: &str) -> impl Iterator<Item = &str> {
    compound
        .split(|c: char| !(c.is_alphanumeric() || is_mark(c) || matches!(c, '\'' | '’' | ',')))
        .flat_map(split_case)
        .filter(|part| part.contains(char::is_alphanumeric))
}

/// What most engines take for words.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let within = |c: char| c.is_alphanumeric() || is_mark(c) || c == '_';
    text.split(move |c| !within(c)).filter(|run| run.chars().nth(1).is_some())
}

/// Combining marks belong to the letter before them.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// Splits before a capital that follows a small letter, and before the last of several capitals
/// when a small letter follows it.
fn split_case(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, after) = rest.split_at(case_boundary(rest).unwrap_or(rest.len()));
        rest = after;
        Some(part)
    })
}

fn case_boundary(word: &str) -> Option<usize> {
    let mut chars = word.char_indices().peekable();
    let mut before = chars.next()?.1;
    while let Some((at, c)) = chars.next() {
        if c.is_uppercase() {
            let small_follows = chars.peek().is_some_and(|&(_, next)| next.is_lowercase());
            if before.is_lowercase() || (before.is_alphanumeric() && small_follows) {
                return Some(at);
            }
        }
        before = c;
    }
    None
}

/// Small letters without accents, and one form of each hyphen and apostrophe: `Café’s` is `cafe's`.
pub(crate) fn fold(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        if word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return word.into();
        }
        return word.to_ascii_lowercase().replace(',', "").into();
    }
    let accents = '\u{300}'..='\u{36f}';
    let letters = word.nfkd().filter(|c| !accents.contains(c) && *c != ',').map(|c| match c {
        '’' | 'ʼ' => '\'',
        '\u{2010}' | '\u{2011}' => '-',
        c => c,
    });
    letters.nfc().flat_map(char::to_lowercase).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, analysis: Analysis) -> Vec<(String, u32)> {
        let mut words = Vec::new();
        let analyser = Analyser::new(analysis);
        analyser.words(text, |word, at, _| words.push((analyser.stem(word).into_owned(), at)));
        words
    }

    fn plain(text: &str) -> Vec<String> {
        let analysis = Analysis { language: None, stop_words: true, plain: false };
        words(text, analysis).into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn stop_words_are_sorted_for_binary_search() {
        assert!(ENGLISH_STOP_WORDS.is_sorted());
        assert!(ENGLISH_ASKING_WORDS.is_sorted());
        assert_eq!(ENGLISH_STOP_WORDS.len(), 33);
    }

    #[test]
    fn inflections_and_stop_words_go_but_positions_stay() {
        let english = words("The cats of THE running fox", Analysis::default());
        let expected = [("cat", 1), ("run", 4), ("fox", 5)].map(|(w, at)| (w.to_owned(), at));
        assert_eq!(english, expected);
    }

    #[test]
    fn stems_are_snowball_s() {
        let analyser = Analyser::new(Analysis::default());
        let golden = include_str!("../../tests/golden/stems.tsv");
        assert_eq!(golden.lines().count(), 500);
        for line in golden.lines() {
            let (word, stem) = line.split_once('\t').unwrap();
            assert_eq!(analyser.stem(word), stem, "{word}");
        }
    }

    #[test]
    fn lone_letters_count_as_capitals_only() {
        let english = words("I see vitamin C in Smith's t", Analysis::default());
        let expected = [("see", 1), ("vitamin", 2), ("c", 3), ("smith", 5)];
        assert_eq!(english, expected.map(|(word, at)| (word.to_owned(), at)));
    }

    #[test]
    fn without_a_language_words_stay_as_they_are() {
        assert_eq!(plain("The cats"), ["the", "cats"]);
        let unstemmed = Analysis { language: None, stop_words: false, plain: false };
        assert_eq!(words("The cats", unstemmed).len(), 2);
    }

    #[test]
    fn every_language_has_its_own_stems_and_accents_count_to_them_only() {
        let stems = |language, text: &str| {
            let analysis = Analysis { language: Some(language), ..Analysis::default() };
            words(text, analysis).into_iter().map(|(word, _)| word).collect::<Vec<_>>()
        };
        assert_eq!(stems(Language::German, "Häuser haus HÄUSERN"), ["haus", "haus", "haus"]);
        assert_eq!(stems(Language::French, "continué continuer"), ["continu", "continu"]);
        assert_eq!(stems(Language::Russian, "новый новая новой"), ["нов", "нов", "нов"]);
        assert_eq!(stems(Language::Spanish, "canción canciones"), ["cancion", "cancion"]);
        for &language in Language::ALL {
            let name = serde_json::to_value(language).unwrap();
            assert_eq!(name, language.name());
            assert_eq!(stems(language, "xyzzy 42").len(), 2, "{name}");
        }
    }

    #[test]
    fn plain_words_are_runs_of_letters_and_nothing_is_left_out_of_questions() {
        let plain = Analysis { plain: true, ..Analysis::default() };
        let found = words("What's ERR_503 in getName(x), self.stream? naïve-é", plain);
        let expected = ["what", "err_503", "getnam", "self", "stream", "naiv"];
        let found: Vec<String> = found.into_iter().map(|(word, _)| word).collect();
        assert_eq!(found, expected);
        assert!(!Analyser::new(plain).asks("what") && Analyser::new(plain).is_plain());
    }

    #[test]
    fn letters_are_folded() {
        assert_eq!(
            plain("CAFÉ Ångström naïve ＡＢＣ ﬁn"),
            ["cafe", "angstrom", "naive", "abc", "fin"]
        );
        assert_eq!(plain("don’t 1,000"), ["don't", "1000"]);
        assert_eq!(plain("Straße ЁЛКА 東京"), ["straße", "елка", "東", "京"]);
    }

    #[test]
    fn compounds_are_read_in_parts() {
        assert_eq!(plain("ERR_503"), ["err", "503"]);
        assert_eq!(
            plain("HTTPServer utf8Decode getXMLNode"),
            ["http", "server", "utf8", "decode", "get", "xml", "node"]
        );
        assert_eq!(
            plain("self.stream.write --flag-name 1.2.3 a/b/c.rs"),
            ["self", "stream", "write", "flag", "name", "1", "2", "3", "a", "b", "c", "rs"]
        );
        assert_eq!(plain("SHA256 IDs __init__"), ["sha256", "i", "ds", "init"]);
        assert_eq!(plain("§ -- ... _ '"), [""; 0]);
    }
}
