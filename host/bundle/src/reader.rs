//! Reading a bundle: nothing is believed before its digest is checked.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::slot::{self, CONTENTS, Slot};
use crate::{BundleError, Section, hex};

/// Bytes of a section that are read at once.
const CHUNK: usize = 1 << 20;

/// An open bundle whose table of contents has been checked: one generation of it, whatever is
/// written behind it meanwhile.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    slot: Slot,
    sections: Vec<Section>,
    size: u64,
}

impl Reader {
    /// Opens the latest generation and checks its table; sections are checked as they are read.
    pub fn open(path: &Path) -> Result<Reader, BundleError> {
        let file =
            File::open(path).map_err(|error| BundleError::Io { path: path.to_owned(), error })?;
        Reader::of(path, file)
    }

    pub(crate) fn of(path: &Path, mut file: File) -> Result<Reader, BundleError> {
        let at = |error| BundleError::Io { path: path.to_owned(), error };
        let slots = slot::slots(path, &mut file)?;
        let size = file.metadata().map_err(at)?.len();
        for &slot in &slots {
            if let Some(sections) = slot.table(&mut file).map_err(at)? {
                return Ok(Reader { path: path.to_owned(), file, slot, sections, size });
            }
        }
        let path = path.to_owned();
        Err(match slots.iter().any(|slot| slot.end() > size) {
            true => BundleError::Truncated { path },
            false => BundleError::Damaged { path, what: "its table of contents".to_owned() },
        })
    }

    /// The content digest of what lies at `path` now, in hexadecimal, by its header alone.
    pub fn latest(path: &Path) -> Result<String, BundleError> {
        let mut file =
            File::open(path).map_err(|error| BundleError::Io { path: path.to_owned(), error })?;
        let slots = slot::slots(path, &mut file)?;
        Ok(slots.first().map(|slot| hex(&slot.toc_digest)).unwrap_or_default())
    }

    /// The content digest, in hexadecimal: equal for equal contents.
    pub fn digest(&self) -> String {
        hex(&self.slot.toc_digest)
    }

    /// How many times the bundle has been written, from 1.
    pub fn generation(&self) -> u64 {
        self.slot.generation
    }

    /// Bytes of the file that belong to earlier generations only.
    pub fn dead_bytes(&self) -> u64 {
        let live: u64 = self.sections.iter().map(|section| section.length).sum();
        self.size.saturating_sub(CONTENTS + live + self.slot.toc_length)
    }

    /// The sections, in the order of the table.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section of that name.
    pub fn section(&self, name: &str) -> Result<&Section, BundleError> {
        let found = self.sections.iter().find(|section| section.name == name);
        let path = || self.path.clone();
        found.ok_or_else(|| BundleError::NoSection { path: path(), name: name.to_owned() })
    }

    /// A section's bytes, checked against its digest.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let length = self.section(name)?.length;
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(self.size)).unwrap_or(0));
        for piece in self.pieces(name)? {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// Checks a section against its digest.
    pub fn check(&self, name: &str) -> Result<(), BundleError> {
        self.pieces(name)?.try_for_each(|piece| piece.map(drop))
    }

    /// A section piece by piece; what came is only to be believed when all has come, as the last
    /// piece is an error where the digest is wrong.
    pub fn pieces(&self, name: &str) -> Result<Pieces<'_>, BundleError> {
        let section = self.section(name)?;
        let (digest, offset, left) = (Sha256::new(), section.offset, section.length);
        Ok(Pieces { reader: self, section, digest, offset, left, ended: false })
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }
}

/// What [`Reader::pieces`] gives.
pub struct Pieces<'a> {
    reader: &'a Reader,
    section: &'a Section,
    digest: Sha256,
    offset: u64,
    left: u64,
    ended: bool,
}

impl Pieces<'_> {
    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let mut piece = vec![0; self.left.min(CHUNK as u64) as usize];
        let mut file = &self.reader.file;
        file.seek(SeekFrom::Start(self.offset))?;
        file.read_exact(&mut piece)?;
        self.digest.update(&piece);
        self.offset += piece.len() as u64;
        self.left -= piece.len() as u64;
        Ok(piece)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<Vec<u8>, BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let path = || self.reader.path.clone();
        if self.left > 0 {
            let piece = self.read().map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => BundleError::Truncated { path: path() },
                _ => BundleError::Io { path: path(), error },
            });
            self.ended = piece.is_err();
            return Some(piece);
        }
        self.ended = true;
        let right = hex(&self.digest.finalize_reset()) == self.section.sha256;
        let what = || format!("section `{}`", self.section.name);
        (!right).then(|| Err(BundleError::Damaged { path: path(), what: what() }))
    }
}
