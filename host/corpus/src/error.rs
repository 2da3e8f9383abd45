//! What makes a corpus unusable as a whole; one file's trouble is in the report.

use std::path::PathBuf;

use crate::read::EXTENSIONS;

/// Why there are no passages at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A given file or folder is not there, or may not be read.
    #[error("cannot open {path}: {source}; give files or folders that exist", path = path.display())]
    Open {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The folders hold no file of a kind that is read.
    #[error("no documents in {}; files ending in .{} are read", list(.0), EXTENSIONS.join(", ."))]
    Empty(Vec<PathBuf>),
    /// There were files, but not one gave a passage.
    #[error("none of the {files} files gave any text: {reasons}")]
    NothingRead {
        /// How many files there were.
        files: usize,
        /// The first few reasons.
        reasons: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}
