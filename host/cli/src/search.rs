//! `trine search`: the passages that the retriever finds, with the words of the query marked.

use std::io::{IsTerminal, stdout};
use std::ops::Range;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::args::{Common, Search};
use crate::ask::{self, Reading};

/// Candidates that are printed when the command line does not say.
const TOP_K: u32 = 10;

/// Searches and prints; false when nothing was found.
pub fn run(args: Search, common: &Common) -> Result<bool> {
    let runtime = ask::runtime()?;
    let node = ask::open(&args.bundle, common)?;
    let mut body = args.options.request(&args.query);
    body.insert("top_k".to_owned(), json!(args.options.top_k.unwrap_or(TOP_K)));
    body.insert("snippet".to_owned(), json!(args.snippet));
    let json = runtime.block_on(ask::post(&node, "/v1/retrieve", &body.into()))?;
    let found: Found = serde_json::from_slice(&json).context("reading what was found")?;
    if args.json {
        out!("{}", String::from_utf8_lossy(&json));
    } else {
        print(&found);
    }
    Ok(!found.candidates.is_empty())
}

#[derive(Deserialize)]
struct Found {
    #[serde(flatten)]
    reading: Reading,
    candidates: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    #[serde(flatten)]
    passage: Passage,
    headings: Vec<String>,
    snippet: Snippet,
    #[serde(default)]
    context: Vec<Passage>,
}

#[derive(Clone, Deserialize)]
struct Passage {
    source: String,
    text: String,
    start: u64,
    end: u64,
}

#[derive(Deserialize)]
struct Snippet {
    text: String,
    highlights: Vec<Span>,
}

#[derive(Deserialize)]
struct Span {
    start: usize,
    end: usize,
}

fn print(found: &Found) {
    let marks = match stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => Some(("\x1b[1m", "\x1b[22m")),
        false => None,
    };
    if found.candidates.is_empty() {
        out!("Nothing was found.");
    }
    for (number, candidate) in found.candidates.iter().enumerate() {
        let Passage { source, start, end, .. } = &candidate.passage;
        let path = ask::path(source, &candidate.headings);
        out!("[{}] {path}, bytes {start}..{end}", number + 1);
        for text in shown(candidate, marks) {
            text.lines().for_each(|line| out!("    {line}"));
        }
        out!("");
    }
    found.reading.print();
}

/// The snippet, or with what is around a passage all of it, in the document's order.
fn shown(candidate: &Candidate, marks: Option<(&str, &str)>) -> Vec<String> {
    if candidate.context.is_empty() {
        let spans = candidate.snippet.highlights.iter().map(|span| span.start..span.end);
        return vec![marked(&candidate.snippet.text, spans, marks)];
    }
    let mut passages = candidate.context.clone();
    passages.push(candidate.passage.clone());
    passages.sort_by_key(|passage| passage.start);
    passages.into_iter().map(|passage| passage.text).collect()
}

/// `text` with each of the spans, which are in order and apart, between the marks.
fn marked(
    text: &str,
    spans: impl Iterator<Item = Range<usize>>,
    marks: Option<(&str, &str)>,
) -> String {
    let Some((open, close)) = marks else { return text.to_owned() };
    let (mut out, mut at) = (String::new(), 0);
    for span in spans {
        if let (Some(before), Some(word)) = (text.get(at..span.start), text.get(span.clone())) {
            out.extend([before, open, word, close]);
            at = span.end;
        }
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_marked_where_a_terminal_shows_it() {
        let spans = || [2..5, 3..6, 7..99, 11..13].into_iter();
        assert_eq!(marked("a été bc de.", spans(), Some(("<", ">"))), "a <ét>é bc <de>.");
        assert_eq!(marked("a été bc de.", spans(), None), "a été bc de.");
    }
}
