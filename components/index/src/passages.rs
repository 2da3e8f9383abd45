//! Many passages, kept as they are stored and decoded one at a time.
//!
//! A million passages are five million strings; as bytes they are one block, which a snapshot maps
//! and an instance of it reads only where it looks.

use serde::Deserialize;

use crate::{IndexError, MediaType, Passage};

const DAMAGED: IndexError = IndexError::Passages("one of them cannot be read");

/// Passages by number: postcard-encoded [`Passage`]s, one behind the other.
#[derive(Default)]
pub struct Passages {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
}

/// A passage in the bytes that hold it.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read to find out where it ends")]
struct Borrowed<'a> {
    source: &'a str,
    title: &'a str,
    #[serde(borrow)]
    headings: Vec<&'a str>,
    text: &'a str,
    media_type: MediaType,
    start: u64,
    end: u64,
}

impl Passages {
    /// The bytes of `passages`; those of more may follow them.
    ///
    /// # Errors
    /// [`IndexError::Passages`], should they not fit into memory.
    pub fn encode(passages: &[Passage]) -> Result<Vec<u8>, IndexError> {
        let encoded = passages.iter().try_fold(vec![], |bytes, passage| {
            postcard::to_extend(passage, bytes) //
        });
        encoded.map_err(|_| IndexError::Passages("they do not fit into memory"))
    }

    /// Takes over and checks what [`Passages::encode`] made.
    ///
    /// # Errors
    /// [`IndexError::Passages`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Passages, IndexError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(IndexError::Passages("they are longer than 4 GiB"));
        }
        let (mut ends, mut rest) = (vec![], bytes.as_slice());
        while !rest.is_empty() {
            let (_, after): (Borrowed, _) = postcard::take_from_bytes(rest).map_err(|_| DAMAGED)?;
            rest = after;
            ends.push((bytes.len() - rest.len()) as u32);
        }
        Ok(Passages { bytes, ends })
    }

    /// What [`Passages::from_bytes`] took.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
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
        postcard::from_bytes(self.slice(number)?).ok()
    }

    fn slice(&self, number: u32) -> Option<&[u8]> {
        let number = number as usize;
        let start = if number == 0 { 0 } else { *self.ends.get(number - 1)? };
        self.bytes.get(start as usize..*self.ends.get(number)? as usize)
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
            text: "word ".repeat(i as usize * 40),
            media_type: if i.is_multiple_of(2) { MediaType::Plain } else { MediaType::Markdown },
            start: i << 40,
            end: (i << 40) + 7,
        };
        (0..20).map(passage).collect()
    }

    #[test]
    fn each_passage_comes_back() {
        let all = passages();
        let bytes = [&all[..7], &all[7..]].map(|some| Passages::encode(some).unwrap()).concat();
        let read = Passages::from_bytes(bytes.clone()).unwrap();
        assert_eq!((read.len(), read.as_bytes()), (20, &bytes[..]));
        for (number, passage) in (0..).zip(&all) {
            assert_eq!(read.get(number).as_ref(), Some(passage));
        }
        assert!(read.get(20).is_none() && read.get(u32::MAX).is_none());
        assert!(Passages::from_bytes(vec![]).unwrap().is_empty());
    }

    #[test]
    fn broken_bytes_panic_nowhere() {
        let bytes = Passages::encode(&passages()).unwrap();
        let mut refused = 0;
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x91;
            match Passages::from_bytes(broken) {
                Err(_) => refused += 1,
                Ok(read) => assert!((0..read.len() as u32).all(|n| read.get(n).is_some())),
            }
            let cut = Passages::from_bytes(bytes[..at].to_vec());
            assert!(cut.is_err() || cut.is_ok_and(|cut| cut.len() < 20));
        }
        assert!(refused > bytes.len() / 2, "{refused}");
    }
}
