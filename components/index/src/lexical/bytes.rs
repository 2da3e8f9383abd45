//! An inverted index as arrays.
//!
//! ```text
//! options, postcard-encoded                    u8
//! weighted number of words in each passage     u32
//! the terms' names, one after another          u8
//! of each term: how many passages it is in, and how long its name, postings and positions are
//!                                              4 u32
//! postings, positions, forms                   u8 each
//! ```

use std::io::{self, Write};
use std::ops::Range;

use super::inverted::{Inverted, LexicalError, Sizes, Stored, Term};
use crate::arrays::{self, Array, Element, Fill, Output, Stream, output};

/// Of what is written here.
const VERSION: u32 = 3;

impl Element for Sizes {
    const BYTES: usize = 16;

    fn read(bytes: &[u8]) -> Sizes {
        let [passages, name, postings, positions] =
            std::array::from_fn(|i| u32::read(&bytes[4 * i..]));
        Sizes { passages, name, postings, positions }
    }

    fn write(&self, to: &mut Vec<u8>) {
        let Sizes { passages, name, postings, positions } = *self;
        [passages, name, postings, positions].iter().for_each(|number| number.write(to));
    }
}

/// An index that is coming in, in pieces of any length.
pub struct InvertedReader {
    stream: Stream<7>,
    options: Array<u8>,
    lengths: Array<u32>,
    dictionary: Array<u8>,
    terms: Array<Sizes>,
    postings: Array<u8>,
    positions: Array<u8>,
    forms: Array<u8>,
}

impl Default for InvertedReader {
    fn default() -> Self {
        InvertedReader {
            stream: Stream::new(VERSION),
            options: Array::default(),
            lengths: Array::default(),
            dictionary: Array::default(),
            terms: Array::default(),
            postings: Array::default(),
            positions: Array::default(),
            forms: Array::default(),
        }
    }
}

impl InvertedReader {
    /// Takes the next bytes in.
    ///
    /// # Errors
    /// [`LexicalError::Damaged`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), LexicalError> {
        let InvertedReader {
            stream,
            options,
            lengths,
            dictionary,
            terms,
            postings,
            positions,
            forms,
        } = self;
        let arrays: [&mut dyn Fill; 7] =
            [options, lengths, dictionary, terms, postings, positions, forms];
        stream.push(bytes, arrays).map_err(LexicalError::Damaged)
    }

    /// The index, checked.
    ///
    /// # Errors
    /// [`LexicalError`].
    pub fn finish(self) -> Result<Inverted, LexicalError> {
        self.stream.finish().map_err(LexicalError::Damaged)?;
        let (options, rest) = postcard::take_from_bytes(&self.options.values)?;
        let dictionary = String::from_utf8(self.dictionary.values);
        if !rest.is_empty() {
            return Err(LexicalError::Damaged("bytes follow its options"));
        }
        Inverted::open(Stored {
            options,
            lengths: self.lengths.values,
            dictionary: dictionary.map_err(|_| LexicalError::Damaged("a term is no UTF-8"))?,
            terms: self.terms.values,
            postings: self.postings.values,
            positions: self.positions.values,
            forms: self.forms.values,
        })
    }
}

impl Inverted {
    /// Reads and checks what [`Inverted::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`LexicalError::Decode`] or [`LexicalError::Damaged`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Inverted, LexicalError> {
        let mut reader = InvertedReader::default();
        reader.push(bytes)?;
        reader.finish()
    }

    /// The index as bytes: the same on every target and in every run.
    ///
    /// # Errors
    /// [`LexicalError::Decode`], should they not fit into memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LexicalError> {
        Ok(arrays::to_bytes(VERSION, &self.outputs()?))
    }

    /// Writes what [`Inverted::to_bytes`] gives, piece by piece.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        arrays::write(VERSION, &self.outputs().map_err(io::Error::other)?, out)
    }

    fn outputs(&self) -> Result<[Output<'_>; 7], LexicalError> {
        let size = |range: &Range<u32>| range.end - range.start;
        let sizes = |term: &Term| Sizes {
            passages: term.passages,
            name: size(&term.name),
            postings: size(&term.postings),
            positions: size(&term.positions),
        };
        Ok([
            output(postcard::to_stdvec(&self.options)?),
            output(&self.lengths),
            output(self.dictionary.as_bytes()),
            output(self.terms.iter().map(sizes).collect::<Vec<_>>()),
            output(&self.postings),
            output(&self.positions),
            output(self.forms.as_bytes()),
        ])
    }
}
