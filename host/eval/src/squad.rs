//! How right an answer is, as SQuAD's official script for its version 2.0 counts it (Rajpurkar et
//! al. 2018, `evaluate-v2.0.py`). Where both texts have words, that of version 1.1 counts the same.

use std::collections::HashMap;

/// How like the expected answer one is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likeness {
    /// 1 where both read the same once they are normalised, else 0.
    pub exact: f64,
    /// The harmonic mean of the shares of words that each has of the other, 0 to 1.
    pub f1: f64,
}

/// How like one of several accepted answers `answer` is: the best of each measure.
///
/// Accepted answers without a word do not count, and where that leaves none, only an empty answer
/// is right.
pub fn likeness<'a>(answer: &str, accepted: impl IntoIterator<Item = &'a str>) -> Likeness {
    let answer = normalized(answer);
    let mut accepted: Vec<String> = accepted.into_iter().map(normalized).collect();
    accepted.retain(|text| !text.is_empty());
    if accepted.is_empty() {
        accepted.push(String::new());
    }
    let mut best = Likeness::default();
    for text in &accepted {
        best.exact = best.exact.max(f64::from(u8::from(*text == answer)));
        best.f1 = best.f1.max(f1(text, &answer));
    }
    best
}

/// In lower case, without ASCII punctuation, without English articles, words one space apart.
pub fn normalized(text: &str) -> String {
    let lower = text.to_lowercase();
    let plain: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    without_articles(&plain)
        .split(is_space)
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A space where `a`, `an` or `the` was that no letter or digit touches.
fn without_articles(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(char::is_alphanumeric) {
        let end = rest[start..].find(|c: char| !c.is_alphanumeric());
        let end = end.map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        out.push_str(&rest[..start]);
        out.push_str(if matches!(word, "a" | "an" | "the") { " " } else { word });
        rest = &rest[end..];
    }
    out + rest
}

/// Python's white space: Unicode's, and four separators besides.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn f1(accepted: &str, answer: &str) -> f64 {
    let words = |text: &'_ str| text.split(' ').filter(|word| !word.is_empty()).count();
    let (expected, given) = (words(accepted), words(answer));
    if expected == 0 || given == 0 {
        return f64::from(u8::from(expected == given));
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    accepted.split(' ').for_each(|word| *left.entry(word).or_default() += 1);
    let mut shared = 0;
    for word in answer.split(' ') {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    if shared == 0 {
        return 0.0;
    }
    let (precision, recall) = (shared as f64 / given as f64, shared as f64 / expected as f64);
    2.0 * precision * recall / (precision + recall)
}
