//! What the bundled index is: passages, their vectors, and the nearest-neighbour graph.
//!
//! Built natively, searched in wasm. The host makes a [`Graph`] and hands its bytes and the
//! passages to the retriever component before its snapshot; nothing is parsed at request time.
//! It knows no model and no file: vectors come in, passages come out.

mod build;
mod bytes;
mod dot;
mod graph;
mod grow;
mod layer;
pub mod passage;
mod seed;
pub mod setup;
mod table;
mod vector;
mod walk;

pub use graph::{BuildOptions, Graph, Hit, IndexError, MAX_TOP_K};
pub use passage::{MediaType, Passage};
pub use vector::Vector;
