//! What can go wrong in reading a collection, a run or its judgements.

use std::io;
use std::path::{Path, PathBuf};

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an evaluation could not be made. Every message says where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that a BEIR folder must have is not there.
    #[error(
        "{folder} holds no {file}: a collection is a BEIR folder with corpus.jsonl, \
         queries.jsonl (each may be .gz) and qrels/test.tsv"
    )]
    Missing {
        /// The folder looked in.
        folder: PathBuf,
        /// The file looked for, relative to the folder.
        file: String,
    },
    /// The system refused to read or write a file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is not what its file format asks for.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it, and what belongs there.
        reason: String,
    },
    /// A ranking, or a set of judgements, that cannot be one.
    #[error("query {query:?}: {reason}")]
    Ranking {
        /// The query's id.
        query: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Judgements that no ranking can be measured by.
    #[error(
        "no query of the qrels has a relevant document (score 1 or more): nothing can be measured"
    )]
    NothingRelevant,
    /// A report cannot say the same thing twice, or something that is not JSON.
    #[error("the report's field {field:?}: {reason}")]
    Field {
        /// The field's name.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Io`] about `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
