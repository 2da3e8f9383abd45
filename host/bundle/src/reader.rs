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
        self.chunks(name, &mut |chunk| bytes.extend_from_slice(chunk))?;
        Ok(bytes)
    }

    /// Checks a section against its digest.
    pub fn check(&self, name: &str) -> Result<(), BundleError> {
        self.chunks(name, &mut |_| ())
    }

    /// Hands a section over piece by piece; what came is only to be believed at the end.
    fn chunks(&self, name: &str, take: &mut dyn FnMut(&[u8])) -> Result<(), BundleError> {
        let section = self.section(name)?;
        let at = |error| BundleError::Io { path: self.path.clone(), error };
        let mut file = &self.file;
        file.seek(SeekFrom::Start(section.offset)).map_err(at)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; CHUNK.min(section.length as usize)];
        let mut left = section.length;
        while left > 0 {
            let chunk = &mut buffer[..left.min(CHUNK as u64) as usize];
            file.read_exact(chunk).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    BundleError::Truncated { path: self.path.clone() }
                }
                _ => at(error),
            })?;
            digest.update(&*chunk);
            take(chunk);
            left -= chunk.len() as u64;
        }
        if hex(&digest.finalize()) != section.sha256 {
            let what = format!("section `{name}`");
            return Err(BundleError::Damaged { path: self.path.clone(), what });
        }
        Ok(())
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }
}
