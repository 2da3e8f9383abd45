//! From files to passages: walks folders, reads documents, cuts them.
//!
//! A document's text is cut into [`Passage`]s, contiguous verbatim slices that fit an
//! encoder's window. Reading and cutting run in parallel while the caller embeds;
//! passages arrive in the order of the files, whatever the number of threads, and what
//! is held in memory is bounded by the files being read, not by the corpus.
//!
//! ```no_run
//! use trine_corpus::{Corpus, CutOptions, Cutter, Error, ReadOptions};
//!
//! let words = |text: &str| text.split_whitespace().count();
//! let cutter = Cutter::new(&words, CutOptions::default());
//! let corpus = Corpus::open(&["docs".into()], ReadOptions::default())?;
//! let report = corpus.passages(&cutter, &|_| {}, &mut |passages| {
//!     println!("{} passages of {}", passages.len(), passages[0].source);
//!     Ok::<(), Error>(())
//! })?;
//! println!("{} documents, {} left out", report.documents, report.skipped.len());
//! # Ok::<(), Error>(())
//! ```

mod corpus;
mod cut;
mod document;
mod error;
mod fields;
mod read;
mod report;
mod walk;

pub use corpus::Corpus;
pub use cut::{Cut, CutOptions, Cutter, Cutting};
pub use document::Document;
pub use error::Error;
pub use read::{EXTENSIONS, ReadOptions};
pub use report::{Progress, Report, Skipped};
pub use trine_index::{Fields, MediaType, Passage};
