//! What was read, and what was not.

use std::collections::BTreeMap;

/// How far reading has come; `bytes` of the files themselves, compressed ones as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of files read so far.
    pub bytes: u64,
    /// Bytes of all files of the corpus.
    pub total_bytes: u64,
    /// Documents whose passages were handed over.
    pub documents: u64,
    /// Passages handed over.
    pub passages: u64,
}

/// A file or record that gave no passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file's path, followed by `:line` for a record of a JSONL file.
    pub path: String,
    /// Why, for the reader of the report.
    pub reason: String,
}

/// The account of one pass over a corpus: nothing is left out silently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Documents that gave passages.
    pub documents: u64,
    /// Passages handed over.
    pub passages: u64,
    /// Bytes of the files read.
    pub bytes: u64,
    /// Files and records left out, the first [`Report::MAX_NOTES`] of them.
    pub skipped: Vec<Skipped>,
    /// What was read but not as it stands, the first [`Report::MAX_NOTES`] notes; each
    /// begins with the file's name.
    pub warnings: Vec<String>,
    /// Entries that `skipped` and `warnings` had no room for.
    pub unlisted: u64,
    /// Files in folders that are of no kind that is read, by extension in lower case
    /// (the empty one for files without).
    pub unread_extensions: BTreeMap<String, u64>,
}

impl Report {
    /// Entries kept in each list: a file of a million broken records shall not fill the
    /// memory with complaints.
    pub const MAX_NOTES: usize = 1000;

    pub(crate) fn skip(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        if self.skipped.len() < Self::MAX_NOTES {
            self.skipped.push(Skipped { path: path.into(), reason: reason.into() });
        } else {
            self.unlisted += 1;
        }
    }

    pub(crate) fn warn(&mut self, path: &str, what: impl std::fmt::Display) {
        if self.warnings.len() < Self::MAX_NOTES {
            self.warnings.push(format!("{path}: {what}"));
        } else {
            self.unlisted += 1;
        }
    }
}
