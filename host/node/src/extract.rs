//! A bundle's application as files, for hosts that read spin.toml from a folder.

use std::fs;
use std::path::{Path, PathBuf};

use trine_bundle::Reader;
use trine_runtime::manifest::Manifest;

use crate::NodeError;
use crate::about::{SPIN_TOML, component_section, file_name};

/// Writes spin.toml and its filled components into `folder`, the manifest naming them as they lie
/// there. Returns what was written.
pub fn extract(reader: &mut Reader, folder: &Path) -> Result<Vec<PathBuf>, NodeError> {
    let mut text = String::from_utf8(reader.read(SPIN_TOML)?)
        .map_err(|e| NodeError::malformed("spin.toml", e))?;
    let manifest = Manifest::parse(&text)?;
    fs::create_dir_all(folder).map_err(|error| NodeError::Io { path: folder.to_owned(), error })?;
    let mut written = Vec::new();
    for file in manifest.files() {
        let component = reader.read(&component_section(file))?;
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
