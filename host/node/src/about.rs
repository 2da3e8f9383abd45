//! What a bundle says of itself: the section `bundle.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trine_index::setup::Scoring;

/// The section's name.
pub(crate) const ABOUT: &str = "bundle.json";
/// The section that holds the application's manifest.
pub(crate) const SPIN_TOML: &str = "spin.toml";

/// The section of a component, by the file that the manifest names.
pub(crate) fn component_section(file: &str) -> String {
    format!("component/{}", file_name(file))
}

/// A path's last part.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A bundle's description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of the trine that built it.
    pub trine: String,
    /// Documents indexed.
    pub documents: u64,
    /// Passages they were cut into.
    pub passages: u64,
    /// Length of a passage's vector.
    pub dimensions: usize,
    /// How documents were cut.
    pub chunking: Chunking,
    /// Embeds queries and passages.
    pub embedder: ModelRef,
    /// Scores pairs.
    pub reranker: ModelRef,
    /// How it does so.
    pub scoring: Scoring,
    /// Scores sentences.
    pub generator: ModelRef,
}

/// How documents were cut into passages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chunking {
    /// At headings and sentences, to fit the embedder's window.
    Sections,
    /// Not at all: a document is a passage, as test collections have it.
    Whole,
}

/// A model, by name and by the content of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// Its name.
    pub name: String,
    /// SHA-256 of each file that decides its answers, in hexadecimal.
    pub sha256: BTreeMap<String, String>,
}
