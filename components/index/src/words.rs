//! Text as numbers of words: a byte for each of the most frequent words, two or three for others.
//!
//! Words and what stands between them take turns, and one space between two words goes without
//! saying (Moura, Navarro, Ziviani & Baeza-Yates, 2000). A frequent word has a small number, written
//! in LEB128. English comes to about a third of its size, and any piece of it can be decoded alone,
//! at little cost; compression in blocks as small as a passage hardly halves it.
//!
//! ```text
//! 0       a token that is no word of the list: its length, LEB128, and its bytes
//! n > 0   word n - 1
//! ```

use std::collections::HashMap;

use crate::lexical::postings::{read, write};

/// What occurs less often has no number.
const FEWEST: u32 = 3;
/// Bytes of the longest token that has one.
const LONGEST: usize = 64;

/// How often tokens occur.
#[derive(Default)]
pub(crate) struct Counts(HashMap<String, u32>);

/// Which number each word has.
pub(crate) struct Codes(HashMap<String, u32>);

/// The words by their numbers.
#[derive(Default)]
pub(crate) struct Words {
    /// One behind the other, the most frequent first.
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Counts {
    pub(crate) fn add(&mut self, text: &str) {
        for token in tokens(text).filter(|token| token.len() <= LONGEST) {
            match self.0.get_mut(token) {
                Some(count) => *count = count.saturating_add(1),
                None => drop(self.0.insert(token.to_owned(), 1)),
            }
        }
    }

    /// The words, numbered; none should they be longer than 4 GiB.
    pub(crate) fn finish(self) -> Option<(Words, Codes)> {
        let mut all: Vec<(String, u32)> =
            self.0.into_iter().filter(|(_, count)| *count >= FEWEST).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut words = Words::default();
        for (word, _) in &all {
            words.text.push_str(word);
            words.ends.push(u32::try_from(words.text.len()).ok()?);
        }
        let codes = all.into_iter().zip(1..).map(|((word, _), code)| (word, code)).collect();
        Some((words, Codes(codes)))
    }
}

impl Codes {
    pub(crate) fn encode(&self, text: &str) -> Vec<u8> {
        let mut coded = vec![];
        for token in tokens(text) {
            match self.0.get(token) {
                Some(&code) => write(&mut coded, code),
                None => {
                    coded.push(0);
                    write(&mut coded, token.len() as u32);
                    coded.extend(token.bytes());
                }
            }
        }
        coded
    }
}

impl Words {
    /// Checks what [`Words::parts`] gave; none if it is anything else.
    pub(crate) fn new(text: Vec<u8>, ends: Vec<u32>) -> Option<Words> {
        let text = String::from_utf8(text).ok()?;
        let whole = ends.last().map_or(0, |&end| end as usize) == text.len();
        let within = |&end: &u32| text.is_char_boundary(end as usize);
        let sound = whole && ends.is_sorted_by(|a, b| a < b) && ends.iter().all(within);
        sound.then_some(Words { text, ends })
    }

    /// The words' text, and where each ends.
    pub(crate) fn parts(&self) -> (&[u8], &[u32]) {
        (self.text.as_bytes(), &self.ends)
    }

    pub(crate) fn decode(&self, coded: &[u8]) -> Option<String> {
        let mut text = String::with_capacity(4 * coded.len());
        self.each(coded, |token| text.push_str(token))?;
        Some(text)
    }

    /// Whether [`Words::decode`] gives a text, without looking at the words.
    pub(crate) fn can_decode(&self, mut coded: &[u8]) -> bool {
        let literal = |coded: &mut &[u8]| {
            let length = read(coded)? as usize;
            let (token, rest) = coded.split_at_checked(length)?;
            *coded = rest;
            (length > 0 && std::str::from_utf8(token).is_ok()).then_some(())
        };
        while !coded.is_empty() {
            let sound = match read(&mut coded) {
                Some(0) => literal(&mut coded).is_some(),
                Some(number) => number as usize <= self.ends.len(),
                None => false,
            };
            if !sound {
                return false;
            }
        }
        true
    }

    /// Hands over the tokens, the spaces that go without saying among them; none where there is
    /// something else.
    fn each(&self, mut coded: &[u8], mut take: impl FnMut(&str)) -> Option<()> {
        let mut after_word = false;
        while !coded.is_empty() {
            let token = match read(&mut coded)?.checked_sub(1) {
                Some(number) => self.get(number as usize)?,
                None => {
                    let length = read(&mut coded)? as usize;
                    let (token, rest) = coded.split_at_checked(length)?;
                    coded = rest;
                    std::str::from_utf8(token).ok()?
                }
            };
            let is_word = token.chars().next()?.is_alphanumeric();
            if is_word && after_word {
                take(" ");
            }
            take(token);
            after_word = is_word;
        }
        Some(())
    }

    fn get(&self, number: usize) -> Option<&str> {
        let start = if number == 0 { 0 } else { *self.ends.get(number - 1)? };
        self.text.get(start as usize..*self.ends.get(number)? as usize)
    }
}

/// Words and what stands between them, but for single spaces between two words.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    let mut after_word = false;
    std::iter::from_fn(move || {
        let is_word = rest.chars().next()?.is_alphanumeric();
        let end = rest.find(|c: char| c.is_alphanumeric() != is_word).unwrap_or(rest.len());
        let (mut token, mut after) = rest.split_at(end);
        let mut word = is_word;
        if token == " " && after_word && !after.is_empty() {
            let end = after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len());
            (token, after) = after.split_at(end);
            word = true;
        }
        (rest, after_word) = (after, word);
        Some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_space_between_words_goes_without_saying() {
        let of = |text| tokens(text).collect::<Vec<_>>();
        assert_eq!(of("one two, three  four "), ["one", "two", ", ", "three", "  ", "four", " "]);
        assert_eq!(of(" ß1 é\n"), [" ", "ß1", "é", "\n"]);
        assert!(of("").is_empty());
    }

    #[test]
    fn every_text_comes_back() {
        let texts = [
            "",
            " ",
            "  ",
            "a",
            "a b",
            " a b ",
            "a  b",
            "a, b. c\n\nd",
            "日本語 の text",
            "!?",
            "é\u{301}",
            "a a a b b b, , , c",
            "- - -",
            "x\u{a0}y",
            "\u{0} \u{7f}",
        ];
        let long = "z".repeat(300);
        let mut counts = Counts::default();
        let all = || texts.into_iter().chain([long.as_str()]);
        (0..3).flat_map(|_| all()).for_each(|text| counts.add(text));
        let (words, codes) = counts.finish().unwrap();
        assert!(words.ends.len() > 5);
        let (text, ends) = words.parts();
        let words = Words::new(text.to_vec(), ends.to_vec()).unwrap();
        for text in all() {
            assert_eq!(words.decode(&codes.encode(text)).as_deref(), Some(text), "{text:?}");
        }
        assert_eq!(codes.encode("b b a").len(), 3);
        // Drawn from few letters, so that all kinds of neighbours occur.
        let mut state = 1u64;
        for _ in 0..2000 {
            let letters = (0..12).map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ['a', ' ', 'b', ',', ' ', 'é'][(state >> 33) as usize % 6]
            });
            let text: String = letters.collect();
            let coded = codes.encode(&text);
            assert_eq!(words.decode(&coded), Some(text));
            for at in 0..coded.len() {
                let mut broken = coded.clone();
                broken[at] ^= (state >> 40) as u8 | 1;
                assert_eq!(words.can_decode(&broken), words.decode(&broken).is_some());
                assert_eq!(words.can_decode(&coded[..at]), words.decode(&coded[..at]).is_some());
            }
        }
    }

    #[test]
    fn words_that_are_none_are_refused() {
        assert!(Words::new(b"ab".to_vec(), vec![1, 2]).is_some());
        for (text, ends) in [(&b"ab"[..], vec![1]), (b"ab", vec![2, 1]), (b"ab", vec![1, 1, 2])] {
            assert!(Words::new(text.to_vec(), ends).is_none());
        }
        assert!(Words::new("é".as_bytes().to_vec(), vec![1, 2]).is_none());
        assert!(Words::new(vec![0xff], vec![1]).is_none());
        let words = Words::new(b"ab".to_vec(), vec![1, 2]).unwrap();
        for coded in [&[3][..], &[0, 5, b'a'], &[0, 0], &[0x80], &[0, 1, 0xff]] {
            assert!(words.decode(coded).is_none() && !words.can_decode(coded), "{coded:?}");
        }
    }
}
