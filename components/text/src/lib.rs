//! How text becomes what a model reads: plain text, sentences, tokens.
//!
//! One library for both sides of the wasm boundary: the host uses it to build an
//! index, the guests to answer from it, so both see the same tokens.

pub mod markdown;
pub mod questions;
pub mod quotable;
pub mod sentences;
pub mod snippet;
pub mod tokens;
pub mod words;

/// `text` without its markup, where `markdown` says that it has any.
pub fn plain(text: &str, markdown: bool) -> String {
    if markdown { markdown::plain(text) } else { text.to_owned() }
}

/// What an encoder reads of a passage: title, headings and plain text, a line each.
///
/// `markdown` says that `text` is Markdown whose markup is to be removed; the empty
/// title and no headings leave the text alone.
pub fn passage_input(title: &str, headings: &[String], text: &str, markdown: bool) -> String {
    let plain = plain(text, markdown);
    let mut input = String::with_capacity(title.len() + plain.len() + 64);
    for part in std::iter::once(title).chain(headings.iter().map(String::as_str)) {
        if !part.is_empty() {
            input.push_str(part);
            input.push('\n');
        }
    }
    input.push_str(&plain);
    input
}
