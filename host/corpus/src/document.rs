//! A document: one file, or one record of a JSONL file.

use trine_index::{Date, Fields, MediaType, Value};
use trine_text::markdown::{self, BlockKind};

use crate::fields::Given;

/// A document's text and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Path relative to the folder it was found in, with forward slashes; a record's `_id`.
    pub source: String,
    /// From the front matter, the first heading, or the file's name; a record's `title`.
    pub title: String,
    /// What offsets refer to. For text and Markdown in UTF-8, the file's bytes, byte
    /// order mark and front matter included; for other encodings, the decoded text; for
    /// HTML (as Markdown) and PDF, the extracted text; for records, the `text` field.
    pub text: String,
    /// How `text` is written.
    pub media_type: MediaType,
    /// What filters can ask about: what front matter or record say, and of every document
    /// `source`, `title`, `extension` (of the source, where it has one), `media_type` and
    /// `modified`.
    pub fields: Fields,
}

impl Document {
    /// Sets the fields: those given, and those that every document has. `modified` is the file's
    /// date, for a document that says none.
    pub(crate) fn describe(&mut self, mut given: Given, modified: Option<Date>) -> Option<String> {
        given.set("source", self.source.clone());
        given.set("title", self.title.clone());
        given.set("media_type", self.media_type.as_str().to_owned());
        if let Some(extension) = extension(&self.source) {
            given.set("extension", extension);
        }
        let warning = given.warning();
        self.fields = given.fields;
        if let Some(modified) = modified {
            self.fields.entry("modified".to_owned()).or_insert(vec![Value::Date(modified)]);
        }
        warning
    }

    /// Byte offset of the first byte that is neither byte order mark nor front matter.
    pub fn body_start(&self) -> usize {
        let mark = if self.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        match self.media_type {
            MediaType::Markdown => {
                markdown::front_matter(&self.text).map_or(mark, |found| found.end)
            }
            MediaType::Plain => mark,
        }
    }
}

/// The first heading of level 1 in a Markdown text.
pub(crate) fn first_heading(text: &str) -> Option<String> {
    let blocks = markdown::blocks(text);
    let heading = blocks.iter().find(|block| block.kind == BlockKind::Heading(1))?;
    Some(heading_text(&text[heading.range.clone()])).filter(|title| !title.is_empty())
}

/// The title of reStructuredText: the first line that the next underlines.
pub(crate) fn restructured_title(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().take(50).map(str::trim).collect();
    let underlined = lines.windows(2).find(|pair| {
        let adornment = pair[1].as_bytes().first().filter(|b| b.is_ascii_punctuation());
        let uniform = adornment.is_some_and(|first| pair[1].bytes().all(|b| b == *first));
        !pair[0].is_empty() && uniform && pair[1].len() >= pair[0].chars().count().max(3)
    })?;
    Some(underlined[0].to_owned())
}

/// A heading as a reader sees it, on one line.
pub(crate) fn heading_text(heading: &str) -> String {
    markdown::plain(heading).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A path's last part without its extension.
pub(crate) fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
}

/// A path's extension in lower case.
fn extension(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, extension) = name.rsplit_once('.')?;
    let sound = !stem.is_empty() && (1..=16).contains(&extension.len());
    (sound && extension.chars().all(char::is_alphanumeric)).then(|| extension.to_lowercase())
}
