//! The inverted index: from each term to the passages that hold it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::analyse::{Analyser, Analysis};
use super::build::Builder;
use super::forms::{Forms, Near};
use super::language::Language;
use super::postings::{Entry, List};

/// Stands before a code in the dictionary; no word has it.
pub(super) const CODE: char = '\u{1}';

/// What is indexed of a passage, as plain text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// The document's title; may be empty.
    pub title: &'a str,
    /// The headings above the passage.
    pub headings: &'a [String],
    /// The passage itself.
    pub text: &'a str,
}

/// How often a word counts that stands once in a field. With all of them 1 the ranking is plain
/// BM25 over the fields joined; otherwise frequencies and lengths are weighted, as in Robertson,
/// Zaragoza and Taylor (2004), "Simple BM25 extension to multiple weighted fields".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// In the title.
    pub title: u8,
    /// In a heading.
    pub headings: u8,
    /// In the text.
    pub text: u8,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { title: 2, headings: 2, text: 1 }
    }
}

/// How an index is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LexicalOptions {
    /// How text becomes words.
    pub analysis: Analysis,
    /// How much each field counts.
    pub weights: Weights,
}

impl LexicalOptions {
    /// What is best for documents in a language; with `None` for those in several, or in others than
    /// are known.
    pub fn of(language: Option<Language>) -> LexicalOptions {
        let analysis = Analysis { language, ..Analysis::default() };
        LexicalOptions { analysis, weights: Weights::default() }
    }

    /// Plain BM25 over title, headings and text as one, to compare with other engines'.
    pub fn plain(language: Option<Language>) -> LexicalOptions {
        LexicalOptions {
            analysis: Analysis { language, plain: true, ..Analysis::default() },
            weights: Weights { title: 1, headings: 1, text: 1 },
        }
    }
}

/// What is wrong with passages or bytes that should be an index.
#[derive(Debug, thiserror::Error)]
pub enum LexicalError {
    /// The bytes cannot be read as an index of this version.
    #[error("not a lexical index of this version: {0}")]
    Decode(#[from] postcard::Error),
    /// They can be read but contradict themselves.
    #[error("the lexical index is damaged: {0}")]
    Damaged(&'static str),
    /// 2^31 passages or more, or 4 GiB of terms, postings or positions.
    #[error("too much text for one lexical index")]
    TooLarge,
}

/// Words, codes and where they stand: see the [module](crate::lexical).
pub struct Inverted {
    pub(super) options: LexicalOptions,
    analyser: Analyser,
    /// Weighted number of words in each passage.
    pub(super) lengths: Vec<u32>,
    /// The sum of them.
    words: u64,
    /// The terms' names, one after another, in the order of their bytes.
    pub(super) dictionary: String,
    pub(super) terms: Vec<Term>,
    pub(super) postings: Vec<u8>,
    pub(super) positions: Vec<u8>,
    entries: Vec<Entry>,
    pub(super) forms: Forms,
}

/// Where a term's parts lie.
#[derive(Clone, Default)]
pub(super) struct Term {
    pub(super) passages: u32,
    pub(super) name: Range<u32>,
    pub(super) postings: Range<u32>,
    pub(super) positions: Range<u32>,
    entries: Range<u32>,
}

/// The lists, before they are checked.
pub(super) struct Stored {
    pub(super) options: LexicalOptions,
    pub(super) lengths: Vec<u32>,
    pub(super) dictionary: String,
    pub(super) terms: Vec<Sizes>,
    pub(super) postings: Vec<u8>,
    pub(super) positions: Vec<u8>,
    pub(super) forms: Vec<u8>,
}

/// In how many passages a term stands, and how many bytes its parts have.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) passages: u32,
    pub(super) name: u32,
    pub(super) postings: u32,
    pub(super) positions: u32,
}

impl Inverted {
    /// Indexes `passages`; a passage's number is its place among them.
    ///
    /// # Errors
    /// [`LexicalError::TooLarge`].
    pub fn build<'a>(
        passages: impl IntoIterator<Item = Fields<'a>>,
        options: LexicalOptions,
    ) -> Result<Inverted, LexicalError> {
        let mut builder = Inverted::builder(options);
        for fields in passages {
            builder.add(fields)?;
        }
        builder.finish()
    }

    /// An index that grows passage by passage.
    pub fn builder(options: LexicalOptions) -> Builder {
        Builder::new(options)
    }

    /// About the bytes of memory that it takes.
    pub fn bytes(&self) -> u64 {
        let entries =
            self.entries.len() * size_of::<Entry>() + self.terms.len() * size_of::<Term>();
        let lists = [self.postings.len(), self.positions.len(), self.dictionary.len()];
        let others = 4 * self.lengths.len() + self.forms.as_bytes().len();
        (lists.into_iter().sum::<usize>() + others + entries) as u64
    }

    /// Takes the lists over.
    pub(super) fn open(stored: Stored) -> Result<Inverted, LexicalError> {
        let longest = [stored.dictionary.len(), stored.postings.len(), stored.positions.len()];
        if stored.lengths.len() >= 1 << 31 || longest.iter().any(|&n| u32::try_from(n).is_err()) {
            return Err(LexicalError::TooLarge);
        }
        let mut terms = Vec::with_capacity(stored.terms.len());
        // An entry point stands for 128 postings, which have a byte each at least.
        let mut entries = Vec::with_capacity(stored.postings.len() / 128);
        let mut end = Term::default();
        for sizes in &stored.terms {
            let term = end.next(sizes).ok_or(LexicalError::Damaged("its sizes overflow"))?;
            check(&stored, &end.name, &term, &mut entries)?;
            end = Term { entries: end.entries.end..entries.len() as u32, ..term };
            terms.push(end.clone());
        }
        if longest != [end.name.end, end.postings.end, end.positions.end].map(|n| n as usize) {
            return Err(LexicalError::Damaged("its lists are longer than its terms"));
        }
        Ok(Inverted {
            options: stored.options,
            analyser: Analyser::new(stored.options.analysis),
            words: stored.lengths.iter().map(|&length| u64::from(length)).sum(),
            lengths: stored.lengths,
            dictionary: stored.dictionary,
            terms,
            postings: stored.postings,
            positions: stored.positions,
            entries,
            forms: Forms::from_bytes(stored.forms)
                .ok_or(LexicalError::Damaged("its words are not in order"))?,
        })
    }

    /// Number of passages.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether it has no passages.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// How it was built.
    pub fn options(&self) -> LexicalOptions {
        self.options
    }

    /// Whether a passage has `word`, in whatever form, or words like it are not looked for.
    pub fn knows(&self, word: &str) -> bool {
        let word = self.analyser.fold(word);
        self.analyser.stops(&word)
            || self.analyser.asks(&word)
            || self.term(&self.analyser.stem(&word)).is_some()
            || self.term(&format!("{CODE}{word}")).is_some()
    }

    /// The word that is nearest to `word`, folded, not farther than `most` slips of the pen, of those
    /// that `accept` takes by their letters and distance: the most frequent of the equally near.
    pub fn nearest(
        &self,
        word: &str,
        most: usize,
        accept: impl Fn(&[char], usize) -> bool,
    ) -> Option<Near> {
        self.forms.nearest(word, most, accept)
    }

    pub(super) fn analyser(&self) -> &Analyser {
        &self.analyser
    }

    /// Weighted number of words in each passage.
    pub(super) fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// The sum of [`Inverted::lengths`].
    pub(super) fn words(&self) -> u64 {
        self.words
    }

    /// The number of the term with this name.
    pub(super) fn term(&self, name: &str) -> Option<u32> {
        let order = |term: &Term| self.dictionary[range(&term.name)].cmp(name);
        self.terms.binary_search_by(order).ok().map(|term| term as u32)
    }

    /// A term's posting list.
    pub(super) fn list(&self, term: u32) -> List<'_> {
        let term = &self.terms[term as usize];
        List {
            postings: &self.postings[range(&term.postings)],
            positions: &self.positions[range(&term.positions)],
            entries: &self.entries[range(&term.entries)],
            count: term.passages,
        }
    }
}

impl Term {
    /// The term that follows, without its entries; `None` where numbers overflow.
    fn next(&self, sizes: &Sizes) -> Option<Term> {
        let after = |range: &Range<u32>, size| Some(range.end..range.end.checked_add(size)?);
        Some(Term {
            passages: sizes.passages,
            name: after(&self.name, sizes.name)?,
            postings: after(&self.postings, sizes.postings)?,
            positions: after(&self.positions, sizes.positions)?,
            entries: 0..0,
        })
    }
}

/// Checks that a term's name follows the one before it, and all of its list, so that searching
/// needs no more checks. Appends the list's entry points, which are not stored.
fn check(
    stored: &Stored,
    before: &Range<u32>,
    term: &Term,
    entries: &mut Vec<Entry>,
) -> Result<(), LexicalError> {
    let name = |of: &Range<u32>| stored.dictionary.get(range(of));
    match (name(before), name(&term.name)) {
        (Some(before), Some(name)) if before < name => {}
        _ => return Err(LexicalError::Damaged("its terms are not in order")),
    }
    let list = || {
        let postings = stored.postings.get(range(&term.postings))?;
        let positions = stored.positions.get(range(&term.positions))?;
        Some(List { postings, positions, entries: &[], count: term.passages })
    };
    list()
        .and_then(|list| list.check(stored.lengths.len() as u32, entries))
        .ok_or(LexicalError::Damaged("a posting list does not add up"))
}

fn range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}
