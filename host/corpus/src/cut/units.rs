//! The smallest pieces that passages are made of, each counted once.

use std::ops::Range;

use trine_index::MediaType;
use trine_text::markdown;

use super::outline::{Block, Section};
use crate::document::Document;

/// What a [`Unit`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sentence, table row or other block.
    Sentence,
    /// A piece of a sentence that does not fit the window.
    Piece,
    /// A code block, or the first lines of one that does not fit the window.
    Code,
    /// Further lines of such a code block.
    CodeRest,
    /// A heading between sections that are cut together.
    Heading,
}

/// A piece of a document; neighbours have nothing but white space between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub range: Range<usize>,
    /// What it takes of the window; 0 where there is nothing to read.
    pub tokens: usize,
    /// Number of its block within the section.
    pub block: usize,
    pub kind: Kind,
}

pub(super) fn tokens(units: &[Unit]) -> usize {
    units.iter().map(|unit| unit.tokens).sum()
}

/// Bytes of text that count as a token at least: a tokenizer may take a megabyte without
/// spaces for one unknown word, and no passage shall be that long.
const BYTES_PER_TOKEN: usize = 32;

/// The units of a section, none of more than `room` tokens where that can be helped.
pub(super) fn of_section(
    document: &Document,
    section: &Section,
    room: usize,
    count: &dyn Fn(&str) -> usize,
) -> Vec<Unit> {
    let text = &document.text;
    let markdown = document.media_type == MediaType::Markdown;
    let count = |range: &Range<usize>, markdown: bool| {
        let plain = if markdown {
            markdown::plain(&text[range.clone()])
        } else {
            text[range.clone()].to_owned()
        };
        let least = if plain.is_empty() { 0 } else { plain.len().div_ceil(BYTES_PER_TOKEN) };
        count(&plain).max(least)
    };
    let mut units = Vec::new();
    for (number, block) in section.blocks.iter().enumerate() {
        let is_code = block.is_code;
        for range in sentences(text, section, number, block) {
            let tokens = count(&range, markdown);
            let kind = if is_code { Kind::Code } else { Kind::Sentence };
            if tokens <= room {
                units.push(Unit { range, tokens, block: number, kind });
                continue;
            }
            for (nth, range) in pieces(text, range, is_code).into_iter().enumerate() {
                let kind = match (is_code, nth) {
                    (true, 0) => Kind::Code,
                    (true, _) => Kind::CodeRest,
                    (false, _) => Kind::Piece,
                };
                let tokens = count(&range, markdown && !is_code);
                units.push(Unit { range, tokens, block: number, kind });
            }
        }
    }
    units
}

/// The block from its start to the next one's, at its sentences.
fn sentences(text: &str, section: &Section, number: usize, block: &Block) -> Vec<Range<usize>> {
    let start = if number == 0 { section.body.start } else { block.start };
    let end = section.blocks.get(number + 1).map_or(section.body.end, |next| next.start);
    let mut bounds = vec![start];
    bounds.extend(&block.sentence_starts);
    bounds.push(end);
    let mut ranges: Vec<_> = bounds.windows(2).map(|pair| pair[0]..pair[1]).collect();
    ranges.iter_mut().for_each(|range| trim(text, range));
    ranges.retain(|range| !range.is_empty());
    ranges
}

/// Bytes of a piece: small enough that pieces of any script fill a window evenly.
const PIECE_BYTES: usize = 120;

/// Cuts what is too long: code at its lines, sentences at their words, and what has
/// neither at any character.
fn pieces(text: &str, range: Range<usize>, is_code: bool) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let mut end = (start + PIECE_BYTES).min(range.end);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if end < range.end {
            let piece = &text[start..end];
            let line = piece.rfind('\n').filter(|_| is_code).filter(|at| *at > 0);
            let cut = line.or_else(|| piece.rfind(char::is_whitespace).filter(|at| *at > 0));
            end = cut.map_or(end, |at| start + at);
        }
        let mut piece = start..end;
        trim(text, &mut piece);
        if !piece.is_empty() {
            pieces.push(piece);
        }
        start = end;
    }
    pieces
}

/// Takes the white space off both ends of a range.
pub(super) fn trim(text: &str, range: &mut Range<usize>) {
    let slice = &text[range.clone()];
    range.end = range.start + slice.trim_end().len();
    range.start = range.end - text[range.clone()].trim_start().len();
}
