//! A bundle's application as files, for hosts that read spin.toml from a folder.

use std::fs;
use std::path::{Path, PathBuf};

use trine_bundle::Reader;
use trine_components::{DECODER, WRITER};
use trine_runtime::manifest::{ComponentManifest, Manifest};
use trine_runtime::{LanguageModels, compose, snapshot};

use crate::about::{SPIN_TOML, file_name};
use crate::application::Role;
use crate::open::manifest;
use crate::parts::source;
use crate::{LanguageModel, NodeError, living};

/// Writes spin.toml and its filled components into `folder`, the manifest naming them as they lie
/// there. Returns what was written. With a language model each generator is one that has it write,
/// asks the host for nothing but wasi:nn, and is said in the manifest to do so.
///
/// # Errors
/// [`NodeError::NotFolded`] for a bundle with a delta, which no component holds.
pub fn extract(
    reader: &Reader,
    folder: &Path,
    model: Option<&LanguageModel>,
) -> Result<Vec<PathBuf>, NodeError> {
    if living::has_delta(reader) {
        return Err(NodeError::NotFolded);
    }
    let manifest = manifest(reader, &LanguageModels::default())?;
    let mut text = String::from_utf8(reader.read(SPIN_TOML)?)
        .map_err(|e| NodeError::malformed("spin.toml", e))?;
    fs::create_dir_all(folder).map_err(|error| NodeError::Io { path: folder.to_owned(), error })?;
    let mut written = Vec::new();
    for file in manifest.files() {
        let component = match model {
            Some(model) if Role::of(&manifest, file) == Some(Role::Generator) => {
                writing(reader, &manifest, file, model)?
            }
            _ => filled(reader, &manifest, file)?,
        };
        let name = file_name(file);
        text = text.replace(&format!("\"{file}\""), &format!("\"{name}\""));
        written.push(put(folder.join(name), &component)?);
    }
    if model.is_some() && !manifest.writes {
        text = writes(&text);
    }
    written.push(put(folder.join("spin.toml"), text.as_bytes())?);
    Ok(written)
}

/// A manifest whose generators need no writer in front of them.
fn writes(text: &str) -> String {
    const TABLE: &str = "[application.tool.trine]\n";
    match text.contains(TABLE) {
        true => text.replacen(TABLE, &format!("{TABLE}writes = true\n"), 1),
        false => format!("{}\n\n{TABLE}writes = true\n", text.trim_end()),
    }
}

fn filled(reader: &Reader, manifest: &Manifest, file: &str) -> Result<Vec<u8>, NodeError> {
    let source = source(reader, manifest, file)?;
    let component = (source.bytes)()?;
    match source.contents {
        Some(mut contents) => snapshot::filled(file_name(file), &component, &mut contents.parts),
        None => Ok(component),
    }
}

/// The generator in `file` with the writer in front of it, and what the writer needs.
fn writing(
    reader: &Reader,
    manifest: &Manifest,
    file: &str,
    model: &LanguageModel,
) -> Result<Vec<u8>, NodeError> {
    let has = |component: &&ComponentManifest| component.dependencies.values().any(|f| f == file);
    let beside = manifest.components.values().find(has).into_iter();
    let mut plugs = Vec::new();
    for file in beside.flat_map(|component| component.dependencies.values()) {
        if matches!(Role::of(manifest, file), Some(Role::Reranker | Role::Generator)) {
            plugs.push((file.as_str(), filled(reader, manifest, file)?));
        }
    }
    plugs.push((DECODER.file, model.decoder()?));
    let plugs: Vec<(&str, &[u8])> = plugs.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
    Ok(compose(WRITER.bytes, &plugs)?)
}

fn put(path: PathBuf, bytes: &[u8]) -> Result<PathBuf, NodeError> {
    match fs::write(&path, bytes) {
        Ok(()) => Ok(path),
        Err(error) => Err(NodeError::Io { path, error }),
    }
}
