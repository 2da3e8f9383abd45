//! Reading a bundle: nothing is believed before its digest is checked.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{BundleError, HEADER, LONGEST_TOC, MAGIC, Section, VERSION, hex, sha256_hex};

/// An open bundle whose table of contents has been checked.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    sections: Vec<(Section, u64)>,
    digest: String,
}

impl Reader {
    /// Opens a bundle and checks its header and table; the sections are checked as they are read.
    pub fn open(path: &Path) -> Result<Reader, BundleError> {
        let at = |error| BundleError::Io { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(at)?;
        let size = file.metadata().map_err(at)?.len();
        let (offset, length, digest) = header(path, &mut file, size)?;

        file.seek(SeekFrom::Start(offset)).map_err(at)?;
        let mut toc = vec![0; length as usize];
        file.read_exact(&mut toc).map_err(at)?;
        let damaged = || BundleError::Damaged {
            path: path.to_owned(),
            what: "its table of contents".to_owned(),
        };
        if Sha256::digest(&toc)[..] != digest {
            return Err(damaged());
        }
        let listed: Vec<Section> = serde_json::from_slice(&toc).map_err(|_| damaged())?;
        let mut sections = Vec::with_capacity(listed.len());
        let mut start = HEADER;
        for section in listed {
            let end = start.checked_add(section.length).filter(|&end| end <= offset);
            let end = end.ok_or_else(damaged)?;
            sections.push((section, start));
            start = end;
        }
        Ok(Reader { path: path.to_owned(), file, sections, digest: hex(&digest) })
    }

    /// The content digest, in hexadecimal: equal for equal contents.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The sections, in the order they lie.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().map(|(section, _)| section)
    }

    /// A section's bytes, checked against its digest.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>, BundleError> {
        let found = self.sections.iter().find(|(section, _)| section.name == name).cloned();
        let Some((section, start)) = found else {
            return Err(BundleError::NoSection { path: self.path.clone(), name: name.to_owned() });
        };
        let at = |error| BundleError::Io { path: self.path.clone(), error };
        self.file.seek(SeekFrom::Start(start)).map_err(at)?;
        let mut bytes = vec![0; section.length as usize];
        self.file.read_exact(&mut bytes).map_err(at)?;
        if sha256_hex(&bytes) != section.sha256 {
            let what = format!("section `{name}`");
            return Err(BundleError::Damaged { path: self.path.clone(), what });
        }
        Ok(bytes)
    }
}

/// Where the table lies, how long it is, and its digest.
fn header(path: &Path, file: &mut File, size: u64) -> Result<(u64, u64, [u8; 32]), BundleError> {
    let path = || path.to_owned();
    let mut bytes = [0u8; HEADER as usize];
    let mut got = 0;
    while got < bytes.len() {
        match file.read(&mut bytes[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) => return Err(BundleError::Io { path: path(), error }),
        }
    }
    if got < MAGIC.len() || bytes[..MAGIC.len()] != MAGIC {
        return Err(BundleError::NotABundle { path: path() });
    }
    if got < bytes.len() {
        return Err(BundleError::Truncated { path: path() });
    }
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if version != VERSION {
        return Err(BundleError::Version { path: path(), found: version });
    }
    let u64_at = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    let (offset, length) = (u64_at(16), u64_at(24));
    let mut digest = [0; 32];
    digest.copy_from_slice(&bytes[32..64]);
    if bytes[12..16] != [0; 4] || offset < HEADER || length > LONGEST_TOC {
        return Err(BundleError::Damaged { path: path(), what: "its header".to_owned() });
    }
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(BundleError::Truncated { path: path() });
    }
    Ok((offset, length, digest))
}
