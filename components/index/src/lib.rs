//! What the bundled index is: passages, their vectors, and the nearest-neighbour graph.
//!
//! Built natively, searched in wasm. The host makes a [`Segment`] and hands its parts to the
//! retriever component before its snapshot; nothing is parsed at request time.
//! It knows no model and no file: vectors come in, passages come out.
//!
//! [`lexical`] searches by words what the graph searches by meaning; [`fusion`] makes one ranking of both.
//! [`Metadata`] holds what is known of documents beside their text; a [`Filter`] of it says which
//! passages a search may find.

mod arrays;
mod bitmap;
mod build;
mod bytes;
mod dot;
mod filter;
pub mod fusion;
mod graph;
mod grow;
mod index;
mod layer;
pub mod lexical;
mod metadata;
pub mod passage;
mod passages;
mod precision;
mod search;
mod seed;
mod seeding;
mod segment;
mod select;
pub mod setup;
mod spelling;
mod table;
mod vector;
mod walk;
mod words;

pub use bitmap::Bitmap;
pub use bytes::GraphReader;
pub use filter::{Filter, FilterError};
pub use graph::{BuildOptions, Graph, Hit, IndexError, MAX_TOP_K};
pub use index::{Admitted, Index, Surroundings};
pub use metadata::{Date, Fields, Metadata, MetadataError, Value};
pub use passage::{MediaType, Passage};
pub use passages::{Passages, PassagesReader};
pub use precision::{LARGEST, Precision};
pub use search::{Found, Fusion, Likeness, SearchOptions};
pub use segment::{Contents, Part, Segment, SegmentOptions, SegmentReader};
pub use spelling::{Correction, corrected};
pub use vector::Vector;
