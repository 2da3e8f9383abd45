//! The bundle file: named sections under one content digest, replaced without being rewritten.
//!
//! ```text
//! 0     slot 0       104 bytes
//! 4096  slot 1       104 bytes, or nothing yet
//! 8192  sections and tables of contents of all generations, in the order they were written
//!
//! A slot:
//! 0     magic        8 bytes   89 'T' 'R' 'I' 'N' 'E' 0D 0A
//! 8     version      u32 LE    5
//! 12    reserved     u32 LE    0
//! 16    generation   u64 LE    from 1
//! 24    toc offset   u64 LE
//! 32    toc length   u64 LE
//! 40    toc digest   32 bytes  SHA-256 of the table of contents: the bundle's content digest
//! 72    slot digest  32 bytes  SHA-256 of the slot's first 72 bytes
//! ```
//!
//! A table of contents is JSON: the name, offset, length and SHA-256 of each section. The slot of
//! the highest generation counts. [`Appender`] writes new sections and a new table behind
//! everything, syncs, and then overwrites the *other* slot: a writer that is killed at any byte
//! leaves the old bundle or the new one, and readers see one of the two. The slots lie in two
//! blocks of a disk, so that no write of one can damage the other.
//!
//! [`Writer`] makes whole files: beside their place, synced, renamed. [`Work`] keeps what a build has
//! computed until it has written one. What the sections mean is not this crate's business.

mod appender;
mod reader;
mod slot;
mod temporary;
mod work;
mod writer;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use appender::Appender;
pub use reader::{Pieces, Reader};
pub use work::{Key, Work};
pub use writer::{WriteSection, Writer};

/// The format's version that this build reads and writes.
pub const VERSION: u32 = 5;

/// A table of contents is a few kilobytes; more is no bundle of ours.
const LONGEST_TOC: u64 = 1 << 20;

/// What is wrong with a bundle file.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another kind of file.
    #[error("{path} is not a trine bundle; make one with `trine index PATH... -o FILE.trine`")]
    NotABundle {
        /// The file.
        path: PathBuf,
    },
    /// Made by another version of trine.
    #[error(
        "{path} is a bundle of format version {found}, this trine reads version {VERSION}; \
         build it again with `trine index`"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file ends before its contents do.
    #[error("{path} is cut short: copy it again or build it again with `trine index`")]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// Some byte is not what was written.
    #[error(
        "{path} is damaged: {what} does not match its digest; copy it again or build it again \
         with `trine index`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part whose digest differs.
        what: String,
    },
    /// It lacks something that every bundle has.
    #[error("{path} has no section `{name}`; build it again with `trine index`")]
    NoSection {
        /// The file.
        path: PathBuf,
        /// The section.
        name: String,
    },
    /// Another process builds the same bundle.
    #[error("{path} is in use: another process is making this bundle; wait for it, or stop it")]
    Busy {
        /// The work file.
        path: PathBuf,
    },
    /// Something else lies where work is to be kept.
    #[error("{path} is in the way and was not made by trine; move it elsewhere")]
    NotWork {
        /// The file.
        path: PathBuf,
    },
    /// Another file took the path while this one was being changed.
    #[error("{path} was replaced by another file meanwhile; nothing of it was changed")]
    Replaced {
        /// The path.
        path: PathBuf,
    },
}

/// One section, as the table of contents has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Its name, unique in the bundle.
    pub name: String,
    /// Where it lies in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
