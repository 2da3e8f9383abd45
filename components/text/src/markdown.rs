//! Markdown without its markup: what a reader sees of it, and where its blocks lie.
//!
//! CommonMark 0.31 with tables, strikethrough, footnotes, task lists and heading
//! attributes (`pulldown-cmark`), after front matter, with the tags of static-site
//! generators (`{% page "x" %}`, `{{ tabs }}`) read as markup. Everything works on a
//! fragment, because a passage is a slice of a document.

mod blocks;
mod front_matter;
mod html;
mod templates;

pub use blocks::{Block, BlockKind, blocks};
pub use front_matter::{FrontMatter, FrontMatterKind, front_matter};

use std::ops::Range;

use pulldown_cmark::{
    BrokenLink, CowStr, Event, LinkType, OffsetIter, Options, Parser, Tag, TagEnd,
};

/// The text a reader sees: a line for each heading, list item and paragraph, the cells
/// of a table row separated by ` | `, code as it stands; no emphasis marks, link
/// targets, tags, comments or front matter. Of an image the alternative text stays.
pub fn plain(markdown: &str) -> String {
    let body = body(markdown);
    let untemplated = templates::expand(body, || code_ranges(body));
    let mut page = Page::default();
    for (event, _) in events(&untemplated) {
        page.push(event);
    }
    page.finish()
}

/// What follows the front matter and the byte order mark.
fn body(markdown: &str) -> &str {
    let start = front_matter(markdown).map_or(0, |found| found.end);
    let body = &markdown[start..];
    body.strip_prefix('\u{feff}').unwrap_or(body)
}

/// `[text][label]` is a link even where its definition lies outside the fragment;
/// `[text]` alone is not, for it is more often an index or a placeholder.
type Resolver = for<'a> fn(BrokenLink<'a>) -> Option<(CowStr<'a>, CowStr<'a>)>;

fn events(body: &str) -> OffsetIter<'_, Resolver> {
    // The parser's own metadata blocks may stand anywhere, so that two thematic breaks
    // would hide what is between them: front matter is cut off beforehand instead.
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_GFM;
    let resolve: Resolver = |link| match link.link_type {
        LinkType::Shortcut | LinkType::ShortcutUnknown => None,
        _ => Some(("".into(), "".into())),
    };
    Parser::new_with_broken_link_callback(body, options, Some(resolve)).into_offset_iter()
}

/// Where code stands: in it, nothing is a template tag.
fn code_ranges(body: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for (event, range) in events(body) {
        if matches!(event, Event::Code(_) | Event::Start(Tag::CodeBlock(_))) {
            ranges.push(range);
        }
    }
    ranges
}

/// Plain text in the making.
#[derive(Default)]
struct Page {
    out: String,
    /// The HTML block being read: tags may run over several events.
    html: String,
    /// Cells so far in the table row being read.
    cells: usize,
}

impl Page {
    fn push(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) | Event::Code(text) => self.out.push_str(&text),
            Event::SoftBreak => self.out.push(' '),
            Event::HardBreak => self.end_line(),
            Event::Html(html) => self.html.push_str(&html),
            Event::InlineHtml(tag) if tag.starts_with("<br") => self.out.push(' '),
            Event::Start(Tag::TableRow | Tag::TableHead) => self.cells = 0,
            Event::Start(Tag::TableCell) => {
                if self.cells > 0 {
                    self.out.push_str(" | ");
                }
                self.cells += 1;
            }
            Event::End(TagEnd::HtmlBlock) => self.end_html(),
            Event::Start(tag) if !is_inline(&tag.to_end()) => self.end_line(),
            Event::End(tag) if !is_inline(&tag) && tag != TagEnd::TableCell => self.end_line(),
            _ => {}
        }
    }

    fn end_html(&mut self) {
        self.end_line();
        let html = std::mem::take(&mut self.html);
        for piece in html::text(&html) {
            let text = html::unescape(&html[piece.range]);
            if piece.starts_line {
                self.end_line();
                self.out.push_str(text.trim_start());
            } else {
                self.out.push_str(&text);
            }
        }
        self.end_line();
    }

    fn end_line(&mut self) {
        self.out.truncate(self.out.trim_end().len());
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn finish(mut self) -> String {
        self.end_line();
        self.out.truncate(self.out.trim_end().len());
        let lead = self.out.len() - self.out.trim_start_matches(['\n', '\r', ' ']).len();
        self.out.drain(..lead);
        self.out
    }
}

fn is_inline(tag: &TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image
    )
}

/// Takes the white space off both ends of a range.
pub(crate) fn trim(text: &str, range: &mut Range<usize>) {
    let slice = &text[range.clone()];
    range.end = range.start + slice.trim_end().len();
    range.start = range.end - text[range.clone()].trim_start().len();
}
