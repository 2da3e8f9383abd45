//! A query: what is looked for, and how much each find is worth.

use super::analyse::fold;
use super::codes::codes;
use super::inverted::{CODE, Inverted};
use super::phrase;
use super::postings::{Entry, List, Writer};
use crate::fusion::QueryStats;

/// What a code counts, in words as rare as it is: nothing else is so surely meant.
const CODE_WEIGHT: f32 = 2.0;

/// What a compound counts that may be no more than its words: `well-known`, or `youtube` for `YouTube`.
const COMPOUND_WEIGHT: f32 = 0.5;

/// A query made ready for an index. Terms that the index does not know are left out.
pub struct Query<'a> {
    pub(super) index: &'a Inverted,
    pub(super) clauses: Vec<Clause>,
    phrases: Vec<Phrase>,
}

/// One thing looked for.
#[derive(Clone, Copy)]
pub(super) struct Clause {
    source: Source,
    /// The inverse document frequency, times what its kind counts, as often as it is asked for.
    pub(super) weight: f32,
    /// Whether it counts for less in a long passage: not what is rare and exact.
    pub(super) normalised: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Term(u32),
    Phrase(usize),
}

/// The passages that hold a phrase.
struct Phrase {
    found: Writer,
    entries: Vec<Entry>,
}

impl Inverted {
    /// Reads a query: words, codes, and phrases between quotation marks. A passage need not have
    /// all of them; it ranks by what it has.
    pub fn query(&self, text: &str) -> Query<'_> {
        let mut query = Query { index: self, clauses: Vec::new(), phrases: Vec::new() };
        query.add_words(text, |word| !self.analyser().asks(word));
        query.add_codes(text);
        text.split(['"', '“', '”', '„'])
            .skip(1)
            .step_by(2)
            .for_each(|quoted| query.add_phrase(quoted));
        if query.is_empty() {
            query.add_words(text, |_| true);
        }
        query
    }
}

impl<'a> Query<'a> {
    /// Whether nothing of it is in the index: then no passage is found.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// What fusing its scores with others must know of it.
    pub fn stats(&self) -> QueryStats {
        QueryStats { words: self.clauses.iter().filter(|clause| clause.normalised).count() }
    }

    /// The list of a clause.
    pub(super) fn list(&self, clause: &Clause) -> List<'_> {
        match clause.source {
            Source::Term(term) => self.index.list(term),
            Source::Phrase(number) => self.phrases[number].list(),
        }
    }

    fn add_words(&mut self, text: &str, wanted: impl Fn(&str) -> bool) {
        let analyser = self.index.analyser();
        analyser.words(text, |word, _| {
            if wanted(word) {
                self.add_word(&analyser.stem(word));
            }
        });
    }

    fn add_codes(&mut self, text: &str) {
        let analyser = self.index.analyser();
        codes(text, |code| {
            let letters = code.chars().all(|c| c.is_alphabetic() || c == '-');
            let compound = letters && code.contains('-') && !code.starts_with('-');
            self.add_code(code, if compound { COMPOUND_WEIGHT } else { CODE_WEIGHT });
            // What is camelCase here may be one word there, and the other way round.
            self.add_word(&analyser.stem(code));
        });
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            self.add_code(&fold(word), COMPOUND_WEIGHT);
        }
    }

    /// A word counts as often as the query says it.
    fn add_word(&mut self, word: &str) {
        let Some(term) = self.index.term(word) else { return };
        let (source, weight) = (Source::Term(term), self.idf(self.index.list(term).count));
        match self.clauses.iter_mut().find(|clause| clause.source == source) {
            Some(clause) => clause.weight += weight,
            None => self.clauses.push(Clause { source, weight, normalised: true }),
        }
    }

    /// A code counts once.
    fn add_code(&mut self, code: &str, weight: f32) {
        let Some(term) = self.index.term(&format!("{CODE}{code}")) else { return };
        let source = Source::Term(term);
        if self.clauses.iter().all(|clause| clause.source != source) {
            let weight = weight * self.idf(self.index.list(term).count);
            self.clauses.push(Clause { source, weight, normalised: false });
        }
    }

    fn add_phrase(&mut self, text: &str) {
        let analyser = self.index.analyser();
        let mut words = Vec::new();
        analyser
            .words(text, |word, place| words.push((self.index.term(&analyser.stem(word)), place)));
        let lists = words.iter().map(|&(term, place)| Some((self.index.list(term?), place)));
        let Some(lists) = lists.collect::<Option<Vec<_>>>().filter(|lists| lists.len() > 1) else {
            return;
        };
        let mut phrase = Phrase { found: phrase::matches(&lists), entries: Vec::new() };
        let mut entries = Vec::new();
        if phrase.list().check(self.index.len() as u32, &mut entries).is_none() {
            return;
        }
        phrase.entries = entries;
        let (source, weight) = (Source::Phrase(self.phrases.len()), self.idf(phrase.found.count));
        self.phrases.push(phrase);
        self.clauses.push(Clause { source, weight, normalised: false });
    }

    /// Lucene's inverse document frequency: never negative.
    fn idf(&self, with_term: u32) -> f32 {
        let (passages, with_term) = (self.index.len() as f64, f64::from(with_term));
        ((passages - with_term + 0.5) / (with_term + 0.5)).ln_1p() as f32
    }
}

impl Phrase {
    fn list(&self) -> List<'_> {
        List {
            postings: &self.found.postings,
            positions: &[],
            entries: &self.entries,
            count: self.found.count,
        }
    }
}
