//! Lines of a text file that may be gzipped, each within a bound, numbered for error messages.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::{Error, Result};

/// The longest line that is read, in bytes: far above any passage, far below memory.
const MAX_LINE: u64 = 64 << 20;

/// Reads one file line by line; memory is bounded by the longest line.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    path: PathBuf,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    /// Opens `path`; a name ending in `.gz` is read through gzip.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let reader: Box<dyn BufRead + Send> = if path.extension().is_some_and(|end| end == "gz") {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(BufReader::new(file))
        };
        Ok(Self { reader, path: path.to_owned(), number: 0, line: Vec::new() })
    }

    /// The next line that is not blank, without its line end; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<&str>> {
        loop {
            self.line.clear();
            let read = (&mut self.reader)
                .take(MAX_LINE + 1)
                .read_until(b'\n', &mut self.line)
                .map_err(Error::io(&self.path))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > MAX_LINE {
                return Err(self.error(format!("longer than {MAX_LINE} bytes")));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.line) {
            Ok(line) => Ok(Some(line.trim_end_matches(['\n', '\r']))),
            Err(error) => Err(self.error(format!("not UTF-8: {error}"))),
        }
    }

    /// An error about the line read last.
    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Line { path: self.path.clone(), line: self.number, reason: reason.into() }
    }
}
