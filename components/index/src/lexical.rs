//! Search by words: an inverted index ranked by BM25, beside the search by meaning.
//!
//! ```text
//! Fields (title, headings, text) -> words, codes -> Inverted -> bytes
//! query -> words, codes, phrases -> Query -> the k best passages by BM25
//! ```
//!
//! Built natively, searched in wasm: no threads, no clock, no random numbers. Text comes in plain;
//! whoever builds the index removes markup beforehand.

mod analyse;
mod bm25;
mod build;
mod bytes;
mod codes;
mod forms;
mod highlight;
mod inverted;
mod language;
mod phrase;
pub(crate) mod postings;
mod query;

pub use analyse::Analysis;
pub(crate) use analyse::fold;
pub use bm25::{Bm25, Match};
pub use build::Builder;
pub use bytes::InvertedReader;
pub use forms::Near;
pub use highlight::Highlighter;
pub use inverted::{Fields, Inverted, LexicalError, LexicalOptions, Weights};
pub use language::Language;
pub use query::Query;
