//! Real documentation, cut whole: passages are verbatim, fit the window and leave
//! nothing out.

mod common;

use std::collections::HashMap;

use common::{documents, passages, shared, tokens, unpack};
use trine_corpus::{CutOptions, Cutting, Document, MediaType, Passage, ReadOptions};
use trine_text::markdown::{self, BlockKind};
use trine_text::passage_input;

#[test]
fn handbook() {
    check("gsa_tts_handbook", 246);
}

#[test]
fn spin_docs() {
    check("spin_docs", 184);
}

#[test]
fn rust_book() {
    check("rust_book", 112);
}

#[test]
fn security_controls() {
    check("nist_800_53_rev5_high", 370);
}

fn check(name: &str, files: u64) {
    let Some(archive) = shared(&format!("data/docs/{name}.tar.gz")) else {
        return;
    };
    let folder = unpack(&archive);
    let (documents, read) = documents(&[folder.path()], ReadOptions::default());
    assert_eq!((read.documents, read.skipped.len()), (files, 0), "{read:?}");

    let count = tokens();
    let options = CutOptions::default();
    let (all, report) = passages(&[folder.path()], &count, options);
    assert_eq!(report.documents + report.skipped.len() as u64, files);
    assert_eq!(report.passages, all.len() as u64);
    assert!(report.skipped.iter().all(|s| s.reason.contains("no text")), "{:?}", report.skipped);
    assert!(report.skipped.len() < files as usize / 10);

    let mut by_source: HashMap<&str, Vec<&Passage>> = HashMap::new();
    for passage in &all {
        by_source.entry(&passage.source).or_default().push(passage);
        let markdown = passage.media_type == MediaType::Markdown;
        let input = passage_input(&passage.title, &passage.headings, &passage.text, markdown);
        let tokens = count(&input) + options.special;
        assert!(tokens <= options.window, "{tokens} tokens: {passage:#?}");
        assert!(passage.text.len() < 16_384, "{} bytes: {passage:#?}", passage.text.len());
    }
    for document in &documents {
        let passages = by_source.remove(document.source.as_str()).unwrap_or_default();
        assert_verbatim_and_in_order(document, &passages);
        assert_covered(document, &passages);
    }
    assert!(by_source.is_empty());
}

fn assert_verbatim_and_in_order(document: &Document, passages: &[&Passage]) {
    for passage in passages {
        let slice = &document.text[passage.start as usize..passage.end as usize];
        assert_eq!(passage.text, slice);
        assert_eq!(slice, slice.trim());
        assert_eq!(passage.title, document.title);
    }
    for pair in passages.windows(2) {
        assert!(pair[0].start < pair[1].start && pair[0].end < pair[1].end, "{pair:#?}");
    }
}

/// What is in no passage is white space, front matter, a heading, or nothing to read.
fn assert_covered(document: &Document, passages: &[&Passage]) {
    let mut bare = document.text.clone().into_bytes();
    bare[..document.body_start()].fill(b' ');
    let headings = markdown::blocks(&document.text).into_iter();
    let headings = headings.filter(|block| matches!(block.kind, BlockKind::Heading(_)));
    let passages = passages.iter().map(|passage| passage.start as usize..passage.end as usize);
    for range in headings.map(|block| block.range).chain(passages) {
        bare[range].fill(b' ');
    }
    let left = String::from_utf8(bare).unwrap();
    let visible = markdown::plain(left.trim());
    assert_eq!(visible.replace(['-', '*', '_', ' ', '\n'], ""), "", "{}", document.source);
}

#[test]
fn records_are_the_same_as_the_files() {
    let Some(records) = shared("data/docs/spin_docs.jsonl.gz") else {
        return;
    };
    let Some(archive) = shared("data/docs/spin_docs.tar.gz") else {
        return;
    };
    let folder = unpack(&archive);
    let (files, _) = documents(&[&folder.path().join("spin_docs")], ReadOptions::default());
    let (records, _) = documents(&[&records], ReadOptions::default());
    let texts: HashMap<_, _> =
        records.iter().map(|d| (&d.source, (&d.text, d.media_type))).collect();
    assert_eq!(files.len(), records.len());
    for file in &files {
        assert_eq!(texts[&file.source], (&file.text, MediaType::Markdown));
        assert!(!file.title.is_empty());
    }
}

#[test]
fn a_test_collection_is_a_passage_a_record() {
    let Some(records) = shared("data/ir/cacm/corpus.jsonl.gz") else {
        return;
    };
    let options = CutOptions { cutting: Cutting::Whole, ..CutOptions::default() };
    let (all, report) = passages(&[&records], &common::words, options);
    assert_eq!(all.len() as u64, report.documents);
    assert!(report.documents > 3000, "{report:?}");
    assert!(
        all.iter().any(|passage| passage.text.is_empty())
            && all.iter().all(|p| p.headings.is_empty())
    );
}
