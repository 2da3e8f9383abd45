//! A query: what is looked for, and how much each find is worth.

use super::analyse::{Analyser, fold};
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
    /// Of all passages that it is asked about, in whatever index.
    pub(super) mean_length: f32,
    stats: QueryStats,
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

#[derive(Clone, Copy)]
enum Source {
    Term(u32),
    Phrase(usize),
}

/// The passages that hold a phrase.
struct Phrase {
    found: Writer,
    entries: Vec<Entry>,
}

/// What a text asks for, whatever an index knows of it.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) terms: Vec<Term>,
    /// Words and their places, stop words counted.
    pub(super) phrases: Vec<Vec<(String, u32)>>,
}

/// A word or a code.
pub(super) struct Term {
    /// As the dictionary has it.
    pub(super) name: String,
    weight: f32,
    normalised: bool,
}

impl Inverted {
    /// Reads a query: words, codes, and phrases between quotation marks. A passage need not have
    /// all of them; it ranks by what it has.
    pub fn query(&self, text: &str) -> Query<'_> {
        Query::over([self], text).remove(0)
    }
}

impl<'a> Query<'a> {
    /// The same for several indexes, which were built with equal options: their statistics are
    /// added up, so that passages score as if all were in one. A query for each comes back.
    pub fn over(indexes: impl AsRef<[&'a Inverted]>, text: &str) -> Vec<Query<'a>> {
        let indexes = indexes.as_ref();
        let passages: usize = indexes.iter().map(|index| index.len()).sum();
        let words: u64 = indexes.iter().map(|index| index.words()).sum();
        let mean_length = if words == 0 { 1.0 } else { (words as f64 / passages as f64) as f32 };
        let empty = |index| Query {
            index,
            clauses: vec![],
            phrases: vec![],
            mean_length,
            stats: QueryStats::default(),
        };
        let mut queries: Vec<Query> = indexes.iter().copied().map(empty).collect();
        let Some(first) = indexes.first() else { return queries };
        let wanted = Wanted::read(text, first.analyser());
        if !look_up(&mut queries, &wanted, passages) {
            look_up(&mut queries, &Wanted::words(text, first.analyser(), |_| true), passages);
        }
        queries
    }

    /// Whether nothing of it is in the index: then no passage is found.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// What fusing its scores with others must know of it.
    pub fn stats(&self) -> QueryStats {
        self.stats
    }

    /// The list of a clause.
    pub(super) fn list(&self, clause: &Clause) -> List<'_> {
        match clause.source {
            Source::Term(term) => self.index.list(term),
            Source::Phrase(number) => self.phrases[number].list(),
        }
    }
}

/// Adds to the queries what their indexes know of `wanted`; returns whether that is anything.
fn look_up(queries: &mut [Query], wanted: &Wanted, passages: usize) -> bool {
    let mut words = 0;
    for term in &wanted.terms {
        let found: Vec<_> = queries.iter().map(|query| query.index.term(&term.name)).collect();
        let with_term = |(query, found): (&Query, &Option<u32>)| {
            found.map_or(0, |found| query.index.list(found).count)
        };
        let count = queries.iter().zip(&found).map(with_term).sum();
        let weight = term.weight * idf(passages, count);
        for (query, found) in queries.iter_mut().zip(found) {
            let normalised = term.normalised;
            query.clauses.extend(found.map(|found| {
                Clause { source: Source::Term(found), weight, normalised } //
            }));
        }
        words += usize::from(term.normalised && count > 0);
    }
    for phrase in &wanted.phrases {
        let found: Vec<_> = queries.iter().map(|query| Phrase::find(query.index, phrase)).collect();
        let weight = idf(passages, found.iter().flatten().map(|found| found.found.count).sum());
        for (query, found) in queries.iter_mut().zip(found) {
            let Some(found) = found else { continue };
            let source = Source::Phrase(query.phrases.len());
            query.phrases.push(found);
            query.clauses.push(Clause { source, weight, normalised: false });
        }
    }
    queries.iter_mut().for_each(|query| query.stats = QueryStats { words });
    queries.iter().any(|query| !query.is_empty())
}

/// Lucene's inverse document frequency: never negative.
fn idf(passages: usize, with_term: u32) -> f32 {
    let (passages, with_term) = (passages as f64, f64::from(with_term));
    ((passages - with_term + 0.5) / (with_term + 0.5)).ln_1p() as f32
}

impl Wanted {
    /// Reads a query, without the words that only ask.
    pub(super) fn read(text: &str, analyser: &Analyser) -> Wanted {
        let mut wanted = Wanted::words(text, analyser, |word| !analyser.asks(word));
        if analyser.is_plain() {
            return wanted;
        }
        wanted.add_codes(text, analyser);
        let quoted = text.split(['"', '“', '”', '„']).skip(1).step_by(2);
        quoted.for_each(|quoted| wanted.add_phrase(quoted, analyser));
        wanted
    }

    /// Reads a query's words.
    fn words(text: &str, analyser: &Analyser, wanted: impl Fn(&str) -> bool) -> Wanted {
        let mut words = Wanted::default();
        analyser.words(text, |word, _, _| {
            if wanted(word) {
                words.add_word(&analyser.stem(word));
            }
        });
        words
    }

    fn add_codes(&mut self, text: &str, analyser: &Analyser) {
        codes(text, |code, _| {
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
        match self.terms.iter_mut().find(|term| term.name == word) {
            Some(term) => term.weight += 1.0,
            None => {
                self.terms.push(Term { name: word.to_owned(), weight: 1.0, normalised: true });
            }
        }
    }

    /// A code counts once.
    fn add_code(&mut self, code: &str, weight: f32) {
        let name = format!("{CODE}{code}");
        if self.terms.iter().all(|term| term.name != name) {
            self.terms.push(Term { name, weight, normalised: false });
        }
    }

    fn add_phrase(&mut self, text: &str, analyser: &Analyser) {
        let mut words = Vec::new();
        analyser
            .words(text, |word, place, _| words.push((analyser.stem(word).into_owned(), place)));
        if words.len() > 1 {
            self.phrases.push(words);
        }
    }
}

impl Phrase {
    /// None where no passage of the index has it.
    fn find(index: &Inverted, words: &[(String, u32)]) -> Option<Phrase> {
        let lists = words.iter().map(|(word, place)| Some((index.list(index.term(word)?), *place)));
        let mut phrase =
            Phrase { found: phrase::matches(&lists.collect::<Option<Vec<_>>>()?), entries: vec![] };
        let mut entries = Vec::new();
        phrase.list().check(index.len() as u32, &mut entries)?;
        phrase.entries = entries;
        (phrase.found.count > 0).then_some(phrase)
    }

    fn list(&self) -> List<'_> {
        List {
            postings: &self.found.postings,
            positions: &[],
            entries: &self.entries,
            count: self.found.count,
        }
    }
}
