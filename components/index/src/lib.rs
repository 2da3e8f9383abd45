//! What the bundled index is: passages, their vectors, and the nearest-neighbour graph.
//!
//! Built natively, searched in wasm. The host makes a [`Graph`] and hands its bytes and the
//! passages to the retriever component before its snapshot; nothing is parsed at request time.
//! It knows no model and no file: vectors come in, passages come out.
//!
//! [`lexical`] searches by words what the graph searches by meaning; [`fusion`] makes one ranking of both.

pub mod fusion;
mod graph;
pub mod lexical;
pub mod passage;
pub mod setup;
mod vector;

pub use graph::{BuildOptions, EF_SEARCH, Graph, Hit, IndexError};
pub use passage::{MediaType, Passage};
pub use vector::Vector;
