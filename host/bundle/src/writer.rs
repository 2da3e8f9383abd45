//! Writing a bundle: all of it, or nothing.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::slot::{CONTENTS, Slot};
use crate::temporary::{Temporary, folder_of};
use crate::{Appender, BundleError, Section, hex};
use sha2::{Digest, Sha256};

/// Writes a section.
pub type WriteSection<'a> = dyn FnMut(&mut dyn Write) -> std::io::Result<()> + 'a;

/// A bundle being written.
pub struct Writer {
    path: PathBuf,
    file: Temporary,
    contents: Contents,
}

impl Writer {
    /// Starts a bundle that will lie at `path`; until [`Writer::finish`] nothing is there.
    pub fn create(path: &Path) -> Result<Writer, BundleError> {
        let at = |error| BundleError::Io { path: path.to_owned(), error };
        let mut file = Temporary::create(folder_of(path)).map_err(at)?;
        file.file.write_all(&[0; CONTENTS as usize]).map_err(at)?;
        let contents = Contents { sections: vec![], end: CONTENTS };
        Ok(Writer { path: path.to_owned(), file, contents })
    }

    /// Appends a section.
    pub fn section(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let written = self.contents.section(&mut self.file.file, name, bytes);
        written.map_err(|error| self.io(error))
    }

    /// Appends a section that `write` writes piece by piece.
    pub fn section_with(
        &mut self,
        name: &str,
        write: &mut WriteSection,
    ) -> Result<(), BundleError> {
        let written = self.contents.section_with(&mut self.file.file, name, write);
        written.map_err(|error| self.io(error))
    }

    /// Writes the table and the header, syncs, and puts the file in its place. Returns the
    /// content digest, in hexadecimal.
    pub fn finish(self) -> Result<String, BundleError> {
        self.finish_as(1)
    }

    /// The same in place of the bundle that `appender` has opened. Changes that others wait to
    /// make to that are made to this one.
    pub fn replace(self, appender: Appender) -> Result<String, BundleError> {
        appender.still_there()?;
        // The lock is held until the end.
        self.finish_as(appender.reader().generation() + 1)
    }

    fn finish_as(mut self, generation: u64) -> Result<String, BundleError> {
        let toc_digest = self.commit(generation).map_err(|error| self.io(error))?;
        let Writer { path, file, .. } = self;
        file.persist(&path).map_err(|error| BundleError::Io { path: path.clone(), error })?;
        sync_folder(&path);
        Ok(hex(&toc_digest))
    }

    fn commit(&mut self, generation: u64) -> std::io::Result<[u8; 32]> {
        let file = &mut self.file.file;
        let slot = self.contents.table(file, 0, generation)?;
        slot.write(file)?;
        #[cfg(unix)]
        {
            // A temporary file is private; a bundle is as readable as the user's other files.
            use std::os::unix::fs::PermissionsExt;
            file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.sync_all()?;
        Ok(slot.toc_digest)
    }

    fn io(&self, error: std::io::Error) -> BundleError {
        BundleError::Io { path: self.path.clone(), error }
    }
}

/// Sections on their way into a file.
pub(crate) struct Contents {
    pub(crate) sections: Vec<Section>,
    /// Where the next one will lie; the file is written nowhere else.
    pub(crate) end: u64,
}

impl Contents {
    pub(crate) fn section(
        &mut self,
        file: &mut File,
        name: &str,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        self.section_with(file, name, &mut |out| out.write_all(bytes))
    }

    fn section_with(
        &mut self,
        file: &mut File,
        name: &str,
        write: &mut WriteSection,
    ) -> std::io::Result<()> {
        file.seek(SeekFrom::Start(self.end))?;
        let mut out = Digesting { file, digest: Sha256::new(), length: 0 };
        write(&mut out)?;
        let (name, offset, length) = (name.to_owned(), self.end, out.length);
        let sha256 = hex(&out.digest.finalize());
        self.sections.push(Section { name, offset, length, sha256 });
        self.end += length;
        Ok(())
    }

    /// Writes the table; the slot that will make it count.
    pub(crate) fn table(
        &mut self,
        file: &mut File,
        place: usize,
        generation: u64,
    ) -> std::io::Result<Slot> {
        let table = serde_json::to_vec(&self.sections)?;
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(&table)?;
        Ok(Slot {
            place,
            generation,
            toc_offset: self.end,
            toc_length: table.len() as u64,
            toc_digest: Sha256::digest(&table).into(),
        })
    }
}

/// A file of which is known what was written to it.
struct Digesting<'a> {
    file: &'a mut File,
    digest: Sha256,
    length: u64,
}

impl Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// The rename is durable once its folder is synced; where folders cannot be synced, the system
/// does so in its own time, and either bundle is whole.
fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(folder_of(path)) {
        let _ = folder.sync_all();
    }
}
