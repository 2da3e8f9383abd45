//! One file's bytes to a document.

mod html;
mod pdf;
pub(crate) mod records;
mod text;

use std::io::Read;
use std::path::Path;

use trine_index::{Date, Fields, MediaType};

use crate::document::{self, Document};
use crate::fields::Given;
use crate::walk::Source;

/// Extensions of the files that are read from folders; JSONL files may be `.gz` as well.
pub const EXTENSIONS: [&str; 12] =
    ["md", "markdown", "mdx", "html", "htm", "txt", "text", "rst", "pdf", "jsonl", "ndjson", "gz"];

/// Limits on what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Larger files are left out and reported; JSONL files are streamed and may have any
    /// size.
    pub max_file_bytes: u64,
    /// Longer lines of a JSONL file, decompressed, are left out and reported.
    pub max_record_bytes: usize,
}

impl Default for ReadOptions {
    /// 64 MiB a file, 16 MiB a record.
    fn default() -> Self {
        ReadOptions { max_file_bytes: 64 << 20, max_record_bytes: 16 << 20 }
    }
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Markdown,
    Html,
    Text,
    RestructuredText,
    Pdf,
    Records { gzip: bool },
}

impl Format {
    /// By the extension of a path; `None` where none is known.
    pub(crate) fn of(path: &str) -> Option<Format> {
        let name = path.rsplit('/').next()?.to_lowercase();
        let (name, gzip) = match name.strip_suffix(".gz") {
            Some(inner) => (inner, true),
            None => (name.as_str(), false),
        };
        Some(match (name.rsplit_once('.')?.1, gzip) {
            ("jsonl" | "ndjson", gzip) => Format::Records { gzip },
            (_, true) => return None,
            ("md" | "markdown" | "mdx", _) => Format::Markdown,
            ("html" | "htm", _) => Format::Html,
            ("txt" | "text", _) => Format::Text,
            ("rst", _) => Format::RestructuredText,
            ("pdf", _) => Format::Pdf,
            _ => return None,
        })
    }

    /// Whether the file is read record by record rather than whole.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Format::Records { .. })
    }
}

/// A document, and what a reader should know about how it was read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub document: Document,
    pub warnings: Vec<String>,
}

impl Reading {
    /// Gives the document its fields.
    fn new(
        mut document: Document,
        given: Given,
        modified: Option<Date>,
        warning: Option<String>,
    ) -> Reading {
        let warnings = warning.into_iter().chain(document.describe(given, modified)).collect();
        Reading { document, warnings }
    }
}

/// Reads one file that is one document; the error is the reason for the report.
pub(crate) fn file(source: &Source, options: &ReadOptions) -> Result<Reading, String> {
    let bytes = bytes(&source.path, options.max_file_bytes)?;
    if source.format == Format::Pdf {
        let text = pdf::text(bytes, &source.name)?;
        let title = document::stem(&source.name).to_owned();
        let name = source.name.clone();
        let media_type = MediaType::Plain;
        let document = Document { source: name, title, text, media_type, fields: Fields::new() };
        return Ok(Reading::new(document, Given::default(), source.modified, None));
    }
    let decoded = text::decode(bytes, source.format == Format::Html)?;
    let (document, given) = from_text(source.name.clone(), decoded.text, source.format)?;
    Ok(Reading::new(document, given, source.modified, decoded.warning))
}

/// A document without its fields, and those that it gives itself.
fn from_text(source: String, text: String, format: Format) -> Result<(Document, Given), String> {
    let stem = document::stem(&source).to_owned();
    let mut given = Given::default();
    let (title, text, media_type) = match format {
        Format::Html => {
            let page = html::page(&text)?;
            (page.title, page.text, MediaType::Markdown)
        }
        Format::Markdown => {
            given = Given::of_markdown(&text);
            let title = given.title.take().or_else(|| document::first_heading(&text));
            (title, text, MediaType::Markdown)
        }
        Format::RestructuredText => (document::restructured_title(&text), text, MediaType::Plain),
        _ => (None, text, MediaType::Plain),
    };
    let (title, fields) = (title.unwrap_or(stem), Fields::new());
    Ok((Document { source, title, text, media_type, fields }, given))
}

/// The file's bytes; it may have grown since it was found.
fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let read = |bytes: &mut Vec<u8>| {
        std::fs::File::open(path)?.take(limit.saturating_add(1)).read_to_end(bytes)
    };
    let mut bytes = Vec::new();
    read(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > limit {
        return Err(format!("has more than {limit} bytes"));
    }
    Ok(bytes)
}
