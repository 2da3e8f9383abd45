//! A set of numbers below a limit: a bit each.

use std::ops::Range;

/// A set of passages, or of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Bits beyond `len` are never set.
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// None of the numbers below `len`.
    pub fn none(len: usize) -> Bitmap {
        Bitmap { words: vec![0; len.div_ceil(64)], len }
    }

    /// All numbers below `len`.
    pub fn all(len: usize) -> Bitmap {
        let mut all = Bitmap::none(len);
        all.insert_range(0..len as u32);
        all
    }

    /// The limit: one more than the greatest number that it can hold.
    pub fn limit(&self) -> usize {
        self.len
    }

    /// How many numbers it holds.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it holds `number`; it holds none from its limit on.
    #[inline]
    pub fn contains(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Adds `number`, if it is below the limit.
    #[inline]
    pub fn insert(&mut self, number: u32) {
        if (number as usize) < self.len {
            self.words[number as usize / 64] |= 1 << (number % 64);
        }
    }

    /// Adds the numbers of `range` that are below the limit.
    pub fn insert_range(&mut self, range: Range<u32>) {
        let end = (range.end as usize).min(self.len);
        let mut at = range.start as usize;
        while at < end {
            let bits = (64 - at % 64).min(end - at);
            self.words[at / 64] |= (u64::MAX >> (64 - bits)) << (at % 64);
            at += bits;
        }
    }

    /// Takes `number` out.
    pub fn remove(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// Keeps what `other`, of the same limit, holds too.
    pub fn intersect(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Adds what `other`, of the same limit, holds.
    pub fn unite(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Holds what it did not, and nothing of what it did.
    pub fn invert(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        if let (Some(last), rest @ 1..) = (self.words.last_mut(), self.len % 64) {
            *last &= u64::MAX >> (64 - rest);
        }
    }

    /// Its numbers, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip((0..).step_by(64)).flat_map(|(&word, first)| {
            let rest = |word: &u64| Some(word & (word - 1)).filter(|&rest| rest != 0);
            let words = std::iter::successors(Some(word).filter(|&word| word != 0), rest);
            words.map(move |word| first + word.trailing_zeros())
        })
    }

    /// Its numbers as ranges, rising, none beside the next.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next(from, 0)?;
            from = self.next(start, u64::MAX).unwrap_or(self.len);
            Some(start as u32..from as u32)
        })
    }

    /// The first number from `from` on whose bit is not that of `skipped`.
    fn next(&self, from: usize, skipped: u64) -> Option<usize> {
        let mut mask = u64::MAX << (from % 64);
        for (word, at) in self.words.iter().zip((0..).step_by(64)).skip(from / 64) {
            let found = (word ^ skipped) & mask;
            if found != 0 {
                return Some(at + found.trailing_zeros() as usize).filter(|&at| at < self.len);
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        for len in [0, 1, 63, 64, 65, 200] {
            let third = |number: &u32| number.is_multiple_of(3);
            let mut set = Bitmap::none(len);
            (0..300).filter(third).for_each(|number| set.insert(number));
            let numbers: Vec<u32> = (0..len as u32).filter(third).collect();
            assert_eq!(set.iter().collect::<Vec<_>>(), numbers);
            assert_eq!((set.count(), set.limit()), (numbers.len(), len));
            assert!((0..400).all(|number| set.contains(number) == numbers.contains(&number)));

            let mut other = set.clone();
            other.invert();
            assert_eq!(other.count(), len - numbers.len());
            assert_eq!(
                other.ranges().flatten().collect::<Vec<_>>(),
                other.iter().collect::<Vec<_>>()
            );
            other.unite(&set);
            assert_eq!(other, Bitmap::all(len));
            other.intersect(&set);
            assert_eq!(other, set);
            numbers.iter().for_each(|&number| other.remove(number));
            assert_eq!(other, Bitmap::none(len));
        }
    }

    #[test]
    fn ranges_go_in_and_come_out() {
        let ranges = [0..1, 5..64, 66..128, 130..131, 190..400];
        let mut set = Bitmap::none(500);
        ranges.iter().for_each(|range| set.insert_range(range.clone()));
        assert_eq!(set.ranges().collect::<Vec<_>>(), ranges);
        assert_eq!(set.count(), ranges.iter().map(Range::len).sum::<usize>());
        set.insert_range(450..9000);
        assert_eq!(set.ranges().last(), Some(450..500));
    }
}
