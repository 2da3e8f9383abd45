//! JSONL: one record a line, `{"_id": ..., "title": ..., "text": ...}` (the form of the
//! BEIR test collections), plain or gzipped, streamed.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use trine_index::{Date, Fields, MediaType};

use super::{Format, Reading, from_text};
use crate::document::Document;
use crate::fields::Given;
use crate::walk::Source;

/// A line of a JSONL file, not yet read as a record.
pub(crate) struct Line {
    /// Counted from 1.
    pub number: u64,
    /// The line, or the reason why it was left out.
    pub bytes: Result<Vec<u8>, String>,
}

/// The lines of one file, in order.
pub(crate) struct Lines {
    reader: Box<dyn BufRead>,
    /// Bytes taken from the file so far.
    taken: Rc<Cell<u64>>,
    number: u64,
    max_bytes: usize,
    ended: bool,
}

/// What may be skipped to find the end of an overlong line, in lines of the full length:
/// a few kilobytes of gzip can hold gigabytes.
const MAX_SKIPPED_LINES: u64 = 16;

impl Lines {
    pub(crate) fn open(source: &Source, max_bytes: usize) -> io::Result<Lines> {
        let taken = Rc::new(Cell::new(0));
        let file = Counted { file: File::open(&source.path)?, taken: taken.clone() };
        let reader: Box<dyn BufRead> = match source.format {
            Format::Records { gzip: true } => {
                Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))))
            }
            _ => Box::new(BufReader::new(file)),
        };
        Ok(Lines { reader, taken, number: 0, max_bytes, ended: false })
    }

    /// Bytes of the file read so far, as they are stored.
    pub(crate) fn bytes_taken(&self) -> u64 {
        self.taken.get()
    }

    fn next_line(&mut self) -> io::Result<Option<Result<Vec<u8>, String>>> {
        let mut line = Vec::new();
        let limit = self.max_bytes as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') || line.len() <= self.max_bytes {
            return Ok(Some(Ok(line)));
        }
        let mut reason = format!("is longer than {} bytes", self.max_bytes);
        if !self.skip_line()? {
            self.ended = true;
            reason.push_str(", by so much that the rest of the file was left out, too");
        }
        Ok(Some(Err(reason)))
    }

    /// Reads to the next line; false if that is too far.
    fn skip_line(&mut self) -> io::Result<bool> {
        let mut left = self.max_bytes as u64 * MAX_SKIPPED_LINES;
        while left > 0 {
            let buffer = self.reader.fill_buf()?;
            let found = buffer.iter().position(|b| *b == b'\n');
            let skipped = found.map_or(buffer.len(), |at| at + 1);
            self.reader.consume(skipped);
            if found.is_some() || skipped == 0 {
                return Ok(true);
            }
            left = left.saturating_sub(skipped as u64);
        }
        Ok(false)
    }
}

impl Iterator for Lines {
    type Item = Line;

    /// Blank lines are passed over; after an error of the file there are no more lines.
    fn next(&mut self) -> Option<Line> {
        while !self.ended {
            self.number += 1;
            let bytes = match self.next_line() {
                Ok(None) => break,
                Ok(Some(Ok(line))) if line.trim_ascii().is_empty() => continue,
                Ok(Some(bytes)) => bytes,
                Err(error) => {
                    self.ended = true;
                    Err(format!("cannot be read, nor what follows: {error}"))
                }
            };
            return Some(Line { number: self.number, bytes });
        }
        None
    }
}

/// A file that tells how much of it was read.
struct Counted {
    file: File,
    taken: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "_id")]
    id: Option<Id>,
    title: Option<String>,
    text: Option<String>,
    metadata: Option<Json>,
    #[serde(flatten)]
    more: Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(serde_json::Number),
}

/// Reads one record; the error is the reason for the report.
///
/// A record whose `_id` ends like a Markdown file's name is read as Markdown. What its `metadata`
/// holds, and what else it has, are its fields.
pub(crate) fn record(line: &[u8], modified: Option<Date>) -> Result<Reading, String> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let record: Record =
        serde_json::from_slice(line).map_err(|error| format!("is no JSON record: {error}"))?;
    let source = match record.id {
        Some(Id::Text(id)) if !id.is_empty() => id,
        Some(Id::Number(id)) => id.to_string(),
        _ => return Err("has no _id".into()),
    };
    let text = record.text.ok_or("has no text")?;
    let title = record.title.filter(|title| !title.trim().is_empty());
    let (mut document, mut given) = match Format::of(&source) {
        Some(Format::Markdown) => from_text(source, text, Format::Markdown)?,
        _ => {
            let (title, media_type) = (String::new(), MediaType::Plain);
            let document = Document { source, title, text, media_type, fields: Fields::new() };
            (document, Given::default())
        }
    };
    match record.metadata {
        Some(Json::Object(fields)) => {
            fields.iter().for_each(|(name, value)| given.add(name, value))
        }
        Some(other) => given.add("metadata", &other),
        None => {}
    }
    record.more.iter().for_each(|(name, value)| given.add(name, value));
    if let Some(title) = title {
        document.title = title;
    }
    Ok(Reading::new(document, given, modified, None))
}

/// What a record is called in the report.
pub(crate) fn line_name(source: &Source, number: u64) -> String {
    format!("{}:{number}", source.name)
}
