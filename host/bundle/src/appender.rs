//! Changing a bundle: new sections behind the old ones, then one of two slots.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::slot;
use crate::writer::Contents;
use crate::{BundleError, Reader, hex};

/// A bundle that this process alone may change. Readers need no lock and are not held up.
pub struct Appender {
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
    reader: Reader,
    contents: Contents,
}

impl Appender {
    /// Opens the bundle at `path` for changes. While another process changes it, this one waits,
    /// having called `waiting`.
    pub fn open(path: &Path, waiting: &dyn Fn()) -> Result<Appender, BundleError> {
        let at = |error| BundleError::Io { path: path.to_owned(), error };
        loop {
            let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(at)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    waiting();
                    file.lock().map_err(at)?;
                }
                Err(TryLockError::Error(error)) => return Err(at(error)),
            }
            // Who held the lock may have put another file in this one's place.
            if !is_at(&file, path).map_err(at)? {
                continue;
            }
            let reader = Reader::open(path)?;
            // What lies behind both generations was left by a writer that was killed.
            let slots = slot::slots(path, &mut file)?;
            let end = slots.iter().map(slot::Slot::end).max().unwrap_or(slot::CONTENTS);
            let sections = reader.sections().to_vec();
            let contents = Contents { sections, end };
            return Ok(Appender { path: path.to_owned(), file, reader, contents });
        }
    }

    /// Where the bundle lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The generation that is being changed.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Gives the new generation a section, in place of one of the same name.
    pub fn section(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        self.remove(name);
        self.contents.section(&mut self.file, name, bytes).map_err(|error| self.io(error))
    }

    /// Leaves a section out of the new generation.
    pub fn remove(&mut self, name: &str) {
        self.contents.sections.retain(|section| section.name != name);
    }

    /// Makes the new generation the one that counts. Returns its content digest, in hexadecimal.
    pub fn commit(mut self) -> Result<String, BundleError> {
        let old = self.reader.slot();
        let digest = self.switch(old).map_err(|error| self.io(error))?;
        // An acknowledged change must be found by the next reader.
        self.still_there()?;
        Ok(hex(&digest))
    }

    /// Refuses to go on when another file has taken the path.
    pub(crate) fn still_there(&self) -> Result<(), BundleError> {
        match is_at(&self.file, &self.path).map_err(|error| self.io(error))? {
            true => Ok(()),
            false => Err(BundleError::Replaced { path: self.path.clone() }),
        }
    }

    fn switch(&mut self, old: slot::Slot) -> std::io::Result<[u8; 32]> {
        let file = &mut self.file;
        let slot = self.contents.table(file, 1 - old.place, old.generation + 1)?;
        // Cuts off what a killed writer left; readers know nothing of it.
        file.set_len(slot.end())?;
        file.sync_all()?;
        slot.write(file)?;
        file.sync_all()?;
        Ok(slot.toc_digest)
    }

    fn io(&self, error: std::io::Error) -> BundleError {
        BundleError::Io { path: self.path.clone(), error }
    }
}

/// Whether `file` is the one that lies at `path`.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let here = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((here.dev(), here.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file cannot be replaced.
#[cfg(not(unix))]
pub(crate) fn is_at(_file: &File, _path: &Path) -> std::io::Result<bool> {
    Ok(true)
}
