//! A bundle's application as files, for hosts that read spin.toml from a folder.

use std::fs;
use std::path::{Path, PathBuf};

use trine_bundle::Reader;
use trine_runtime::LanguageModels;

use crate::about::{SPIN_TOML, file_name};
use crate::open::manifest;
use crate::parts::source;
use crate::{NodeError, living};

/// Writes spin.toml and its filled components into `folder`, the manifest naming them as they lie
/// there. Returns what was written.
///
/// # Errors
/// [`NodeError::NotFolded`] for a bundle with a delta, which no component holds.
pub fn extract(reader: &Reader, folder: &Path) -> Result<Vec<PathBuf>, NodeError> {
    if living::has_delta(reader) {
        return Err(NodeError::NotFolded);
    }
    let manifest = manifest(reader, &LanguageModels::default())?;
    let mut text = String::from_utf8(reader.read(SPIN_TOML)?)
        .map_err(|e| NodeError::malformed("spin.toml", e))?;
    fs::create_dir_all(folder).map_err(|error| NodeError::Io { path: folder.to_owned(), error })?;
    let mut written = Vec::new();
    for file in manifest.files() {
        let component = (source(reader, &manifest, file)?.bytes)()?;
        let name = file_name(file);
        text = text.replace(&format!("\"{file}\""), &format!("\"{name}\""));
        written.push(put(folder.join(name), &component)?);
    }
    written.push(put(folder.join("spin.toml"), text.as_bytes())?);
    Ok(written)
}

fn put(path: PathBuf, bytes: &[u8]) -> Result<PathBuf, NodeError> {
    match fs::write(&path, bytes) {
        Ok(()) => Ok(path),
        Err(error) => Err(NodeError::Io { path, error }),
    }
}
