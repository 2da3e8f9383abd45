//! Arrays as bytes, the same on every target, and read while they come in.
//!
//! ```text
//! version, number of arrays   u32 each
//! elements of each array      u64
//! the arrays                  one behind the other
//! ```
//!
//! All is little-endian. An array's memory is reserved once, as large as it will be, and nothing is
//! held twice: an index may fill most of the memory of the component that reads it.

use std::borrow::Cow;
use std::io::{self, Write};

/// Bytes that are converted before they are written.
const BUFFER: usize = 1 << 16;

/// What is wrong with bytes.
pub(crate) type Problem = &'static str;

/// What arrays hold.
pub(crate) trait Element: Sized {
    const BYTES: usize;
    /// Reads one of so many bytes.
    fn read(bytes: &[u8]) -> Self;
    fn write(&self, to: &mut Vec<u8>);

    /// Reads as many as there are whole.
    fn read_all(bytes: &[u8], to: &mut Vec<Self>) {
        to.extend(bytes.chunks_exact(Self::BYTES).map(Self::read));
    }
}

impl Element for u8 {
    const BYTES: usize = 1;

    fn read_all(bytes: &[u8], to: &mut Vec<u8>) {
        to.extend_from_slice(bytes);
    }

    fn read(bytes: &[u8]) -> u8 {
        bytes[0]
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.push(*self);
    }
}

impl Element for u32 {
    const BYTES: usize = 4;

    fn read(bytes: &[u8]) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|i| bytes[i]))
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.to_le_bytes());
    }
}

impl Element for f32 {
    const BYTES: usize = 4;

    fn read(bytes: &[u8]) -> f32 {
        f32::from_bits(u32::read(bytes))
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.to_bits().write(to);
    }
}

/// An array that is coming in.
pub(crate) struct Array<T> {
    pub(crate) values: Vec<T>,
    /// The beginning of an element whose end has not come yet.
    cut: Vec<u8>,
}

impl<T> Default for Array<T> {
    fn default() -> Self {
        Array { values: vec![], cut: vec![] }
    }
}

/// An [`Array`] of any element.
pub(crate) trait Fill {
    fn element(&self) -> usize;
    fn reserve(&mut self, count: usize) -> Result<(), Problem>;
    fn push(&mut self, bytes: &[u8]);
}

impl<T: Element> Fill for Array<T> {
    fn element(&self) -> usize {
        T::BYTES
    }

    fn reserve(&mut self, count: usize) -> Result<(), Problem> {
        self.values.try_reserve_exact(count).map_err(|_| "they do not fit into memory")
    }

    fn push(&mut self, mut bytes: &[u8]) {
        if !self.cut.is_empty() {
            let (end, rest) = bytes.split_at(bytes.len().min(T::BYTES - self.cut.len()));
            self.cut.extend(end);
            bytes = rest;
            if self.cut.len() < T::BYTES {
                return;
            }
            self.values.push(T::read(&self.cut));
            self.cut.clear();
        }
        let (whole, cut) = bytes.split_at(bytes.len() - bytes.len() % T::BYTES);
        self.cut.extend(cut);
        T::read_all(whole, &mut self.values);
    }
}

/// How far `N` arrays have come in.
pub(crate) struct Stream<const N: usize> {
    version: u32,
    head: Vec<u8>,
    /// Bytes that each array still lacks.
    left: [u64; N],
    /// The array that comes next.
    at: usize,
    reserved: bool,
}

impl<const N: usize> Stream<N> {
    const HEAD: usize = 8 + 8 * N;

    /// Of arrays that were written under that version.
    pub(crate) fn new(version: u32) -> Stream<N> {
        Stream { version, head: vec![], left: [0; N], at: 0, reserved: false }
    }

    /// Whether nothing has come yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// Takes the next bytes in.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        mut arrays: [&mut dyn Fill; N],
    ) -> Result<(), Problem> {
        if self.head.len() < Self::HEAD {
            let (head, rest) = bytes.split_at(bytes.len().min(Self::HEAD - self.head.len()));
            self.head.extend(head);
            bytes = rest;
            if self.head.len() < Self::HEAD {
                return Ok(());
            }
            self.read_head(&arrays)?;
        }
        while self.at < N {
            let (array, left) = (&mut arrays[self.at], &mut self.left[self.at]);
            if !std::mem::replace(&mut self.reserved, true) {
                let count = *left / array.element() as u64;
                array.reserve(usize::try_from(count).unwrap_or(usize::MAX))?;
            }
            let most = usize::try_from(*left).unwrap_or(usize::MAX);
            let (own, rest) = bytes.split_at(bytes.len().min(most));
            array.push(own);
            (*left, bytes) = (*left - own.len() as u64, rest);
            if *left > 0 {
                return Ok(());
            }
            (self.at, self.reserved) = (self.at + 1, false);
        }
        if bytes.is_empty() { Ok(()) } else { Err("bytes follow their end") }
    }

    fn read_head(&mut self, arrays: &[&mut dyn Fill; N]) -> Result<(), Problem> {
        let (numbers, counts) = self.head.split_at(8);
        if [u32::read(numbers), u32::read(&numbers[4..])] != [self.version, N as u32] {
            return Err("they were written by another version of trine");
        }
        for ((left, array), count) in self.left.iter_mut().zip(arrays).zip(counts.as_chunks().0) {
            let bytes = u64::from_le_bytes(*count).checked_mul(array.element() as u64);
            *left = bytes.ok_or("a length is out of range")?;
        }
        Ok(())
    }

    /// Whether all has come.
    pub(crate) fn finish(&self) -> Result<(), Problem> {
        if self.at == N { Ok(()) } else { Err("they end too early") }
    }
}

/// An array to be written.
pub(crate) trait Dump {
    fn count(&self) -> usize;
    fn bytes(&self) -> usize;
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// A [`Dump`] of any element.
pub(crate) type Output<'a> = Box<dyn Dump + 'a>;

impl<T: Element + Clone> Dump for Cow<'_, [T]> {
    fn count(&self) -> usize {
        self.len()
    }

    fn bytes(&self) -> usize {
        self.len() * T::BYTES
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER);
        for some in self.chunks(BUFFER / T::BYTES) {
            buffer.clear();
            some.iter().for_each(|element| element.write(&mut buffer));
            out.write_all(&buffer)?;
        }
        Ok(())
    }
}

/// An array to be written.
pub(crate) fn output<'a, T: Element + Clone + 'a>(array: impl Into<Cow<'a, [T]>>) -> Output<'a> {
    Box::new(array.into())
}

/// Writes arrays under a version.
pub(crate) fn write<const N: usize>(
    version: u32,
    arrays: &[Output; N],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut head = vec![];
    [version, N as u32].iter().for_each(|number| number.write(&mut head));
    arrays.iter().for_each(|array| head.extend((array.count() as u64).to_le_bytes()));
    out.write_all(&head)?;
    arrays.iter().try_for_each(|array| array.write(out))
}

/// The same into memory.
pub(crate) fn to_bytes<const N: usize>(version: u32, arrays: &[Output; N]) -> Vec<u8> {
    let length = arrays.iter().map(|array| array.bytes()).sum::<usize>();
    let mut bytes = Vec::with_capacity(Stream::<N>::HEAD + length);
    // Writing to memory cannot fail.
    let _ = write(version, arrays, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (Vec<u32>, Vec<u8>, Vec<f32>);

    fn read(bytes: &[u8], piece: usize) -> Result<Read, Problem> {
        let mut stream = Stream::<3>::new(7);
        let (mut a, mut b, mut c) = (Array::default(), Array::default(), Array::default());
        for some in bytes.chunks(piece) {
            stream.push(some, [&mut a, &mut b, &mut c])?;
        }
        stream.finish()?;
        Ok((a.values, b.values, c.values))
    }

    #[test]
    fn arrays_come_back_however_their_bytes_are_cut() {
        let (a, b) = ((0..20_000).collect::<Vec<u32>>(), b"bytes".to_vec());
        for c in [vec![], vec![1.5, f32::MIN]] {
            let bytes = to_bytes(7, &[output(&a), output(&b), output(&c)]);
            for piece in [1, 3, 4, 31, 4096, bytes.len()] {
                assert_eq!(read(&bytes, piece).unwrap(), (a.clone(), b.clone(), c.clone()));
            }
        }
    }

    #[test]
    fn what_is_cut_short_too_long_or_of_another_version_is_refused() {
        let bytes = to_bytes(7, &[output(vec![1u32, 2]), output(vec![3u8]), output(vec![4f32])]);
        assert_eq!(bytes.len(), 8 + 3 * 8 + 8 + 1 + 4);
        for piece in [1, bytes.len()] {
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length], piece).is_err(), "{length}");
            }
            assert!(read(&[&bytes[..], &[0]].concat(), piece).is_err());
        }
        let all = [output(vec![1u32, 2]), output(vec![3u8]), output(vec![4f32])];
        assert!(read(&to_bytes(8, &all), 9).is_err());
        assert!(read(&to_bytes(7, &[output(vec![1u32]), output(vec![2u8])]), 9).is_err());
        for count in [u64::MAX, u64::MAX / 4, 1 << 61] {
            let mut long = bytes.clone();
            long[8..16].copy_from_slice(&count.to_le_bytes());
            assert!(read(&long, 11).is_err(), "{count}");
        }
    }
}
