//! A passage: the unit that is embedded, searched, reranked and cited.

use serde::{Deserialize, Serialize};

/// How a passage's text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaType {
    /// Plain text: every byte is content.
    #[default]
    #[serde(rename = "text/plain")]
    Plain,
    /// Markdown (CommonMark): markup is removed before a model reads it.
    #[serde(rename = "text/markdown")]
    Markdown,
}

impl MediaType {
    /// The registered name (RFC 6838), as it stands in the WIT records.
    pub fn as_str(self) -> &'static str {
        match self {
            MediaType::Plain => "text/plain",
            MediaType::Markdown => "text/markdown",
        }
    }

    /// The inverse of [`MediaType::as_str`]; anything unknown reads as plain text.
    pub fn from_name(name: &str) -> MediaType {
        match name {
            "text/markdown" => MediaType::Markdown,
            _ => MediaType::Plain,
        }
    }
}

/// A contiguous piece of one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Where it came from: a path relative to the indexed folder, or a record's `_id`.
    pub source: String,
    /// The document's title; empty when it has none.
    pub title: String,
    /// Headings above the passage, outermost first, without the title.
    pub headings: Vec<String>,
    /// The document's bytes `start..end`, verbatim.
    pub text: String,
    /// How `text` is written.
    pub media_type: MediaType,
    /// Byte offset of the first byte in the document.
    pub start: u64,
    /// Byte offset past the last byte in the document.
    pub end: u64,
}
