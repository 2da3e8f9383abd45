//! A document as sections, a section as blocks.

use std::ops::Range;

use trine_index::MediaType;
use trine_text::markdown::{self, BlockKind};
use trine_text::sentences;

use crate::document::{Document, heading_text};

/// What stands under one heading, or before the first.
pub(super) struct Section {
    /// The headings above it, its own last, without the document's title.
    pub path: Vec<String>,
    /// Where its heading begins.
    pub start: usize,
    /// What is under the heading.
    pub body: Range<usize>,
    /// The blocks of the body, in order.
    pub blocks: Vec<Block>,
}

/// A paragraph, list item, table row or piece of code.
pub(super) struct Block {
    /// Where it begins, list markers and fences included.
    pub start: usize,
    /// Where its second and further sentences begin.
    pub sentence_starts: Vec<usize>,
    /// Whether it is code.
    pub is_code: bool,
}

/// The sections of a document in order; plain text is one.
pub(super) fn sections(document: &Document) -> Vec<Section> {
    match document.media_type {
        MediaType::Markdown => markdown_sections(document),
        MediaType::Plain => vec![plain_section(document)],
    }
}

fn plain_section(document: &Document) -> Section {
    let start = document.body_start();
    let body = &document.text[start..];
    let block = |range: Range<usize>| {
        let sentences = sentences::sentences(&body[range.clone()], false);
        let offset = start + range.start;
        let sentence_starts = sentences.iter().skip(1).map(|s| s.start + offset).collect();
        Block { start: offset, sentence_starts, is_code: false }
    };
    let blocks = sentences::paragraphs(body).into_iter().map(block).collect();
    Section { path: Vec::new(), start, body: start..document.text.len(), blocks }
}

fn markdown_sections(document: &Document) -> Vec<Section> {
    let text = &document.text;
    let start = document.body_start();
    let mut headings = Headings::new(&document.title);
    let mut sections =
        vec![Section { path: Vec::new(), start, body: start..start, blocks: Vec::new() }];
    for block in markdown::blocks(text) {
        if let BlockKind::Heading(level) = block.kind {
            let path = headings.enter(level, heading_text(&text[block.range.clone()]));
            let body = block.range.end..block.range.end;
            sections.push(Section { path, start: block.range.start, body, blocks: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            let sentences = sentences::block_sentences(text, &block);
            section.blocks.push(Block {
                start: block.range.start,
                sentence_starts: sentences.iter().skip(1).map(|s| s.start).collect(),
                is_code: block.kind == BlockKind::Code,
            });
        }
    }
    let ends: Vec<usize> = sections.iter().skip(1).map(|s| s.start).chain([text.len()]).collect();
    for (section, end) in sections.iter_mut().zip(ends) {
        section.body.end = end;
    }
    sections
}

/// The headings above the place that is being read.
struct Headings<'a> {
    title: &'a str,
    /// Level and text; the text of a heading that repeats the title is empty.
    open: Vec<(u8, String)>,
}

impl<'a> Headings<'a> {
    fn new(title: &'a str) -> Self {
        Headings { title, open: Vec::new() }
    }

    /// The path of the section under a heading.
    fn enter(&mut self, level: u8, text: String) -> Vec<String> {
        self.open.retain(|(above, _)| *above < level);
        let repeats_title = text.to_lowercase() == self.title.to_lowercase();
        self.open.push((level, if repeats_title { String::new() } else { text }));
        let path = self.open.iter().map(|(_, text)| text);
        path.filter(|text| !text.is_empty()).cloned().collect()
    }
}
