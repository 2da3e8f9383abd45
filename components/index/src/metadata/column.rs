//! The values of one field, sorted, and the documents that have each.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::MetadataError;

/// The documents of each key, those of the first key first: what has neighbouring keys lies in one
/// piece.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Postings {
    /// Where each key's documents end.
    ends: Vec<u32>,
    /// Rising within a key.
    documents: Vec<u32>,
}

impl Postings {
    fn of(&self, keys: Range<usize>) -> &[u32] {
        let end = |key: usize| key.checked_sub(1).map_or(0, |key| self.ends[key] as usize);
        if keys.is_empty() { &[] } else { &self.documents[end(keys.start)..end(keys.end)] }
    }

    /// Adds a document to the last key.
    fn push(&mut self, document: u32) {
        if let Some(end) = self.ends.last_mut() {
            *end += 1;
            self.documents.push(document);
        }
    }

    fn push_key(&mut self) {
        self.ends.push(self.documents.len() as u32);
    }

    /// Whether they are of so many keys and documents.
    fn hold(&self, keys: usize, documents: u32) -> bool {
        let rising = |documents: &[u32]| documents.is_sorted_by(|a, b| a < b);
        self.ends.len() == keys
            && self.ends.is_sorted()
            && self.ends.last().copied().unwrap_or(0) as usize == self.documents.len()
            && self.documents.iter().all(|&document| document < documents)
            && (0..keys).all(|key| rising(self.of(key..key + 1)))
    }
}

/// Sorted keys of a fixed size.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Column<K> {
    keys: Vec<K>,
    postings: Postings,
}

impl<K> Default for Column<K> {
    fn default() -> Self {
        Column { keys: vec![], postings: Postings::default() }
    }
}

impl<K: Copy + PartialOrd> Column<K> {
    /// From each document's values, which can all be compared.
    pub(crate) fn new(mut pairs: Vec<(K, u32)>) -> Result<Column<K>, MetadataError> {
        u32::try_from(pairs.len()).map_err(|_| MetadataError::TooMuch)?;
        pairs.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        pairs.dedup();
        let mut column = Column::default();
        for (key, document) in pairs {
            if column.keys.last() != Some(&key) {
                column.keys.push(key);
                column.postings.push_key();
            }
            column.postings.push(document);
        }
        Ok(column)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The documents that have a key from the first that is not `before` to the last that is not
    /// `after`; one that has several such comes as often.
    pub(crate) fn between(&self, before: impl Fn(K) -> bool, after: impl Fn(K) -> bool) -> &[u32] {
        let start = self.keys.partition_point(|&key| before(key));
        let end = start + self.keys[start..].partition_point(|&key| !after(key));
        self.postings.of(start..end)
    }

    /// Each key with its documents.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &[u32])> {
        let documents = |key: usize| self.postings.of(key..key + 1);
        self.keys.iter().enumerate().map(move |(key, &value)| (value, documents(key)))
    }

    /// Whether it can have been made of so many documents.
    pub(crate) fn is_sound(&self, documents: u32) -> bool {
        self.keys.is_sorted_by(|a, b| a < b) && self.postings.hold(self.keys.len(), documents)
    }
}

/// Sorted texts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Texts {
    /// All texts, one behind the other.
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
    postings: Postings,
}

impl Texts {
    /// From each document's texts.
    pub(crate) fn new(mut pairs: Vec<(String, u32)>) -> Result<Texts, MetadataError> {
        let bytes: usize = pairs.iter().map(|(text, _)| text.len()).sum();
        u32::try_from(pairs.len().max(bytes)).map_err(|_| MetadataError::TooMuch)?;
        pairs.sort_unstable();
        pairs.dedup();
        let mut texts = Texts::default();
        for (text, document) in pairs {
            if texts.is_empty() || texts.get(texts.len() - 1) != text {
                texts.text.push_str(&text);
                texts.ends.push(texts.text.len() as u32);
                texts.postings.push_key();
            }
            texts.postings.push(document);
        }
        Ok(texts)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, key: usize) -> &str {
        let start = key.checked_sub(1).map_or(0, |key| self.ends[key] as usize);
        &self.text[start..self.ends[key] as usize]
    }

    /// The documents of some neighbouring texts.
    pub(crate) fn documents(&self, keys: Range<usize>) -> &[u32] {
        self.postings.of(keys)
    }

    /// How many texts, the first ones, are `before`.
    fn partition_point(&self, before: impl Fn(&str) -> bool) -> usize {
        let mut range = 0..self.len();
        while !range.is_empty() {
            let middle = range.start.midpoint(range.end);
            match before(self.get(middle)) {
                true => range.start = middle + 1,
                false => range.end = middle,
            }
        }
        range.start
    }

    /// The documents that have a text from the first that is not `before` to the last that is not
    /// `after`; one that has several such comes as often.
    pub(crate) fn between(
        &self,
        before: impl Fn(&str) -> bool,
        after: impl Fn(&str) -> bool,
    ) -> &[u32] {
        let start = self.partition_point(before);
        self.documents(start..self.partition_point(|text| !after(text)).max(start))
    }

    /// Those that begin with `prefix`.
    pub(crate) fn starting_with(&self, prefix: &str) -> Range<usize> {
        let start = self.partition_point(|text| text < prefix);
        start..self.partition_point(|text| text < prefix || text.starts_with(prefix))
    }

    /// Whether they can have been made of so many documents.
    pub(crate) fn is_sound(&self, documents: u32) -> bool {
        let within = |&end: &u32| self.text.is_char_boundary(end as usize);
        self.ends.is_sorted()
            && self.ends.iter().all(within)
            && self.ends.last().copied().unwrap_or(0) as usize == self.text.len()
            && (1..self.len()).all(|key| self.get(key - 1) < self.get(key))
            && self.postings.hold(self.len(), documents)
    }
}
