//! A query: what is looked for, and how much each find is worth.

use super::analyse::fold;
use super::codes::codes;
use super::inverted::{CODE, Inverted};
use super::phrase;
use super::postings::{Entry, List, Writer};

/// A query made ready for one index. Terms that the index does not know are left out.
#[derive(Debug)]
pub struct Query {
    pub(super) clauses: Vec<Clause>,
    phrases: Vec<Phrase>,
}

/// One thing looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clause {
    source: Source,
    /// The inverse document frequency, as often as the query says it.
    pub(super) weight: f32,
    /// Whether long passages count for less: not where what is found is rare and exact.
    pub(super) normalised: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Term(u32),
    Phrase(usize),
}

/// The passages that hold a phrase.
#[derive(Debug)]
struct Phrase {
    found: Writer,
    entries: Vec<Entry>,
}

impl Inverted {
    /// Reads a query: words and codes, and phrases between quotation marks. Passages need not have
    /// all of them; they rank by what they have.
    pub fn query(&self, text: &str) -> Query {
        let mut query = Query { clauses: Vec::new(), phrases: Vec::new() };
        self.analyser().words(text, |word, _| query.add_term(self, word, true));
        codes(text, |code| {
            query.add_term(self, &format!("{CODE}{code}"), false);
            // What is camelCase here may be one word there.
            query.add_term(self, &self.analyser().stem(code), true);
        });
        // And what is one word here may be camelCase there.
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            query.add_term(self, &format!("{CODE}{}", fold(word)), false);
        }
        for quoted in quoted(text) {
            query.add_phrase(self, quoted);
        }
        query
    }
}

impl Query {
    /// Whether nothing of it is in the index: then no passage is found.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// The list of a clause.
    pub(super) fn list<'a>(&'a self, index: &'a Inverted, clause: &Clause) -> List<'a> {
        match clause.source {
            Source::Term(term) => index.list(term),
            Source::Phrase(number) => {
                let Phrase { found, entries } = &self.phrases[number];
                List { postings: &found.postings, positions: &[], entries, count: found.count }
            }
        }
    }

    fn add_term(&mut self, index: &Inverted, name: &str, normalised: bool) {
        let Some(term) = index.term(name) else { return };
        let weight = idf(index.len(), index.list(term).count);
        let source = Source::Term(term);
        match self.clauses.iter_mut().find(|clause| clause.source == source) {
            Some(clause) if normalised => clause.weight += weight,
            Some(_) => {}
            None => self.clauses.push(Clause { source, weight, normalised }),
        }
    }

    fn add_phrase(&mut self, index: &Inverted, text: &str) {
        let mut words = Some(Vec::new());
        index.analyser().words(text, |word, place| match (index.term(word), &mut words) {
            (Some(term), Some(words)) => words.push((index.list(term), place)),
            _ => words = None,
        });
        let words = words.unwrap_or_default();
        if words.len() < 2 {
            return;
        }
        let found = phrase::matches(&words);
        let mut entries = Vec::new();
        let list =
            List { postings: &found.postings, positions: &[], entries: &[], count: found.count };
        if found.count == 0 || list.check(index.len() as u32, &mut entries).is_none() {
            return;
        }
        let weight = idf(index.len(), found.count);
        let source = Source::Phrase(self.phrases.len());
        self.clauses.push(Clause { source, weight, normalised: false });
        self.phrases.push(Phrase { found, entries });
    }
}

/// What stands between quotation marks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let mut pieces = text.split(['"', '“', '”', '„']);
    std::iter::from_fn(move || {
        pieces.next()?;
        pieces.next()
    })
}

/// Lucene's inverse document frequency: never negative.
pub(super) fn idf(passages: usize, with_term: u32) -> f32 {
    let (n, df) = (passages as f64, f64::from(with_term));
    ((n - df + 0.5) / (df + 0.5)).ln_1p() as f32
}
