//! Where sentences begin and end.
//!
//! Unicode's sentence boundaries (UAX #29) on a text in which markup is out of the way,
//! with the corrections that running text needs: hard-wrapped lines, abbreviations,
//! numbered lists. Ranges are of the verbatim text, so that a sentence can be quoted
//! with offsets that hold.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use crate::markdown::{self, Block, BlockKind};

/// Byte ranges of the sentences of `text`, in order and apart from each other, without
/// surrounding white space.
///
/// In plain text a blank line ends a sentence and a line end alone does not. Of
/// Markdown, paragraphs and list items are split, a table row and a code block are one
/// sentence each, and headings, table headers, comments, tags and front matter are none.
pub fn sentences(text: &str, markdown: bool) -> Vec<Range<usize>> {
    if markdown {
        let blocks = markdown::blocks(text);
        blocks.iter().flat_map(|block| block_sentences(text, block)).collect()
    } else {
        split_paragraphs(text, 0)
    }
}

/// The sentences of one block of a Markdown text, as [`sentences`] has them.
pub fn block_sentences(text: &str, block: &Block) -> Vec<Range<usize>> {
    match block.kind {
        BlockKind::Heading(_) | BlockKind::TableHead | BlockKind::Markup => Vec::new(),
        BlockKind::Code | BlockKind::TableRow if block.content.is_empty() => Vec::new(),
        BlockKind::Code => vec![block.content.clone()],
        BlockKind::TableRow => vec![block.range.clone()],
        BlockKind::Text => split_paragraphs(&without_markup(text, block), block.content.start),
    }
}

/// The sentences of a text that begins at byte `offset`.
fn split_paragraphs(text: &str, offset: usize) -> Vec<Range<usize>> {
    let paragraphs = paragraphs(text).into_iter();
    paragraphs.flat_map(|range| split(&text[range.clone()], offset + range.start)).collect()
}

/// Byte ranges of the paragraphs of a plain text, without surrounding white space: what
/// blank lines separate, and each item of a list.
pub fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut paragraphs: Vec<Range<usize>> = Vec::new();
    let (mut at, mut open) = (0, false);
    for line in text.split_inclusive('\n') {
        let mut range = at..at + line.len();
        at = range.end;
        markdown::trim(text, &mut range);
        match paragraphs.last_mut() {
            _ if range.is_empty() => open = false,
            Some(last) if open && !is_list_item(line) => last.end = range.end,
            _ => {
                paragraphs.push(range);
                open = true;
            }
        }
    }
    paragraphs
}

/// `- item`, `• item`, `1. item`, `2) item`, `(iv) item`, `a. item`.
fn is_list_item(line: &str) -> bool {
    let Some((marker, _)) = line.trim_start().split_once(' ') else {
        return false;
    };
    if matches!(marker, "-" | "*" | "+" | "•") {
        return true;
    }
    let label = marker.strip_prefix('(').unwrap_or(marker);
    let bracketed = label.len() < marker.len();
    let Some(label) = label.strip_suffix(')').or(label.strip_suffix('.').filter(|_| !bracketed))
    else {
        return false;
    };
    let number = label.len() <= 2 && label.bytes().all(|b| b.is_ascii_digit());
    let letter = label.len() == 1 && label.bytes().all(|b| b.is_ascii_lowercase());
    let roman = label.len() <= 4 && label.bytes().all(|b| matches!(b, b'i' | b'v' | b'x'));
    !label.is_empty() && (number || letter || roman)
}

/// The block's content, byte for byte as long, in which markup cannot be taken for a
/// sentence's end: closing brackets stand for it, and capitals for code.
fn without_markup(text: &str, block: &Block) -> String {
    let content = &text[block.content.clone()];
    let at =
        |range: &Range<usize>| range.start - block.content.start..range.end - block.content.start;
    // In a continued line the markers of quotes are markup as well.
    let mask = |byte: u8| match byte {
        b'>' => b' ',
        _ if byte.is_ascii_whitespace() => byte,
        _ => b')',
    };
    let mut bytes: Vec<u8> = content.bytes().map(mask).collect();
    for range in &block.text {
        bytes[at(range)].copy_from_slice(&content.as_bytes()[at(range)]);
    }
    for range in &block.code {
        bytes[at(range)].fill(b'X');
    }
    // Nobody can quote half a link.
    for link in &block.links {
        let link = &mut bytes[at(link)];
        for nth in 1..link.len() {
            if link[nth].is_ascii_whitespace() && matches!(link[nth - 1], b'.' | b'!' | b'?') {
                link[nth - 1] = b',';
            }
        }
    }
    // Only whole ranges of valid text were put back over ASCII.
    String::from_utf8(bytes).unwrap_or_else(|_| content.to_owned())
}

/// The sentences of one paragraph that begins at byte `offset`; `paragraph` may have its
/// markup masked.
fn split(paragraph: &str, offset: usize) -> Vec<Range<usize>> {
    // Line ends would end sentences (rule SB4), so they are spaces here.
    let unwrapped = paragraph.replace(['\n', '\r', '\t', '\u{c}'], " ");
    let unwrapped = without_citations(unwrapped);
    let mut sentences: Vec<Range<usize>> = Vec::new();
    let mut joined = false;
    for (start, segment) in unwrapped.split_sentence_bound_indices() {
        let end = start + segment.len();
        match sentences.last_mut() {
            Some(last) if joined => last.end = end,
            _ => sentences.push(start..end),
        }
        joined = sentences
            .last()
            .is_some_and(|last| goes_on(&unwrapped[last.clone()], &unwrapped[end..]));
    }
    sentences.iter_mut().for_each(|range| markdown::trim(&unwrapped, range));
    sentences.retain(|range| unwrapped[range.clone()].contains(char::is_alphanumeric));
    sentences.into_iter().map(|range| range.start + offset..range.end + offset).collect()
}

/// The text, as long, with closing brackets for the numbers in `[12]` and `[^1]`: a citation behind
/// a full stop belongs to the sentence before it.
fn without_citations(text: String) -> String {
    if !text.contains('[') {
        return text;
    }
    let mut bytes = text.clone().into_bytes();
    let mut at = 0;
    while let Some(open) = bytes[at..].iter().position(|b| *b == b'[').map(|found| at + found) {
        let inside = |b: &&u8| b.is_ascii_digit() || matches!(**b, b')' | b'^');
        at = open + 1 + bytes[open + 1..].iter().take_while(inside).count();
        if bytes.get(at) == Some(&b']') {
            bytes[open + 1..at].fill(b')');
        }
    }
    // ASCII was put for ASCII.
    String::from_utf8(bytes).unwrap_or(text)
}

/// Always followed by what they abbreviate for.
const BEFORE_A_NAME: [&str; 22] = [
    "adm", "approx", "capt", "cf", "col", "dr", "e.g", "eg", "fig", "figs", "gen", "gov", "i.e",
    "mr", "mrs", "ms", "mt", "prof", "rev", "sen", "st", "vs",
];
/// Abbreviations before a number, words of their own elsewhere.
const BEFORE_A_NUMBER: [&str; 12] =
    ["art", "ch", "eq", "no", "nos", "p", "para", "pp", "pt", "sec", "vol", "ver"];
/// Abbreviations that also end sentences.
const ANYWHERE: [&str; 14] = [
    "al", "assn", "co", "corp", "dept", "est", "etc", "inc", "jr", "ltd", "ph.d", "sr", "univ", "v",
];
/// Words that seldom follow an abbreviation but often begin a sentence.
const OPENERS: [&str; 40] = [
    "A", "After", "All", "An", "As", "At", "Because", "Before", "But", "By", "Each", "Every",
    "For", "From", "He", "How", "However", "I", "If", "In", "It", "Its", "No", "On", "Our",
    "Please", "She", "Some", "That", "The", "There", "These", "They", "This", "To", "We", "What",
    "When", "You", "Your",
];

/// Whether `rest` goes on with the `sentence`: no space is between them, or the full
/// stop is an abbreviation's or a list number's.
fn goes_on(sentence: &str, rest: &str) -> bool {
    let quotes = ['(', ')', '[', ']', '"', '\'', '“', '”', '‘', '’'];
    let closers = |c: char| c.is_whitespace() || quotes.contains(&c);
    let closed = sentence.trim_end_matches(closers);
    if closed.ends_with(['.', '!', '?']) && !sentence.ends_with(char::is_whitespace) {
        return true;
    }
    let Some(stem) = closed.strip_suffix('.') else {
        return false;
    };
    let word = stem.rsplit(char::is_whitespace).next().unwrap_or(stem);
    let is_whole = word.len() == stem.trim_start().len();
    let word = word.trim_start_matches(quotes);
    let single = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    let numeral = !word.is_empty() && word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit());
    if is_whole && (numeral || single) {
        return true;
    }
    let next = rest.trim_start_matches(closers);
    let lower = word.to_lowercase();
    if BEFORE_A_NAME.contains(&lower.as_str()) {
        return true;
    }
    if BEFORE_A_NUMBER.contains(&lower.as_str()) && next.starts_with(|c: char| c.is_ascii_digit()) {
        return true;
    }
    let initials = word.contains('.') && word.split('.').all(|part| part.chars().count() == 1);
    let initial = single && word.chars().all(char::is_uppercase);
    let opener = next.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(next);
    (initial || initials || ANYWHERE.contains(&lower.as_str())) && !OPENERS.contains(&opener)
}
