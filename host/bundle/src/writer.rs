//! Writing a bundle: all of it, or nothing.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{BundleError, HEADER, MAGIC, Section, VERSION, hex, sha256_hex};

/// A bundle being written.
pub struct Writer {
    path: PathBuf,
    file: NamedTempFile,
    sections: Vec<Section>,
}

impl Writer {
    /// Starts a bundle that will lie at `path`; until [`Writer::finish`] nothing is there.
    pub fn create(path: &Path) -> Result<Writer, BundleError> {
        let at = |error| BundleError::Io { path: path.to_owned(), error };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut file =
            tempfile::Builder::new().prefix(".trine-").tempfile_in(folder).map_err(at)?;
        file.write_all(&[0; HEADER as usize]).map_err(at)?;
        Ok(Writer { path: path.to_owned(), file, sections: vec![] })
    }

    /// Appends a section.
    pub fn section(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        self.file.write_all(bytes).map_err(|error| self.io(error))?;
        let (name, length) = (name.to_owned(), bytes.len() as u64);
        self.sections.push(Section { name, length, sha256: sha256_hex(bytes) });
        Ok(())
    }

    /// Writes the table and the header, syncs, and puts the file in its place. Returns the
    /// content digest, in hexadecimal.
    pub fn finish(mut self) -> Result<String, BundleError> {
        let toc = serde_json::to_vec(&self.sections).map_err(|e| self.io(e.into()))?;
        let digest = Sha256::digest(&toc);
        let written = self.commit(&toc, &digest);
        written.map_err(|error| self.io(error))?;
        let Writer { path, file, .. } = self;
        file.persist(&path).map_err(|e| BundleError::Io { path: path.clone(), error: e.error })?;
        sync_folder(&path);
        Ok(hex(&digest))
    }

    fn commit(&mut self, toc: &[u8], digest: &[u8]) -> std::io::Result<()> {
        let offset = HEADER + self.sections.iter().map(|s| s.length).sum::<u64>();
        let mut header = Vec::with_capacity(HEADER as usize);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&0u32.to_le_bytes());
        header.extend_from_slice(&offset.to_le_bytes());
        header.extend_from_slice(&(toc.len() as u64).to_le_bytes());
        header.extend_from_slice(digest);
        let file = self.file.as_file_mut();
        file.write_all(toc)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header)?;
        #[cfg(unix)]
        {
            // A temporary file is private; a bundle is as readable as the user's other files.
            use std::os::unix::fs::PermissionsExt;
            file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.sync_all()
    }

    fn io(&self, error: std::io::Error) -> BundleError {
        BundleError::Io { path: self.path.clone(), error }
    }
}

/// The rename is durable once its folder is synced; where folders cannot be synced, the system
/// does so in its own time, and either bundle is whole.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = std::fs::File::open(folder)
    {
        let _ = folder.sync_all();
    }
}
