//! What a bundle says of itself: the section `bundle.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use trine_bundle::Reader;
use trine_index::Precision;
use trine_index::lexical::LexicalOptions;
use trine_index::setup::Scoring;

use crate::NodeError;
use crate::living::Living;

/// The section's name.
pub const ABOUT: &str = "bundle.json";
/// The section that holds the application's manifest.
pub(crate) const SPIN_TOML: &str = "spin.toml";

/// The section that the retriever is told its settings by.
pub const RETRIEVER_SETUP: &str = "retriever/setup";
/// The section that holds the embedder's tokenizer.
pub(crate) const TOKENIZER: &str = "retriever/tokenizer";

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
    /// How documents are cut.
    pub chunking: Chunking,
    /// Tokens that neighbouring passages share at most.
    pub overlap: usize,
    /// How exactly vectors are kept; as exactly as their number allows when absent.
    #[serde(default)]
    pub vectors: Option<Precision>,
    /// How words are read.
    pub lexical: LexicalOptions,
    /// The files and folders that it was made from, as whole paths of the machine it was made on.
    pub paths: Vec<PathBuf>,
    /// Embeds queries and passages.
    pub embedder: ModelRef,
    /// Scores pairs.
    pub reranker: ModelRef,
    /// How it does so.
    pub scoring: Scoring,
    /// Scores sentences.
    pub generator: ModelRef,
    /// Reads answers out of passages.
    #[serde(default)]
    pub reader: Option<ModelRef>,
}

impl About {
    pub(crate) fn read(reader: &Reader) -> Result<About, NodeError> {
        serde_json::from_slice(&reader.read(ABOUT)?)
            .map_err(|e| NodeError::malformed("description", e))
    }

    /// Takes over how many documents and passages there are now.
    pub(crate) fn count(&mut self, living: &Living) {
        (self.documents, self.passages) = (living.len() as u64, living.passages() as u64);
    }
}

pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>, NodeError> {
    serde_json::to_vec_pretty(value).map_err(|e| NodeError::malformed("settings", e))
}

/// How documents are cut into passages.
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
