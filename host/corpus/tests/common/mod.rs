//! Where the tests' documents and the real tokenizer are, if they are.
#![allow(dead_code, reason = "each test uses its own part")]

use std::fs::File;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tempfile::TempDir;
use trine_corpus::{Corpus, CutOptions, Cutter, Document, Error, Passage, ReadOptions, Report};

/// A folder with these files.
pub fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

pub fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

pub fn open(paths: &[&Path], options: ReadOptions) -> Result<Corpus, Error> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    Corpus::open(&paths, options)
}

pub fn documents(paths: &[&Path], options: ReadOptions) -> (Vec<Document>, Report) {
    let mut documents = Vec::new();
    let corpus = open(paths, options).unwrap();
    let mut sink = |document| {
        documents.push(document);
        Ok::<(), Error>(())
    };
    let report = corpus.documents(&|_| {}, &mut sink).unwrap();
    (documents, report)
}

pub fn passages(
    paths: &[&Path],
    count: &(dyn Fn(&str) -> usize + Sync),
    options: CutOptions,
) -> (Vec<Passage>, Report) {
    let mut all = Vec::new();
    let corpus = open(paths, ReadOptions::default()).unwrap();
    let mut sink = |passages: Vec<Passage>| {
        assert!(!passages.is_empty());
        all.extend(passages);
        Ok::<(), Error>(())
    };
    let report = corpus.passages(&Cutter::new(count, options), &|_| {}, &mut sink).unwrap();
    (all, report)
}

/// `name` under the folder that `TRINE_SHARED` names, else under `shared` beside the
/// checkout.
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3)?.join("shared");
    let path = std::env::var_os("TRINE_SHARED").map_or(beside, PathBuf::from).join(name);
    if !path.exists() {
        println!("skipped: no {}; set TRINE_SHARED", path.display());
        return None;
    }
    Some(path)
}

pub fn unpack(archive: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = GzDecoder::new(File::open(archive).unwrap());
    tar::Archive::new(file).unpack(folder.path()).unwrap();
    folder
}

/// Counts with the tokenizer of the model that `TRINE_MODEL` names, else words.
pub fn tokens() -> Box<dyn Fn(&str) -> usize + Sync> {
    let Some(model) = std::env::var_os("TRINE_MODEL") else {
        println!(
            "skipped: no real tokenizer, words are counted; set TRINE_MODEL to a model's folder"
        );
        return Box::new(words);
    };
    let mut tokenizer =
        tokenizers::Tokenizer::from_file(PathBuf::from(model).join("tokenizer.json")).unwrap();
    tokenizer.with_padding(None).with_truncation(None).unwrap();
    Box::new(move |text| tokenizer.encode(text, false).unwrap().len())
}

/// The only document of a folder with this file.
pub fn one(name: &str, bytes: &[u8]) -> Document {
    let folder = folder(&[(name, bytes)]);
    let (mut documents, report) = documents(&[folder.path()], ReadOptions::default());
    assert_eq!(documents.len(), 1, "{report:?}");
    documents.remove(0)
}

/// What the report says about a folder with one good file and these.
pub fn complaints(files: &[(&str, &[u8])], options: ReadOptions) -> Vec<String> {
    let folder = folder(&[&[("good.txt", "All is well.".as_bytes())], files].concat());
    let (_, report) = documents(&[folder.path()], options);
    let skipped = report.skipped.into_iter().map(|s| format!("{} {}", s.path, s.reason));
    skipped.chain(report.warnings).collect()
}
