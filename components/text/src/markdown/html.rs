//! The text in a piece of HTML that stands in Markdown.
//!
//! Not an HTML parser: it tells tags from text in the few lines of HTML that Markdown
//! writers use. Whole HTML documents are parsed where they are read.

use std::borrow::Cow;
use std::ops::Range;

/// A run of text between tags.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its bytes.
    pub range: Range<usize>,
    /// Whether a tag before it ends the line, as `<p>` does and `<b>` does not.
    pub starts_line: bool,
}

/// Elements whose text runs on with the text around them.
const INLINE: [&str; 22] = [
    "a", "abbr", "b", "br", "cite", "code", "del", "em", "i", "img", "ins", "kbd", "mark", "q",
    "s", "small", "span", "strong", "sub", "sup", "td", "u",
];

/// The text of `html` without tags, comments, scripts and styles.
pub(super) fn text(html: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut at, mut starts_line) = (0, true);
    while at < html.len() {
        let rest = &html[at..];
        let markup = markup_len(rest);
        if markup > 0 {
            starts_line |= !INLINE.contains(&tag_name(rest).as_str());
            at += markup;
            continue;
        }
        // A `<` that opens no tag is text.
        let next = rest.char_indices().skip(1).find(|(_, c)| *c == '<');
        let len = next.map_or(rest.len(), |(at, _)| at);
        let range = at..at + len;
        if !rest[..len].trim().is_empty() {
            pieces.push(Piece { range, starts_line: std::mem::take(&mut starts_line) });
        }
        at += len;
    }
    pieces
}

/// Bytes of the tag, comment, script or style that `rest` starts with; 0 if it starts
/// with text. What never closes runs to the end.
fn markup_len(rest: &str) -> usize {
    let up_to = |end: &str| rest.find(end).map_or(rest.len(), |at| at + end.len());
    if rest.starts_with("<!--") {
        return up_to("-->");
    }
    let opens = |c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?');
    if !rest.starts_with('<') || !rest[1..].starts_with(opens) {
        return 0;
    }
    match tag_name(rest).as_str() {
        "script" if !rest.starts_with("</") => up_to("</script>"),
        "style" if !rest.starts_with("</") => up_to("</style>"),
        _ => up_to(">"),
    }
}

/// The name of the tag at the start of `rest`, in lower case; empty for a comment.
fn tag_name(rest: &str) -> String {
    let name = rest.trim_start_matches(['<', '/']);
    name.chars().take(16).take_while(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

/// The character references that Markdown writers use, as characters; line ends as
/// spaces, for HTML has no others.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    let characters = [
        ("\r", ""),
        ("\n", " "),
        ("&nbsp;", " "),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&mdash;", "—"),
        ("&ndash;", "–"),
        ("&rarr;", "→"),
        ("&copy;", "©"),
        ("&amp;", "&"),
    ];
    for (reference, character) in characters {
        if text.contains(reference) {
            text = Cow::Owned(text.replace(reference, character));
        }
    }
    text
}
