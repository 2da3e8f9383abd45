//! Many passages, kept in few bytes and decoded one at a time.
//!
//! Each is a record of numbers and of [coded](Words) strings:
//!
//! ```text
//! the words' ends, and their text   see `Words`
//! where each record ends            u32
//! records, one behind the other     postcard-encoded `Record`s
//! ```

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::arrays::{self, Array, Output, Stream, output};
use crate::words::{Counts, Words};
use crate::{IndexError, MediaType, Passage};

/// Of what is written here.
const VERSION: u32 = 1;

const DAMAGED: IndexError = IndexError::Passages("one of them cannot be read");
const TOO_LONG: IndexError = IndexError::Passages("they are longer than 4 GiB");

/// Passages by number.
#[derive(Default)]
pub struct Passages {
    records: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
    words: Words,
}

/// A [`Passage`] whose strings are coded.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    source: &'a [u8],
    title: &'a [u8],
    #[serde(borrow)]
    headings: Vec<&'a [u8]>,
    text: &'a [u8],
    media_type: MediaType,
    start: u64,
    end: u64,
}

impl Passages {
    /// Stores `passages`.
    ///
    /// # Errors
    /// [`IndexError::Passages`], when they are longer than 4 GiB.
    pub fn build(passages: &[Passage]) -> Result<Passages, IndexError> {
        let mut counts = Counts::default();
        passages.iter().flat_map(strings).for_each(|string| counts.add(string));
        let (words, codes) = counts.finish().ok_or(TOO_LONG)?;
        let (mut records, mut ends) = (vec![], Vec::with_capacity(passages.len()));
        for passage in passages {
            let coded: Vec<Vec<u8>> = strings(passage).map(|string| codes.encode(string)).collect();
            let [source, title, text, headings @ ..] = coded.as_slice() else {
                return Err(DAMAGED);
            };
            let headings = headings.iter().map(Vec::as_slice).collect();
            let Passage { media_type, start, end, .. } = *passage;
            let record = Record { source, title, headings, text, media_type, start, end };
            records = postcard::to_extend(&record, records).map_err(|_| DAMAGED)?;
            ends.push(u32::try_from(records.len()).map_err(|_| TOO_LONG)?);
        }
        Ok(Passages { records, ends, words })
    }

    /// Reads and checks what [`Passages::to_bytes`] made.
    ///
    /// # Errors
    /// [`IndexError::Passages`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Passages, IndexError> {
        let mut reader = PassagesReader::default();
        reader.push(bytes)?;
        reader.finish()
    }

    /// The passages as bytes, the same on every target.
    pub fn to_bytes(&self) -> Vec<u8> {
        arrays::to_bytes(VERSION, &self.outputs())
    }

    /// Writes what [`Passages::to_bytes`] gives, piece by piece.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        arrays::write(VERSION, &self.outputs(), out)
    }

    /// Bytes that they take as they are written.
    pub fn bytes(&self) -> u64 {
        self.outputs().iter().map(|array| array.bytes() as u64).sum()
    }

    fn outputs(&self) -> [Output<'_>; 4] {
        let (text, word_ends) = self.words.parts();
        [output(word_ends), output(text), output(&self.ends), output(&self.records)]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The passage of this number.
    pub fn get(&self, number: u32) -> Option<Passage> {
        let string = |coded: &[u8]| self.words.decode(coded);
        let record = self.record(number)?;
        Some(Passage {
            source: string(record.source)?,
            title: string(record.title)?,
            headings: record.headings.into_iter().map(string).collect::<Option<_>>()?,
            text: string(record.text)?,
            media_type: record.media_type,
            start: record.start,
            end: record.end,
        })
    }

    /// The headings of the passage of this number.
    pub fn headings(&self, number: u32) -> Option<Vec<String>> {
        self.record(number)?.headings.into_iter().map(|coded| self.words.decode(coded)).collect()
    }

    fn record(&self, number: u32) -> Option<Record<'_>> {
        let number = number as usize;
        let start = if number == 0 { 0 } else { *self.ends.get(number - 1)? };
        let bytes = self.records.get(start as usize..*self.ends.get(number)? as usize)?;
        let (record, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then_some(record)
    }

    /// Whether each can be read.
    fn is_sound(&self) -> bool {
        let sound = |record: Record| {
            let strings = [record.source, record.title, record.text].into_iter();
            strings.chain(record.headings).all(|coded| self.words.can_decode(coded))
        };
        self.ends.last().map_or(0, |&end| end as usize) == self.records.len()
            && (0..self.len() as u32).all(|number| self.record(number).is_some_and(sound))
    }
}

/// A passage's strings, the headings last.
fn strings(passage: &Passage) -> impl Iterator<Item = &str> {
    let Passage { source, title, text, headings, .. } = passage;
    [source, title, text].into_iter().chain(headings).map(String::as_str)
}

/// Passages that are coming in, in pieces of any length.
pub struct PassagesReader {
    stream: Stream<4>,
    word_ends: Array<u32>,
    words: Array<u8>,
    ends: Array<u32>,
    records: Array<u8>,
}

impl Default for PassagesReader {
    fn default() -> Self {
        PassagesReader {
            stream: Stream::new(VERSION),
            word_ends: Array::default(),
            words: Array::default(),
            ends: Array::default(),
            records: Array::default(),
        }
    }
}

impl PassagesReader {
    /// Takes the next bytes in.
    ///
    /// # Errors
    /// [`IndexError::Passages`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        let PassagesReader { stream, word_ends, words, ends, records } = self;
        stream.push(bytes, [word_ends, words, ends, records]).map_err(IndexError::Passages)
    }

    /// The passages, checked.
    ///
    /// # Errors
    /// [`IndexError::Passages`].
    pub fn finish(self) -> Result<Passages, IndexError> {
        self.stream.finish().map_err(IndexError::Passages)?;
        let words = Words::new(self.words.values, self.word_ends.values).ok_or(DAMAGED)?;
        let passages = Passages { records: self.records.values, ends: self.ends.values, words };
        if passages.is_sound() { Ok(passages) } else { Err(DAMAGED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passages() -> Vec<Passage> {
        let passage = |i: u64| Passage {
            source: format!("{}.md", i / 3),
            title: "naïve".to_owned(),
            headings: (0..i % 3).map(|h| format!("heading {h}")).collect(),
            text: "a word, and  another\n".repeat(i as usize * 4),
            media_type: if i.is_multiple_of(2) { MediaType::Plain } else { MediaType::Markdown },
            start: i << 40,
            end: (i << 40) + 7,
        };
        (0..20).map(passage).collect()
    }

    #[test]
    fn each_passage_comes_back() {
        let all = passages();
        let built = Passages::build(&all).unwrap();
        let bytes = built.to_bytes();
        let text: usize = all.iter().map(|passage| passage.text.len()).sum();
        assert!(bytes.len() < text / 2, "{} bytes of {text}", bytes.len());
        let mut reader = PassagesReader::default();
        bytes.chunks(7).for_each(|piece| reader.push(piece).unwrap());
        let read = reader.finish().unwrap();
        assert_eq!((read.len(), read.to_bytes()), (20, bytes));
        for (number, passage) in (0..).zip(&all) {
            assert_eq!(read.get(number).as_ref(), Some(passage));
            assert_eq!(read.headings(number).as_ref(), Some(&passage.headings));
        }
        assert!(read.get(20).is_none() && read.get(u32::MAX).is_none());
        let none = Passages::build(&[]).unwrap().to_bytes();
        assert!(Passages::from_bytes(&none).unwrap().is_empty());
    }

    #[test]
    fn broken_bytes_panic_nowhere() {
        let bytes = Passages::build(&passages()).unwrap().to_bytes();
        let mut refused = 0;
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x91;
            match Passages::from_bytes(&broken) {
                Err(_) => refused += 1,
                Ok(read) => assert!((0..read.len() as u32).all(|n| read.get(n).is_some())),
            }
            assert!(Passages::from_bytes(&bytes[..at]).is_err(), "{at}");
        }
        assert!(refused > bytes.len() / 3, "{refused} of {}", bytes.len());
    }
}
