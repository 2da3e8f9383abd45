//! Words as texts write them, before stemming: what a misspelt word may have been meant to be.

use super::postings::{read, write};

/// Letters of a word that has a place here. Shorter ones are like too many others.
const LETTERS: std::ops::RangeInclusive<usize> = 4..=32;

/// Words in the order of their letters, each behind what it does not share with the one before it:
///
/// ```text
/// letters shared with the word before   u8
/// bytes of the rest                     u8
/// the rest
/// how often it occurs                   LEB128
/// ```
#[derive(Default)]
pub(super) struct Forms(Vec<u8>);

/// A word near another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The word, folded.
    pub word: String,
    /// How many letters were left out, added, changed, or swapped with the next.
    pub distance: usize,
    /// How often texts have it.
    pub count: u32,
}

/// A word in its place among the others.
struct Entry<'a> {
    shared: usize,
    rest: &'a [u8],
    count: u32,
}

impl Forms {
    /// Whether `word`, folded, is of the kind that is kept.
    pub(super) fn keeps(word: &str) -> bool {
        LETTERS.contains(&word.chars().count()) && word.chars().all(char::is_alphabetic)
    }

    /// From words, all different, and how often each occurs.
    pub(super) fn build(words: impl IntoIterator<Item = (String, u32)>) -> Forms {
        let mut words: Vec<(String, u32)> = words.into_iter().collect();
        words.sort_unstable();
        let (mut bytes, mut before) = (vec![], "");
        for (word, count) in &words {
            let letters = before.chars().zip(word.chars()).take_while(|(a, b)| a == b);
            let (shared, at) = letters.fold((0, 0), |(n, at), (c, _)| (n + 1, at + c.len_utf8()));
            // A word of 32 letters has at most 128 bytes.
            bytes.extend([shared, (word.len() - at) as u8]);
            bytes.extend_from_slice(&word.as_bytes()[at..]);
            write(&mut bytes, *count);
            before = word;
        }
        Forms(bytes)
    }

    /// Takes over and checks what [`Forms::as_bytes`] gave; `None` if it is anything else.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Forms> {
        let (mut rest, mut letters) = (bytes.as_slice(), 0);
        while !rest.is_empty() {
            let entry = Entry::take(&mut rest)?;
            let added = std::str::from_utf8(entry.rest).ok()?.chars().count();
            if entry.shared > letters || !LETTERS.contains(&(entry.shared + added)) {
                return None;
            }
            letters = entry.shared + added;
        }
        Some(Forms(bytes))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The words at the least distance from `word`, up to `most`, that `accept` takes at that
    /// distance: the most frequent of them, and of equals the first. The distance is Damerau's, with no letter moved twice (optimal string alignment).
    ///
    /// Every word is passed, but letters are compared only of those whose beginning may still lead
    /// to one that is near.
    pub(super) fn nearest(
        &self,
        word: &str,
        most: usize,
        accept: impl Fn(&[char], usize) -> bool,
    ) -> Option<Near> {
        let mut table = Table::new(word);
        let mut best: Option<Near> = None;
        let (mut rest, mut most, mut dead) = (self.0.as_slice(), most as u8, usize::MAX);
        while let Some(entry) = Entry::take(&mut rest) {
            if entry.shared >= dead {
                continue;
            }
            table.cut(entry.shared);
            let letters = std::str::from_utf8(entry.rest).unwrap_or_default().chars();
            dead = usize::MAX;
            for letter in letters {
                if table.push(letter) > most {
                    dead = table.letters.len();
                    break;
                }
            }
            let distance = table.distance();
            let better = |best: &Near| (distance, best.count) < (best.distance as u8, entry.count);
            let near = dead == usize::MAX && distance <= most && best.as_ref().is_none_or(better);
            if near && accept(&table.letters, distance.into()) {
                most = distance;
                let word = table.letters.iter().collect();
                best = Some(Near { word, distance: distance.into(), count: entry.count });
            }
        }
        best
    }
}

impl<'a> Entry<'a> {
    fn take(bytes: &mut &'a [u8]) -> Option<Entry<'a>> {
        let (&[shared, length], after) = bytes.split_first_chunk()?;
        let (rest, mut after) = after.split_at_checked(length.into())?;
        let count = read(&mut after)?;
        *bytes = after;
        Some(Entry { shared: shared.into(), rest, count })
    }
}

/// The distances between the beginnings of two words: a row for each of one, a column for each of
/// the other.
struct Table {
    wanted: Vec<char>,
    letters: Vec<char>,
    rows: Vec<u8>,
}

impl Table {
    fn new(word: &str) -> Table {
        let wanted: Vec<char> = word.chars().take(*LETTERS.end() + 1).collect();
        let rows = (0..=wanted.len() as u8).collect();
        Table { wanted, letters: vec![], rows }
    }

    fn cut(&mut self, letters: usize) {
        self.letters.truncate(letters);
        self.rows.truncate((letters + 1) * (self.wanted.len() + 1));
    }

    /// Adds a letter; returns the least distance that words which go on like this can have.
    fn push(&mut self, letter: char) -> u8 {
        let (width, row) = (self.wanted.len() + 1, self.letters.len() + 1);
        self.rows.push(row as u8);
        let mut least = row as u8;
        for column in 1..width {
            let at = row * width + column;
            let wanted = self.wanted[column - 1];
            let changed = self.rows[at - width - 1] + u8::from(wanted != letter);
            let mut cell = changed.min(self.rows[at - width] + 1).min(self.rows[at - 1] + 1);
            let swapped = row > 1 && column > 1 && self.letters[row - 2] == wanted;
            if swapped && self.wanted[column - 2] == letter {
                cell = cell.min(self.rows[at - 2 * width - 2] + 1);
            }
            self.rows.push(cell);
            least = least.min(cell);
        }
        self.letters.push(letter);
        least
    }

    fn distance(&self) -> u8 {
        self.rows.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(words: &[(&str, u32)]) -> Forms {
        Forms::build(words.iter().map(|&(word, count)| (word.to_owned(), count)))
    }

    fn near(forms: &Forms, word: &str, most: usize) -> Option<(String, usize)> {
        forms.nearest(word, most, |_, _| true).map(|near| (near.word, near.distance))
    }

    #[test]
    fn each_kind_of_slip_is_one() {
        let forms = forms(&[("retrieval", 3), ("retriever", 9), ("reranker", 1), ("straße", 1)]);
        for slip in ["retreival", "retrieal", "retrievall", "retrievql", "tetrieval"] {
            assert_eq!(near(&forms, slip, 2), Some(("retrieval".to_owned(), 1)), "{slip}");
        }
        assert_eq!(near(&forms, "strasse", 2), Some(("straße".to_owned(), 2)));
        assert_eq!(near(&forms, "retriev", 1), None);
        assert_eq!(near(&forms, "", 2), None);
        assert_eq!(near(&Forms::default(), "anything", 2), None);
    }

    #[test]
    fn the_nearest_wins_then_the_most_frequent() {
        let forms = forms(&[("bread", 1), ("break", 7), ("breath", 900), ("dread", 7)]);
        assert_eq!(near(&forms, "breadh", 2), Some(("breath".to_owned(), 1)));
        assert_eq!(near(&forms, "brea", 2), Some(("break".to_owned(), 1)));
        assert_eq!(near(&forms, "ybread", 2), Some(("bread".to_owned(), 1)));
    }

    #[test]
    fn the_walk_agrees_with_a_comparison_of_all() {
        let alphabet = ['a', 'b', 'ß', 'd'];
        let mut state = 1u64;
        let mut word = |least: usize| -> String {
            let mut below = |n: u64| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) % n
            };
            let letters = least + below(5) as usize;
            (0..letters).map(|_| alphabet[below(4) as usize]).collect()
        };
        let mut words: Vec<(String, u32)> = (0..900).map(|i| (word(4), i % 50 + 1)).collect();
        words.sort();
        words.dedup_by(|a, b| a.0 == b.0);
        let forms = Forms::build(words.clone());
        let forms = Forms::from_bytes(forms.0).unwrap();
        let mut found = 0;
        for _ in 0..300 {
            let query = word(3);
            let all = words.iter().filter_map(|(word, count)| {
                let mut table = Table::new(&query);
                for letter in word.chars() {
                    table.push(letter);
                }
                let distance = usize::from(table.distance());
                Some(Near { word: word.clone(), distance, count: *count }).filter(|_| distance <= 2)
            });
            // The least distance, then the greatest count, then the first word.
            let best = all.min_by_key(|near| (near.distance, u32::MAX - near.count));
            found += usize::from(best.is_some());
            assert_eq!(forms.nearest(&query, 2, |_, _| true), best, "{query}");
        }
        assert!(found > 200, "{found}");
    }

    #[test]
    fn broken_bytes_panic_nowhere() {
        let forms = forms(&[("straße", 1), ("straßen", 1000), ("street", 3), ("ärger", 70_000)]);
        for at in 0..forms.0.len() {
            for flip in [1, 0x80, 0xff] {
                let mut broken = forms.0.clone();
                broken[at] ^= flip;
                let near =
                    Forms::from_bytes(broken).map(|forms| forms.nearest("strasen", 2, |_, _| true));
                assert!(near.is_none_or(|near| near.is_none_or(|near| near.distance <= 2)));
            }
            assert!(
                Forms::from_bytes(forms.0[..at].to_vec())
                    .is_none_or(|cut| cut.0.len() < forms.0.len())
            );
        }
    }
}
