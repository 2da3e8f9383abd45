//! Bundles that are damaged, cut, of another version or none at all: refused, by name, with what
//! to do, whichever way they are opened.

use std::fs;
use std::path::{Path, PathBuf};

use trine_bundle::Reader;
use trine_node::OpenOptions;
use trine_runtime::AppOptions;

use crate::command::{run, trine, trine_with_model};
use crate::fixture::{bundle, engine, limits, model, open, store};

/// A changed copy of the test bundle in a folder of its own.
struct Changed {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Changed {
    fn new(bytes: &[u8]) -> Changed {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.trine");
        fs::write(&path, bytes).unwrap();
        Changed { _folder: folder, path }
    }

    /// Refused by the library, with these words.
    #[track_caller]
    fn does_not_open(&self, words: &[&str]) {
        let Err(error) = open(&self.path, model().unwrap(), limits()) else {
            panic!("it opened; expected {words:?}");
        };
        let message = error.to_string();
        for word in words.iter().chain(&["changed.trine"]) {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    }

    /// Refused by the library where nothing of it is compiled yet, with these words.
    #[track_caller]
    fn does_not_open_uncached(&self, words: &[&str]) {
        let app = AppOptions { limits: limits(), ..AppOptions::default() };
        let options = OpenOptions { engine: engine(), app };
        let opened = trine_node::open(&self.path, &options, &store(model().unwrap()));
        let message = opened.err().expect("it opened").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    }

    /// Refused by every command that reads bundles, with these words.
    #[track_caller]
    fn no_command_takes_it(&self, words: &[&str]) {
        let words: Vec<&str> = words.iter().copied().chain(["changed.trine"]).collect();
        let listen = ["--listen", "127.0.0.1:0"];
        run(trine(&[&"inspect", &self.path])).failed(1, &words);
        run(trine_with_model(&[&"ask", &self.path, &"anything"])).failed(1, &words);
        run(trine_with_model(&[&"serve", &self.path, &listen[0], &listen[1]])).failed(1, &words);
    }
}

fn whole() -> Option<Vec<u8>> {
    Some(fs::read(bundle()?).unwrap())
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] ^= 0x10;
    changed
}

/// Each section's name, first byte and length.
fn sections(path: &Path) -> Vec<(String, usize, usize)> {
    let reader = Reader::open(path).unwrap();
    let place = |s: &trine_bundle::Section| (s.name.clone(), s.offset as usize, s.length as usize);
    reader.sections().iter().map(place).collect()
}

#[test]
fn a_bundle_cut_short() {
    let Some(whole) = whole() else { return };
    for length in [8, 20, 63, 64, 1000, whole.len() / 2, whole.len() - 1] {
        Changed::new(&whole[..length]).does_not_open(&["cut short", "trine index"]);
    }
    Changed::new(&whole[..whole.len() / 2]).no_command_takes_it(&["cut short", "trine index"]);
}

/// Opening checks what it reads; `inspect` reads everything.
#[test]
fn a_bit_flipped_in_any_section() {
    let Some(whole) = whole() else { return };
    let sections = sections(bundle().unwrap());
    let names: Vec<&str> = sections.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names.len(), 13, "{names:?}");
    for (name, start, length) in &sections {
        for at in [*start, start + length - 1] {
            let changed = Changed::new(&flipped(&whole, at));
            let named = format!("`{name}`");
            run(trine(&[&"inspect", &changed.path])).failed(1, &["damaged", &named, "trine index"]);
        }
        // Of the documents a node knows what the retriever has.
        if name != "base/documents" {
            let changed = Changed::new(&flipped(&whole, start + length / 2));
            changed.does_not_open_uncached(&["damaged", &format!("`{name}`"), "trine index"]);
        }
    }
    let (name, start, length) = sections.last().unwrap();
    let changed = Changed::new(&flipped(&whole, start + length / 3));
    changed.no_command_takes_it(&["damaged", name, "trine index"]);
}

#[test]
fn a_bit_flipped_in_the_table_or_the_header() {
    let Some(whole) = whole() else { return };
    let (_, start, length) = sections(bundle().unwrap()).pop().unwrap();
    let table = start + length;
    for at in [table, table + 10, whole.len() - 1] {
        Changed::new(&flipped(&whole, at)).does_not_open(&["damaged", "table of contents"]);
    }
    for at in 0..104 {
        let words: &[&str] = match at {
            0..8 => &["not a trine bundle"],
            8..12 => &["version"],
            _ => &["damaged", "header"],
        };
        Changed::new(&flipped(&whole, at)).does_not_open(words);
    }
    Changed::new(&flipped(&whole, 40)).no_command_takes_it(&["damaged", "header"]);
}

#[test]
fn a_bundle_of_another_version() {
    let Some(mut whole) = whole() else { return };
    whole[8..12].copy_from_slice(&7u32.to_le_bytes());
    let changed = Changed::new(&whole);
    changed.does_not_open(&["version 7", "version 5", "trine index"]);
    changed.no_command_takes_it(&["version 7", "version 5", "trine index"]);
}

#[test]
fn a_table_that_claims_what_is_not_there() {
    let Some(whole) = whole() else { return };
    let claims = |at: usize, number: u64| {
        let mut changed = whole.clone();
        changed[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let digest = trine_bundle::sha256_hex(&changed[..72]);
        let digits = digest.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        let digest: Vec<u8> = digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect();
        changed[72..104].copy_from_slice(&digest);
        Changed::new(&changed)
    };
    claims(32, u64::MAX).does_not_open(&["damaged", "header"]);
    claims(32, 1 << 20).does_not_open(&["cut short"]);
    claims(24, u64::MAX).does_not_open(&["cut short"]);
    claims(24, 100).does_not_open(&["damaged", "header"]);
    claims(24, 9000).does_not_open(&["damaged", "table of contents"]);
}

#[test]
fn what_is_no_bundle() {
    let Some(_) = bundle() else { return };
    for bytes in [&b""[..], b"\x89TRINE", b"PK\x03\x04", b"# A Markdown file\n", &[0; 4096]] {
        let changed = Changed::new(bytes);
        changed.does_not_open(&["not a trine bundle", "trine index"]);
        changed.no_command_takes_it(&["not a trine bundle", "trine index"]);
    }
}

#[test]
fn no_file_at_all() {
    let Some(_) = bundle() else { return };
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.trine");
    for path in [missing.as_path(), folder.path()] {
        let name = path.file_name().unwrap().to_str().unwrap();
        run(trine(&[&"inspect", &path])).failed(1, &[name]);
        run(trine_with_model(&[&"ask", &path, &"anything"])).failed(1, &[name]);
        run(trine_with_model(&[&"serve", &path])).failed(1, &[name]);
    }
}
