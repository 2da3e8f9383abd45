//! The leaf blocks of a Markdown document and where they lie.

use std::ops::Range;

use pulldown_cmark::{Event, Tag, TagEnd};

use super::{body, events, html, is_inline, templates, trim};

/// What a [`Block`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// A heading of level 1 to 6.
    Heading(u8),
    /// A paragraph, or the text of one list item.
    Text,
    /// The header row of a table.
    TableHead,
    /// A row of a table.
    TableRow,
    /// A fenced or indented code block.
    Code,
    /// HTML without any text: a comment, an opening or closing tag.
    Markup,
}

/// A leaf block of a document: blocks do not nest, do not overlap, and are in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its bytes, list marker, quote marker and code fence included.
    pub range: Range<usize>,
    /// Its bytes without leading markers and fences; empty for [`BlockKind::Markup`].
    pub content: Range<usize>,
    /// The visible text in `content`, in order; everything else there is markup.
    pub(crate) text: Vec<Range<usize>>,
    /// The code spans in `content`, in order.
    pub(crate) code: Vec<Range<usize>>,
    /// The links and images in `content`, targets included; nested ones overlap.
    pub(crate) links: Vec<Range<usize>>,
}

/// The leaf blocks of a document, in order, with byte ranges into `markdown`; front
/// matter, thematic breaks and link definitions belong to none.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let body = body(markdown);
    let offset = markdown.len() - body.len();
    let mut outline = Outline::new(body);
    for (event, range) in events(body) {
        outline.push(event, range);
    }
    let mut blocks = outline.blocks;
    templates::hide(body, &mut blocks);
    blocks.iter_mut().for_each(|block| block.shift(offset));
    blocks
}

/// The blocks found so far.
struct Outline<'a> {
    body: &'a str,
    blocks: Vec<Block>,
    /// The block whose inline content is being read.
    open: Option<Block>,
    /// Where the list items and quotes begin whose first content is yet to come.
    marker: Option<usize>,
    /// Whether `open` is a table row, a code block or a heading, which end by themselves.
    fixed: bool,
    /// Whether an HTML block is being read, which is looked at as a whole.
    in_html: bool,
}

impl<'a> Outline<'a> {
    fn new(body: &'a str) -> Self {
        Outline { body, blocks: Vec::new(), open: None, marker: None, fixed: false, in_html: false }
    }

    fn push(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::End(TagEnd::HtmlBlock) => {
                self.in_html = false;
                self.html(range);
            }
            _ if self.in_html => {}
            Event::Start(Tag::HtmlBlock) => {
                self.close();
                self.in_html = true;
            }
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => {
                self.extend(&range).links.push(range);
            }
            Event::Start(tag) if is_inline(&tag.to_end()) => {
                self.extend(&range);
            }
            Event::Start(tag) => self.start(&tag, range),
            Event::End(TagEnd::TableCell) => {}
            Event::End(tag) if is_inline(&tag) => {}
            Event::End(tag) => self.end(&tag),
            Event::Text(_) => self.extend(&range).text.push(range),
            Event::Code(_) => self.extend(&range).code.push(range),
            Event::Rule => {}
            _ => {
                self.extend(&range);
            }
        }
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::TableCell => {}
            Tag::Heading { level, .. } => self.open_fixed(BlockKind::Heading(*level as u8), range),
            Tag::CodeBlock(_) => self.open_fixed(BlockKind::Code, range),
            Tag::TableHead => self.open_fixed(BlockKind::TableHead, range),
            Tag::TableRow => self.open_fixed(BlockKind::TableRow, range),
            Tag::Item | Tag::BlockQuote(_) | Tag::FootnoteDefinition(_) => {
                self.close();
                self.marker.get_or_insert(range.start);
            }
            _ => self.close(),
        }
    }

    fn end(&mut self, tag: &TagEnd) {
        self.fixed = false;
        self.close();
        match tag {
            TagEnd::Item | TagEnd::BlockQuote(_) | TagEnd::FootnoteDefinition => self.marker = None,
            _ => {}
        }
    }

    fn open_fixed(&mut self, kind: BlockKind, range: Range<usize>) {
        self.close();
        self.open = Some(Block::new(kind, range));
        self.fixed = true;
    }

    /// Takes an inline element's bytes into the open block.
    fn extend(&mut self, range: &Range<usize>) -> &mut Block {
        let block = self.open.get_or_insert_with(|| Block::new(BlockKind::Text, range.clone()));
        if block.content.is_empty() {
            block.content = range.clone();
        }
        block.content.end = block.content.end.max(range.end);
        block.range.end = block.range.end.max(range.end);
        block
    }

    fn close(&mut self) {
        if self.fixed {
            return;
        }
        let Some(mut block) = self.open.take() else {
            return;
        };
        block.range.start = self.marker.take().unwrap_or(block.range.start);
        trim(self.body, &mut block.range);
        trim(self.body, &mut block.content);
        let Range { start, end } = block.content;
        for range in block.inner() {
            *range = range.start.clamp(start, end)..range.end.clamp(start, end);
        }
        if !block.range.is_empty() {
            self.blocks.push(block);
        }
    }

    /// An HTML block becomes a block a line of its text.
    fn html(&mut self, range: Range<usize>) {
        let first = self.blocks.len();
        for piece in html::text(&self.body[range.clone()]) {
            let piece_range = range.start + piece.range.start..range.start + piece.range.end;
            if piece.starts_line {
                self.close();
            }
            self.extend(&piece_range).text.push(piece_range);
        }
        self.close();
        if let Some(block) = self.blocks.get_mut(first) {
            block.range.start = block.range.start.min(range.start);
        } else {
            self.open = Some(Block::new(BlockKind::Markup, range));
            self.close();
        }
    }
}

impl Block {
    fn new(kind: BlockKind, range: Range<usize>) -> Block {
        let content = range.start..range.start;
        let (text, code, links) = Default::default();
        Block { kind, range, content, text, code, links }
    }

    /// The ranges within `content`.
    fn inner(&mut self) -> impl Iterator<Item = &mut Range<usize>> {
        self.text.iter_mut().chain(&mut self.code).chain(&mut self.links)
    }

    fn shift(&mut self, offset: usize) {
        let shift = |range: &mut Range<usize>| *range = range.start + offset..range.end + offset;
        self.inner().for_each(shift);
        shift(&mut self.range);
        shift(&mut self.content);
    }
}
