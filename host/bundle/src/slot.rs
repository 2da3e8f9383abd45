//! One of the two places that say which table of contents counts.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{BundleError, LONGEST_TOC, Section, VERSION};

const MAGIC: [u8; 8] = *b"\x89TRINE\r\n";
/// Where the slots lie: a block of a disk each.
const SLOTS: [u64; 2] = [0, 4096];
/// Where the first section lies.
pub(crate) const CONTENTS: u64 = 8192;
const SIGNED: usize = 72;
const LENGTH: usize = SIGNED + 32;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its place in [`SLOTS`].
    pub(crate) place: usize,
    /// Greater than that of what it took the place of.
    pub(crate) generation: u64,
    pub(crate) toc_offset: u64,
    pub(crate) toc_length: u64,
    pub(crate) toc_digest: [u8; 32],
}

/// The bytes at a slot's place.
enum Found {
    /// A slot, and whole.
    Whole(Slot),
    /// A slot of another version.
    Version(u32),
    /// The magic bytes, and then something else.
    Damaged,
    /// Fewer bytes than a slot has, the magic ones among them.
    Short,
    /// Something else.
    Nothing,
}

impl Slot {
    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.toc_offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.toc_length.to_le_bytes());
        bytes[40..SIGNED].copy_from_slice(&self.toc_digest);
        let digest = Sha256::digest(&bytes[..SIGNED]);
        bytes[SIGNED..].copy_from_slice(&digest);
        bytes
    }

    /// Writes it to its place.
    pub(crate) fn write(self, file: &mut File) -> std::io::Result<()> {
        file.seek(SeekFrom::Start(SLOTS[self.place]))?;
        file.write_all(&self.to_bytes())
    }

    /// Past the last byte of its table.
    pub(crate) fn end(&self) -> u64 {
        self.toc_offset.saturating_add(self.toc_length)
    }

    /// The sections of its table; `None` where that is not what was written.
    pub(crate) fn table(&self, file: &mut File) -> std::io::Result<Option<Vec<Section>>> {
        if self.end() > file.metadata()?.len() {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(self.toc_offset))?;
        let mut table = Vec::new();
        file.take(self.toc_length).read_to_end(&mut table)?;
        if Sha256::digest(&table)[..] != self.toc_digest {
            return Ok(None);
        }
        let sections: Option<Vec<Section>> = serde_json::from_slice(&table).ok();
        Ok(sections.filter(|sections| {
            let ends = sections.iter().map(|s| s.offset.checked_add(s.length));
            ends.into_iter().all(|end| end.is_some_and(|end| end <= self.toc_offset))
        }))
    }
}

/// The slots of a bundle that are whole, the latest first.
pub(crate) fn slots(path: &Path, file: &mut File) -> Result<Vec<Slot>, BundleError> {
    let at = |error| BundleError::Io { path: path.to_owned(), error };
    let first = read(file, 0).map_err(at)?;
    let second = read(file, 1).map_err(at)?;
    let found = [first, second];
    let mut whole: Vec<Slot> = found
        .iter()
        .filter_map(|found| match found {
            Found::Whole(slot) => Some(*slot),
            _ => None,
        })
        .collect();
    whole.sort_by_key(|slot| std::cmp::Reverse(slot.generation));
    if !whole.is_empty() {
        return Ok(whole);
    }
    let path = path.to_owned();
    let damaged = found.iter().any(|found| matches!(found, Found::Damaged));
    let version = found.iter().find_map(|found| match found {
        Found::Version(version) => Some(*version),
        _ => None,
    });
    Err(match version {
        Some(found) => BundleError::Version { path, found },
        None if damaged => BundleError::Damaged { path, what: "its header".to_owned() },
        None if matches!(found[0], Found::Short) => BundleError::Truncated { path },
        None => BundleError::NotABundle { path },
    })
}

fn read(file: &mut File, place: usize) -> std::io::Result<Found> {
    file.seek(SeekFrom::Start(SLOTS[place]))?;
    let mut bytes = Vec::with_capacity(LENGTH);
    file.take(LENGTH as u64).read_to_end(&mut bytes)?;
    if !bytes.starts_with(&MAGIC) {
        return Ok(Found::Nothing);
    }
    let Ok(bytes) = <[u8; LENGTH]>::try_from(bytes) else { return Ok(Found::Short) };
    let u64_at = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    let version = u64_at(8) as u32;
    if version != VERSION {
        return Ok(Found::Version(version));
    }
    let mut toc_digest = [0; 32];
    toc_digest.copy_from_slice(&bytes[40..SIGNED]);
    let (generation, toc_offset, toc_length) = (u64_at(16), u64_at(24), u64_at(32));
    let slot = Slot { place, generation, toc_offset, toc_length, toc_digest };
    let right = slot.to_bytes() == bytes && toc_offset >= CONTENTS && toc_length <= LONGEST_TOC;
    Ok(if right { Found::Whole(slot) } else { Found::Damaged })
}
