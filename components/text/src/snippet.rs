//! The piece of a passage that shows why it was found.
//!
//! A snippet is a slice of the passage, so that its offsets hold in the document: the window with
//! the most different words of the query, begun and ended where sentences are, else between words.

use std::collections::HashSet;
use std::ops::Range;

use crate::sentences::sentences;

/// A piece of a text and the highlights that lie in it, all as byte ranges of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// What is shown.
    pub range: Range<usize>,
    /// What of it is marked, in order.
    pub highlights: Vec<Range<usize>>,
}

/// The best window of at most `longest` bytes around `highlights`, or the text's beginning where
/// there are none; all of a text that is no longer. Highlights that are no slices of the text are
/// left out.
pub fn snippet(text: &str, markdown: bool, highlights: &[Range<usize>], longest: usize) -> Snippet {
    let mut marks: Vec<Range<usize>> = highlights.to_vec();
    marks.retain(|mark| text.get(mark.clone()).is_some_and(|marked| !marked.is_empty()));
    marks.sort_unstable_by_key(|mark| (mark.start, mark.end));
    let range = match text.len() <= longest {
        true => 0..text.len(),
        false => window(text, markdown, &richest(text, &marks, longest), longest),
    };
    let range = trimmed(text, range);
    marks.retain(|mark| range.start <= mark.start && mark.end <= range.end);
    Snippet { range, highlights: marks }
}

/// From the first to the last of those marks that lie within `longest` bytes and have the most
/// different words; of equals the closest together.
fn richest(text: &str, marks: &[Range<usize>], longest: usize) -> Range<usize> {
    let words: Vec<String> = marks.iter().map(|mark| text[mark.clone()].to_lowercase()).collect();
    let (mut best, mut most) = (0..0, 0);
    for (first, mark) in marks.iter().enumerate() {
        let mut different = HashSet::new();
        let near = marks[first..].iter().take_while(|other| other.end <= mark.start + longest);
        for (other, word) in near.zip(&words[first..]) {
            let core = mark.start..other.end.max(mark.end);
            if different.insert(word)
                && (different.len() > most || different.len() == most && core.len() < best.len())
            {
                most = different.len();
                best = core;
            }
        }
    }
    best
}

/// At most `longest` bytes of a longer text, with `core` in it.
fn window(text: &str, markdown: bool, core: &Range<usize>, longest: usize) -> Range<usize> {
    let spare = longest.saturating_sub(core.len());
    let sentences = sentences(text, markdown);
    let earliest = core.start.saturating_sub(spare);
    let begins = sentences.iter().map(|sentence| sentence.start);
    let start = match begins.take_while(|&at| at <= core.start).last() {
        Some(at) if at >= earliest => at,
        _ if core.start <= spare / 2 => 0,
        _ => after_space(text, core.start - spare / 2, core.start),
    };
    let limit = text.floor_char_boundary((start + longest).min(text.len()));
    let ends = sentences.iter().map(|sentence| sentence.end);
    let enough = core.end.max(start + longest * 2 / 3);
    let end = match ends.take_while(|&at| at <= limit).last() {
        Some(at) if at >= enough => at,
        _ => before_space(text, core.end.max(start), limit),
    };
    start..end
}

/// The first start of a word in `from..=to`; `from` where there is none.
fn after_space(text: &str, from: usize, to: usize) -> usize {
    let from = text.ceil_char_boundary(from);
    let space = text.get(from..to).and_then(|near| near.find(char::is_whitespace));
    space.map_or(from, |at| from + at)
}

/// The last end of a word in `from..=to`; `to` where there is none.
fn before_space(text: &str, from: usize, to: usize) -> usize {
    if text[to..].starts_with(char::is_whitespace) {
        return to;
    }
    let space = text.get(from..to).and_then(|near| near.rfind(char::is_whitespace));
    space.map_or(to, |at| from + at)
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let shown = &text[range.clone()];
    let start = range.start + (shown.len() - shown.trim_start().len());
    start..start + shown.trim().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place of these words.
    fn places(text: &str, words: &[&str]) -> Vec<Range<usize>> {
        let of = |word: &&str| -> Vec<Range<usize>> {
            text.match_indices(word).map(|(at, word)| at..at + word.len()).collect()
        };
        words.iter().flat_map(of).collect()
    }

    fn shown<'a>(text: &'a str, words: &[&str], longest: usize) -> (&'a str, Vec<&'a str>) {
        let found = snippet(text, true, &places(text, words), longest);
        assert!(found.range.len() <= longest, "{found:?}");
        let marked = found.highlights.iter().map(|mark| &text[mark.clone()]).collect();
        (&text[found.range], marked)
    }

    const TEXT: &str = "The counter opens at nine. A hand tool may be kept for fourteen days. \
        Power tools are another matter. For a power tool a **deposit** of forty euros is taken at \
        the counter. Bring the deposit slip when the tool comes back.";

    #[test]
    fn the_window_with_the_most_different_words_wins() {
        let (text, marked) = shown(TEXT, &["tool", "deposit", "forty"], 90);
        assert_eq!(text, "For a power tool a **deposit** of forty euros is taken at the counter.");
        assert_eq!(marked, ["tool", "deposit", "forty"]);
    }

    #[test]
    fn a_short_text_is_shown_whole_and_without_marks_the_beginning_is() {
        assert_eq!(shown("  a tool \n", &["tool"], 99), ("a tool", vec!["tool"]));
        assert_eq!(shown(TEXT, &[], 75).0, &TEXT[..69]);
        assert_eq!(shown("", &[], 9), ("", vec![]));
    }

    #[test]
    fn long_sentences_are_cut_between_words() {
        let (text, marked) = shown(TEXT, &["forty"], 24);
        assert_eq!((text, marked), ("of forty euros is taken", vec!["forty"]));
        let (text, marked) = shown("日本語の文章はとても長いです", &["とても"], 15);
        assert!(text.contains("とても") && marked == ["とても"], "{text}");
    }

    #[test]
    fn marks_outside_of_the_text_are_left_out() {
        let wrong = [3..1, 40..50, 1..2, 0..3, 2..2, 5..usize::MAX];
        let found = snippet("éa bc", false, &wrong, 100);
        assert_eq!(found.highlights, [0..3]);
        for longest in 0..8 {
            let found = snippet("ééé ééé ééé", false, &[0..2, 7..20, 14..16], longest);
            assert!(found.range.len() <= longest, "{found:?}");
        }
    }
}
