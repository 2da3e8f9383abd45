//! Posting lists: which passages hold a term, how often and where, as differences in few bytes.
//!
//! ```text
//! posting    (passage - previous passage) * 2 + (frequency == 1), then the frequency unless it is 1
//! positions  for each posting `frequency` differences, the first from 0
//! ```
//! Numbers are little-endian base 128 (LEB128). Every [`BLOCK`] postings a search may enter the list.

/// Postings from one entry point to the next.
pub(super) const BLOCK: u32 = 64;

/// Where a cursor stands when its list has ended. No passage has this number.
pub(super) const END: u32 = u32::MAX;

/// An entry point: the state of a reader after a whole number of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Entry {
    /// The passage of the last posting read.
    passage: u32,
    /// Bytes of postings read.
    postings: u32,
    /// Bytes of positions read.
    positions: u32,
}

/// What bounds a list's scores: how short passages are that have the term once, twice, three times
/// and more often, and how often one has it at most.
#[derive(Clone, Copy)]
pub(super) struct Impacts {
    /// Words of the shortest passage, not above it; [`u16::MAX`] too where there is none.
    shortest: [u16; 4],
    /// Not below it.
    most: u32,
}

impl Impacts {
    pub(super) const NONE: Impacts = Impacts { shortest: [u16::MAX; 4], most: 0 };

    /// Takes a posting into account.
    pub(super) fn add(&mut self, frequency: u32, length: u32) {
        let shortest = &mut self.shortest[(frequency as usize).clamp(1, 4) - 1];
        *shortest = (*shortest).min(length.min(u16::MAX.into()) as u16);
        self.most = self.most.max(frequency);
    }

    /// The greatest that `impact` of frequency and length gives, which rises with the one and falls
    /// with the other.
    pub(super) fn greatest(&self, impact: impl Fn(u32, u32) -> f32) -> f32 {
        let all = [1, 2, 3, self.most].into_iter().zip(self.shortest);
        let there = all.filter(|&(frequency, _)| frequency <= self.most);
        there.map(|(frequency, length)| impact(frequency, length.into())).fold(0.0, f32::max)
    }
}

/// A list being written, passage by passage in rising order.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) postings: Vec<u8>,
    pub(super) positions: Vec<u8>,
    pub(super) count: u32,
    last: u32,
}

impl Writer {
    /// Appends a posting whose frequency is the number of `positions`, which may come twice.
    pub(super) fn push(&mut self, passage: u32, positions: &[u32]) {
        self.push_frequency(passage, positions.len() as u32);
        let mut last = 0;
        for &position in positions {
            write(&mut self.positions, position - last);
            last = position;
        }
    }

    /// Appends a posting without positions.
    pub(super) fn push_frequency(&mut self, passage: u32, frequency: u32) {
        write(&mut self.postings, (passage - self.last) << 1 | u32::from(frequency == 1));
        if frequency != 1 {
            write(&mut self.postings, frequency);
        }
        self.last = passage;
        self.count += 1;
    }
}

/// A list's bytes, read only after [`List::check`].
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    pub(super) postings: &'a [u8],
    pub(super) positions: &'a [u8],
    pub(super) entries: &'a [Entry],
    pub(super) count: u32,
}

impl<'a> List<'a> {
    /// Reads all postings, so that no later reading can fail or overflow, and appends the list's entry
    /// points. Returns what bounds its scores, or `None` if the bytes are not `count` postings of
    /// passages that `lengths` knows, with as many positions as their frequencies (or no positions at
    /// all).
    pub(super) fn check(&self, lengths: &[u32], entries: &mut Vec<Entry>) -> Option<Impacts> {
        let mut impacts = Impacts::NONE;
        let (mut postings, mut positions) = (self.postings, self.positions);
        let (mut passage, mut pending) = (0, 0u32);
        for index in 0..self.count {
            if index > 0 && index % BLOCK == 0 {
                skip(&mut positions, std::mem::take(&mut pending));
                let postings = (self.postings.len() - postings.len()) as u32;
                let positions = (self.positions.len() - positions.len()) as u32;
                entries.push(Entry { passage, postings, positions });
            }
            let (difference, frequency) = read_posting(&mut postings)?;
            passage = u32::checked_add(passage, difference)?;
            let length = *lengths.get(passage as usize)?;
            if (index > 0 && difference == 0) || frequency == 0 {
                return None;
            }
            impacts.add(frequency, length);
            pending = pending.checked_add(frequency)?;
        }
        // Most lists are short, and what remains of them is counted at once.
        let whole = positions.last().is_none_or(|&last| last < 0x80);
        let numbers = positions.iter().filter(|&&byte| byte < 0x80).count();
        let right = self.positions.is_empty() || (whole && numbers == pending as usize);
        (postings.is_empty() && right).then_some(impacts)
    }

    /// A cursor on the first posting.
    pub(super) fn cursor(self) -> Cursor<'a> {
        let mut cursor = Cursor {
            list: self,
            postings: self.postings,
            entry: 0,
            passage: 0,
            frequency: 0,
            pending: 0,
            positions: self.positions,
        };
        cursor.advance();
        cursor
    }
}

/// Reads a list from its first passage to its last.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    list: List<'a>,
    postings: &'a [u8],
    positions: &'a [u8],
    /// The next entry point.
    entry: usize,
    /// The passage it stands on, or [`END`].
    pub(super) passage: u32,
    /// The term's weighted frequency there.
    pub(super) frequency: u32,
    /// Positions that were passed over but not read.
    pending: u32,
}

impl Cursor<'_> {
    /// Steps to the next posting.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.pending += self.frequency;
        match read_posting(&mut self.postings) {
            Some((difference, frequency)) => {
                self.passage += difference;
                self.frequency = frequency;
            }
            None => self.passage = END,
        }
    }

    /// Steps to the first posting at `passage` or later, entering the list as late as possible.
    pub(super) fn seek(&mut self, passage: u32) {
        let ahead = &self.list.entries[self.entry..];
        let skipped = ahead.iter().take_while(|entry| entry.passage < passage).count();
        if skipped > 0 && self.passage < passage {
            self.enter(self.entry + skipped);
        }
        let mut cursor = *self;
        while cursor.passage < passage {
            cursor.advance();
        }
        *self = cursor;
    }

    /// Stands before the posting that follows entry point number `next - 1`, then on it.
    fn enter(&mut self, next: usize) {
        self.entry = next;
        let entry = self.list.entries[next - 1];
        if entry.passage <= self.passage {
            return;
        }
        self.passage = entry.passage;
        self.postings = &self.list.postings[entry.postings as usize..];
        self.positions = &self.list.positions[entry.positions as usize..];
        (self.pending, self.frequency) = (0, 0);
        self.advance();
    }

    /// The term's positions in the passage it stands on. A second call for the same passage finds none.
    pub(super) fn positions(&mut self, out: &mut Vec<u32>) {
        out.clear();
        skip(&mut self.positions, std::mem::take(&mut self.pending));
        let mut position = 0;
        for _ in 0..std::mem::take(&mut self.frequency) {
            // Only damaged bytes overflow.
            position = u32::wrapping_add(position, read(&mut self.positions).unwrap_or_default());
            out.push(position);
        }
    }
}

#[inline(always)]
fn read_posting(bytes: &mut &[u8]) -> Option<(u32, u32)> {
    // Most have a byte: near the one before, and once.
    if let [first, rest @ ..] = bytes
        && first & 0x81 == 1
    {
        *bytes = rest;
        return Some((u32::from(first >> 1), 1));
    }
    let first = read(bytes)?;
    let frequency = if first & 1 == 1 { 1 } else { read(bytes)? };
    Some((first >> 1, frequency))
}

/// Takes one number off the front; `None` if there is none that fits 32 bits.
#[inline]
pub(crate) fn read(bytes: &mut &[u8]) -> Option<u32> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    if first < 0x80 {
        return Some(u32::from(first));
    }
    let mut value = u32::from(first & 0x7f);
    for shift in [7, 14, 21, 28] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u32::from(byte & 0x7f);
        if shift == 28 && bits > 0xf {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Takes so many numbers off the front, or what there is.
fn skip(bytes: &mut &[u8], numbers: u32) {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte < 0x80);
    let end = match numbers {
        0 => 0,
        _ => ends.nth(numbers as usize - 1).map_or(bytes.len(), |(end, _)| end + 1),
    };
    *bytes = &bytes[end..];
}

/// Appends one number.
pub(crate) fn write(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
