//! What an unfinished build has computed: rows of floats under digests, kept beside the output.
//!
//! ```text
//! 0     magic     8 bytes   89 'T' 'R' 'W' 'O' 'R' 'K' 0A
//! 8     version   u32 LE    1
//! 12    width     u32 LE    numbers in a row
//! 16    binding   32 bytes  digest of what rows are computed with
//! 48    records, each:
//!       key       32 bytes  digest of what the row is computed from
//!       row       f32 LE    width of them
//!       seal      32 bytes  SHA-256 of binding, key and row
//! ```
//!
//! Records are only ever appended. Whatever a killed process or machine left is read up to the
//! first record that does not match its seal, and goes on from there. A row is found by its key
//! alone, so it does not matter in which order, or of which documents, rows were computed.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::BundleError;
use crate::appender::is_at;

const MAGIC: [u8; 8] = *b"\x89TRWORK\n";
const VERSION: u32 = 1;
/// Of the header.
const HEADER: usize = 48;
const DIGEST: usize = 32;

/// SHA-256 of what a row is computed from, or with.
pub type Key = [u8; DIGEST];

/// An open work file, which this process alone has. One that holds no row is deleted when it is
/// dropped.
pub struct Work {
    path: PathBuf,
    file: File,
    binding: Key,
    width: usize,
    /// Which record a key's is.
    places: HashMap<Key, u32>,
    /// Records that were there when it was opened.
    found: u32,
    /// Records there are.
    records: u32,
    /// Whether it is known to be a work file.
    is_work: bool,
}

impl Work {
    /// Opens the work file at `path`, or makes one, for rows of `width` numbers computed with what
    /// `binding` is the digest of. Rows that were computed with anything else are thrown away, and
    /// all of them unless `resume`.
    ///
    /// # Errors
    /// [`BundleError::Busy`] while another process has it, [`BundleError::NotWork`] for a file of
    /// another kind, [`BundleError::Io`].
    pub fn open(
        path: &Path,
        binding: Key,
        width: usize,
        resume: bool,
    ) -> Result<Work, BundleError> {
        let at = |error| BundleError::Io { path: path.to_owned(), error };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = loop {
            let file = options.open(path).map_err(at)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(BundleError::Busy { path: path.to_owned() });
                }
                Err(TryLockError::Error(error)) => return Err(at(error)),
            }
            // Who held the lock may have deleted it.
            if is_at(&file, path).map_err(at)? {
                break file;
            }
        };
        let (path, places) = (path.to_owned(), HashMap::new());
        let (found, records, is_work) = (0, 0, false);
        let mut work = Work { path, file, binding, width, places, found, records, is_work };
        work.is_work = work.read(resume).map_err(|error| work.io(error))?;
        match work.is_work {
            true => Ok(work),
            false => Err(BundleError::NotWork { path: work.path.clone() }),
        }
    }

    /// Reads what is there and cuts off the rest; false where that is no work file.
    fn read(&mut self, resume: bool) -> io::Result<bool> {
        let expected = self.header();
        let mut input = BufReader::with_capacity(1 << 20, &self.file);
        let mut header = vec![];
        input.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
        let magic = header.len().min(MAGIC.len());
        if header[..magic] != MAGIC[..magic] {
            return Ok(false);
        }
        if header != expected || !resume {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&expected)?;
            return Ok(true);
        }
        let mut record = vec![0; self.record()];
        while input.read_exact(&mut record).is_ok() {
            let (contents, seal) = record.split_at(record.len() - DIGEST);
            if self.seal(contents) != *seal || self.records == u32::MAX {
                break;
            }
            let key = std::array::from_fn(|i| contents[i]);
            self.places.insert(key, self.records);
            self.records += 1;
        }
        self.found = self.records;
        self.file.set_len(self.offset(self.records))?;
        Ok(true)
    }

    /// How many rows were there when it was opened.
    pub fn found(&self) -> u64 {
        self.found.into()
    }

    /// Whether there is a row under that key; `Some(true)` where it was there from the start.
    pub fn has(&self, key: &Key) -> Option<bool> {
        self.places.get(key).map(|&place| place < self.found)
    }

    /// The row under that key.
    ///
    /// # Errors
    /// [`BundleError::Io`]; [`BundleError::Damaged`] where it is not what was written.
    pub fn row(&self, key: &Key) -> Result<Option<Vec<f32>>, BundleError> {
        let Some(&place) = self.places.get(key) else { return Ok(None) };
        let mut record = vec![0; self.record()];
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(self.offset(place)));
        read.and_then(|_| file.read_exact(&mut record)).map_err(|error| self.io(error))?;
        let (contents, seal) = record.split_at(record.len() - DIGEST);
        if contents[..DIGEST] != *key || self.seal(contents) != *seal {
            let what = format!("row {place}");
            return Err(BundleError::Damaged { path: self.path.clone(), what });
        }
        let numbers = contents[DIGEST..].as_chunks().0.iter();
        Ok(Some(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }

    /// Keeps rows of the file's width; a key that it has keeps the row it has. A process that is
    /// killed from here on loses none of them.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn append(
        &mut self,
        rows: impl IntoIterator<Item = (Key, Vec<f32>)>,
    ) -> Result<(), BundleError> {
        let (mut bytes, mut records) = (vec![], self.records);
        for (key, row) in rows {
            if self.places.contains_key(&key) || row.len() != self.width {
                continue;
            }
            let start = bytes.len();
            bytes.extend(key);
            bytes.extend(row.iter().flat_map(|number| number.to_le_bytes()));
            let seal = self.seal(&bytes[start..]);
            bytes.extend(seal);
            self.places.insert(key, records);
            records += 1;
        }
        let written = self.file.seek(SeekFrom::Start(self.offset(self.records)));
        written.and_then(|_| self.file.write_all(&bytes)).map_err(|error| self.io(error))?;
        self.records = records;
        Ok(())
    }

    /// Deletes it: the build is finished.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn remove(self) -> Result<(), BundleError> {
        std::fs::remove_file(&self.path).map_err(|error| self.io(error))
    }

    fn header(&self) -> Vec<u8> {
        let numbers = [VERSION, self.width as u32].map(u32::to_le_bytes);
        [&MAGIC[..], numbers.as_flattened(), &self.binding].concat()
    }

    /// Bytes of a record.
    fn record(&self) -> usize {
        DIGEST + 4 * self.width + DIGEST
    }

    /// Where a record begins.
    fn offset(&self, place: u32) -> u64 {
        HEADER as u64 + u64::from(place) * self.record() as u64
    }

    fn seal(&self, contents: &[u8]) -> Key {
        Sha256::new().chain_update(self.binding).chain_update(contents).finalize().into()
    }

    fn io(&self, error: io::Error) -> BundleError {
        BundleError::Io { path: self.path.clone(), error }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.is_work && self.records == 0 {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
