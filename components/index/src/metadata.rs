//! What is known about documents beside their text: the fields that filters ask about.

mod column;
mod value;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub(crate) use column::{Column, Texts};
pub use value::{Date, Fields, Value};

/// Of what [`Metadata::to_bytes`] writes.
const VERSION: u8 = 1;

/// Why documents' fields cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// More than 2^32 values, bytes of text, passages or documents.
    #[error("the documents' fields are too many for one index")]
    TooMuch,
    /// The bytes are no metadata of this version.
    #[error("the bytes of the documents' fields cannot be read: {0}")]
    Bytes(&'static str),
}

/// The fields of all documents, a column each, and the passages of each document.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// Where each document's passages end; the next one's begin there.
    ends: Vec<u32>,
    fields: BTreeMap<String, Field>,
    /// Whether each document is one passage, so that their numbers are the same.
    #[serde(skip)]
    documents_are_passages: bool,
}

/// One field's values, by their kinds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Field {
    pub(crate) texts: Texts,
    pub(crate) numbers: Column<f64>,
    pub(crate) dates: Column<i64>,
    pub(crate) booleans: Column<bool>,
}

/// A field's values with their documents, not yet sorted.
#[derive(Default)]
struct Gathered {
    texts: Vec<(String, u32)>,
    numbers: Vec<(f64, u32)>,
    dates: Vec<(i64, u32)>,
    booleans: Vec<(bool, u32)>,
}

impl Metadata {
    /// From each document's fields and how many passages it has, in the order of the passages.
    pub fn build(
        documents: impl IntoIterator<Item = (Fields, u32)>,
    ) -> Result<Metadata, MetadataError> {
        let mut ends = vec![];
        let mut end = 0u32;
        let mut gathered: BTreeMap<String, Gathered> = BTreeMap::new();
        for (document, (fields, passages)) in documents.into_iter().enumerate() {
            let document = u32::try_from(document).map_err(|_| MetadataError::TooMuch)?;
            end = end.checked_add(passages).ok_or(MetadataError::TooMuch)?;
            ends.push(end);
            for (name, values) in fields {
                let field = gathered.entry(name).or_default();
                values.into_iter().for_each(|value| field.push(value, document));
            }
        }
        let fields = gathered.into_iter().map(|(name, field)| Ok((name, field.sorted()?)));
        Ok(Metadata::new(ends, fields.collect::<Result<_, _>>()?))
    }

    /// Reads what [`Metadata::to_bytes`] wrote. Nothing is believed before it is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Metadata, MetadataError> {
        let (version, bytes) = bytes.split_first().ok_or(MetadataError::Bytes("there are none"))?;
        if *version != VERSION {
            return Err(MetadataError::Bytes("they were written by another version of trine"));
        }
        let read = postcard::take_from_bytes::<Metadata>(bytes);
        let (metadata, rest) =
            read.map_err(|_| MetadataError::Bytes("they end too early, or a text is no UTF-8"))?;
        let documents = metadata.documents();
        let sound = rest.is_empty()
            && metadata.ends.is_sorted()
            && metadata.fields.values().all(|field| field.is_sound(documents));
        match sound {
            true => Ok(Metadata::new(metadata.ends, metadata.fields)),
            false => Err(MetadataError::Bytes("a number is out of range")),
        }
    }

    fn new(ends: Vec<u32>, fields: BTreeMap<String, Field>) -> Metadata {
        let documents_are_passages = (1..).zip(&ends).all(|(number, &end)| number == end);
        Metadata { ends, fields, documents_are_passages }
    }

    /// The fields as bytes, the same on every target.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing numbers and texts to memory cannot fail.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Number of documents.
    pub fn documents(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Number of passages of all documents.
    pub fn passages(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The document that `passage` is of; one past the last for a passage that there is not.
    pub fn document_of(&self, passage: u32) -> u32 {
        self.ends.partition_point(|&end| end <= passage) as u32
    }

    /// The passages of `document`; none for a document that there is not.
    pub fn passages_of(&self, document: u32) -> Range<u32> {
        let end = |document: usize| self.ends.get(document).copied();
        let start = (document as usize).checked_sub(1).map_or(Some(0), end);
        start.zip(end(document as usize)).map_or(0..0, |(start, end)| start..end)
    }

    /// The fields of each document, as they were given but for the order of a field's values, and
    /// without those that are there twice.
    pub fn to_fields(&self) -> Vec<Fields> {
        let mut documents = vec![Fields::new(); self.ends.len()];
        for (name, field) in &self.fields {
            field.for_each(&mut |document, value| {
                documents[document as usize].entry(name.clone()).or_default().push(value);
            });
        }
        documents
    }

    /// Whether each document is one passage, so that their numbers are the same.
    pub(crate) fn documents_are_passages(&self) -> bool {
        self.documents_are_passages
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }

    /// The names of all fields, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

impl Gathered {
    fn push(&mut self, value: Value, document: u32) {
        match value {
            Value::Text(text) => self.texts.push((text, document)),
            // Plus zero makes of a negative zero a positive one: they are equal.
            Value::Number(number) if !number.is_nan() => {
                self.numbers.push((number + 0.0, document))
            }
            Value::Number(_) => {}
            Value::Boolean(boolean) => self.booleans.push((boolean, document)),
            Value::Date(Date(moment)) => self.dates.push((moment, document)),
        }
    }

    fn sorted(self) -> Result<Field, MetadataError> {
        Ok(Field {
            texts: Texts::new(self.texts)?,
            numbers: Column::new(self.numbers)?,
            dates: Column::new(self.dates)?,
            booleans: Column::new(self.booleans)?,
        })
    }
}

impl Field {
    fn for_each(&self, each: &mut dyn FnMut(u32, Value)) {
        let mut all = |documents: &[u32], value: Value| {
            documents.iter().for_each(|&document| each(document, value.clone()));
        };
        for key in 0..self.texts.len() {
            all(self.texts.documents(key..key + 1), Value::Text(self.texts.get(key).to_owned()));
        }
        self.numbers.iter().for_each(|(number, of)| all(of, Value::Number(number)));
        self.dates.iter().for_each(|(moment, of)| all(of, Value::Date(Date(moment))));
        self.booleans.iter().for_each(|(boolean, of)| all(of, Value::Boolean(boolean)));
    }

    fn is_sound(&self, documents: u32) -> bool {
        self.texts.is_sound(documents)
            && self.numbers.is_sound(documents)
            && self.dates.is_sound(documents)
            && self.booleans.is_sound(documents)
    }
}
