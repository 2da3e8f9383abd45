//! Passages to an inverted index.

use std::collections::HashMap;

use super::analyse::Analyser;
use super::codes::codes;
use super::forms::Forms;
use super::inverted::{CODE, Fields, Inverted, LexicalError, LexicalOptions, Sizes, Stored};
use super::postings::Writer;

/// Positions between two fields, so that no phrase runs from one into the next.
const FIELD_GAP: u32 = 100;

/// An index in the making; its lists are compressed from the start.
pub struct Builder {
    options: LexicalOptions,
    analyser: Analyser,
    lengths: Vec<u32>,
    words: Lists,
    codes: Lists,
    /// How often each word occurs, as it is written.
    forms: HashMap<String, u32>,
}

/// Terms and their lists.
#[derive(Default)]
struct Lists {
    numbers: HashMap<String, u32>,
    lists: Vec<Writer>,
    /// The terms of the passage that is being read, with their positions.
    passage: Vec<(u32, u32)>,
}

impl Builder {
    pub(super) fn new(options: LexicalOptions) -> Builder {
        Builder {
            options,
            analyser: Analyser::new(options.analysis),
            lengths: Vec::new(),
            words: Lists::default(),
            codes: Lists::default(),
            forms: HashMap::new(),
        }
    }

    /// Adds the next passage.
    ///
    /// # Errors
    /// [`LexicalError::TooLarge`].
    pub fn add(&mut self, fields: Fields) -> Result<(), LexicalError> {
        let passage = self.lengths.len() as u32;
        if passage >= 1 << 31 {
            return Err(LexicalError::TooLarge);
        }
        let weights = self.options.weights;
        let titles = std::iter::once((fields.title, weights.title));
        let headings = fields.headings.iter().map(|heading| (heading.as_str(), weights.headings));
        let mut start = 0;
        for (text, weight) in titles.chain(headings).chain([(fields.text, weights.text)]) {
            let words = self.analyser.words(text, |word, at, _| {
                count(&mut self.forms, word);
                self.words.add(&self.analyser.stem(word), start + at, weight);
            });
            if !self.analyser.is_plain() {
                codes(text, |code, _| self.codes.add(code, 0, weight));
            }
            start += words + FIELD_GAP;
        }
        self.lengths.push(self.words.passage.len() as u32);
        self.words.end(passage, Writer::push);
        self.codes.end(passage, |list, passage, positions| {
            list.push_frequency(passage, positions.len() as u32);
        });
        Ok(())
    }

    /// The index of what was added.
    ///
    /// # Errors
    /// [`LexicalError::TooLarge`].
    pub fn finish(self) -> Result<Inverted, LexicalError> {
        let codes = self.codes.into_terms().map(|(code, list)| (format!("{CODE}{code}"), list));
        let mut terms: Vec<(String, Writer)> = codes.chain(self.words.into_terms()).collect();
        terms.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let (mut dictionary, mut sizes) = (String::new(), Vec::with_capacity(terms.len()));
        let whole =
            |bytes: fn(&Writer) -> &[u8]| terms.iter().map(|(_, list)| bytes(list).len()).sum();
        let mut postings = Vec::with_capacity(whole(|list| &list.postings));
        let mut positions = Vec::with_capacity(whole(|list| &list.positions));
        for (name, list) in terms {
            sizes.push(Sizes {
                passages: list.count,
                name: size(name.len())?,
                postings: size(list.postings.len())?,
                positions: size(list.positions.len())?,
            });
            dictionary.push_str(&name);
            postings.extend_from_slice(&list.postings);
            positions.extend_from_slice(&list.positions);
        }
        Inverted::open(Stored {
            options: self.options,
            lengths: self.lengths,
            dictionary,
            terms: sizes,
            postings,
            positions,
            forms: Forms::build(self.forms).into_bytes(),
        })
    }
}

impl Lists {
    /// Notes that the passage has `term`, as if it stood there `weight` times.
    fn add(&mut self, term: &str, position: u32, weight: u8) {
        let number = match self.numbers.get(term) {
            Some(&number) => number,
            None => {
                let number = self.lists.len() as u32;
                self.numbers.insert(term.to_owned(), number);
                self.lists.push(Writer::default());
                number
            }
        };
        self.passage.extend(std::iter::repeat_n((number, position), weight.into()));
    }

    /// Ends the passage: one posting for each of its terms.
    fn end(&mut self, passage: u32, push: impl Fn(&mut Writer, u32, &[u32])) {
        self.passage.sort_unstable();
        let mut positions = Vec::new();
        for term in self.passage.chunk_by(|a, b| a.0 == b.0) {
            positions.clear();
            positions.extend(term.iter().map(|&(_, position)| position));
            push(&mut self.lists[term[0].0 as usize], passage, &positions);
        }
        self.passage.clear();
    }

    fn into_terms(self) -> impl Iterator<Item = (String, Writer)> {
        let mut lists = self.lists;
        self.numbers
            .into_iter()
            .map(move |(name, number)| (name, std::mem::take(&mut lists[number as usize])))
    }
}

fn count(forms: &mut HashMap<String, u32>, word: &str) {
    match forms.get_mut(word) {
        Some(count) => *count = count.saturating_add(1),
        None if Forms::keeps(word) => drop(forms.insert(word.to_owned(), 1)),
        None => {}
    }
}

fn size(bytes: usize) -> Result<u32, LexicalError> {
    u32::try_from(bytes).map_err(|_| LexicalError::TooLarge)
}
