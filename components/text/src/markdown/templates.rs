//! The tags of static-site generators, `{% page "/leave" %}` and `{{ tabs "sdk" }}`:
//! markup that no Markdown parser knows.

use std::borrow::Cow;
use std::ops::Range;

use super::Block;

/// `body` with every template tag outside code replaced by what a reader would see of
/// it: nothing of a link target, else its arguments that are words and not file names.
pub(super) fn expand(body: &str, code: impl FnOnce() -> Vec<Range<usize>>) -> Cow<'_, str> {
    if tags(body).is_empty() {
        return Cow::Borrowed(body);
    }
    let mut out = String::with_capacity(body.len());
    let mut copied = 0;
    for tag in outside(tags(body), &code()) {
        out.push_str(&body[copied..tag.start]);
        if is_link_target(body, &tag) {
            out.push('#');
        } else {
            out.push_str(&words(&body[tag.clone()]));
        }
        copied = tag.end;
    }
    out.push_str(&body[copied..]);
    Cow::Owned(out)
}

/// Takes template tags outside code from the visible text of `blocks`.
pub(super) fn hide(body: &str, blocks: &mut [Block]) {
    let mut tags = tags(body);
    // The parser sees no link in `[text]({% page %})`, so the target's parentheses go
    // with the tag.
    for tag in &mut tags {
        if is_link_target(body, tag) {
            *tag = tag.start - 2..tag.end + 1;
        }
    }
    if tags.is_empty() {
        return;
    }
    for block in blocks {
        if block.kind != super::BlockKind::Code {
            let tags = outside(overlapping(&tags, &block.content), &block.code);
            block.text = without(&block.text, &tags);
        }
    }
}

/// `{%...%}` and `{{...}}` in `body`, in order.
fn tags(body: &str) -> Vec<Range<usize>> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(open) = body[at..].find('{').map(|found| at + found) {
        let close = match body.as_bytes().get(open + 1) {
            Some(b'%') => "%}",
            Some(b'{') => "}}",
            _ => {
                at = open + 1;
                continue;
            }
        };
        match paragraph(&body[open + 2..]).find(close) {
            Some(len) => {
                at = open + 2 + len + close.len();
                tags.push(open..at);
            }
            None => at = open + 2,
        }
    }
    tags
}

/// As far as a tag may reach: its paragraph, and not without bound.
fn paragraph(text: &str) -> &str {
    const MAX_BYTES: usize = 4096;
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    &text[..text.find("\n\n").unwrap_or(text.len())]
}

fn is_link_target(body: &str, tag: &Range<usize>) -> bool {
    body[..tag.start].ends_with("](") && body[tag.end..].starts_with(')')
}

/// The quoted arguments of a tag that are for readers: not those that name a file.
fn words(tag: &str) -> String {
    let arguments = tag.split('"').skip(1).step_by(2);
    let shown = arguments.filter(|a| a.contains(' ') || !a.contains(['/', '.']));
    shown.collect::<Vec<_>>().join(" ")
}

/// Those of `ranges` that touch `within`; both in order.
fn overlapping(ranges: &[Range<usize>], within: &Range<usize>) -> Vec<Range<usize>> {
    let first = ranges.partition_point(|range| range.end <= within.start);
    let found = ranges[first..].iter().take_while(|range| range.start < within.end);
    found.cloned().collect()
}

/// Those of `ranges` that touch none of `others`; both in order.
fn outside(ranges: Vec<Range<usize>>, others: &[Range<usize>]) -> Vec<Range<usize>> {
    ranges.into_iter().filter(|range| overlapping(others, range).is_empty()).collect()
}

/// `ranges` less `holes`; both in order.
fn without(ranges: &[Range<usize>], holes: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut left = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut start = range.start;
        for hole in overlapping(holes, range) {
            if start < hole.start {
                left.push(start..hole.start);
            }
            start = start.max(hole.end);
        }
        if start < range.end {
            left.push(start..range.end);
        }
    }
    left
}
