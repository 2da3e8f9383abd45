//! Compiled components kept on disk, and mapped from there: a start neither compiles nor composes
//! nor copies, and pages that no request touches take no memory. wasmtime's own cache unpacks
//! its files into memory instead.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, error::Context as _};

use crate::RuntimeError;

/// Bytes that the folder may hold beside the file written last; the longest unused go first.
const KEEP: u64 = 1 << 30;

/// Of how components are filled and put together: to be raised when that changes, so that what
/// was kept before is not taken for what would be made now.
const COMPOSITION: u32 = 1;

/// The component of `key`: the one kept in `folder`, or else what `compose` gives, compiled and
/// kept for the next time. A folder that cannot be written is no failure.
pub(crate) fn component<E: From<RuntimeError>>(
    engine: &Engine,
    folder: Option<&Path>,
    key: &[u8],
    compose: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Component, E> {
    let file = folder.map(|folder| folder.join(name(engine, key)));
    if let Some(kept) = file.as_deref().and_then(|file| map(engine, file)) {
        return Ok(kept);
    }
    let compiled = engine.precompile_component(&compose()?).map_err(RuntimeError::compose)?;
    if let Some(file) = file {
        match keep(&file, &compiled) {
            Ok(()) => {
                if let Some(kept) = map(engine, &file) {
                    return Ok(kept);
                }
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "compiled code is not kept");
            }
        }
    }
    // SAFETY: these are the bytes that this engine made a moment ago.
    let component = unsafe { Component::deserialize(engine, &compiled) };
    Ok(component.map_err(RuntimeError::compose)?)
}

/// A file's name says what was compiled, and for which engine.
fn name(engine: &Engine, key: &[u8]) -> String {
    let mut compatibility = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    let mut digest = Sha256::new();
    digest.update(compatibility.finish().to_le_bytes());
    digest.update(COMPOSITION.to_le_bytes());
    digest.update(key);
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.cwasm")
}

/// The component in `file`, mapped; `None` where there is no such file, or it is damaged.
fn map(engine: &Engine, file: &Path) -> Option<Component> {
    // Used now: what was not used for longest goes first.
    let _ = fs::File::open(file).ok()?.set_modified(SystemTime::now());
    // SAFETY: the file is one that `keep` wrote of `Engine::precompile_component`, under a name
    // made of its input and the engine; nothing writes to a file once it has its name. The folder
    // is the user's own, and as trusted as the program itself. A file of another engine, and one
    // that was cut short, is refused.
    let mapped = unsafe { Component::deserialize_file(engine, file) };
    mapped
        .with_context(|| file.display().to_string())
        .inspect_err(|error| tracing::warn!("compiled code cannot be used: {error:#}"))
        .ok()
}

/// Writes a file whole or not at all, and deletes old ones until the rest is small enough.
fn keep(file: &Path, compiled: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(compiled)?;
    new.as_file().sync_all()?;
    make_room(folder)?;
    new.persist(file)?;
    Ok(())
}

fn make_room(folder: &Path) -> std::io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let (entry, path) = entry.map(|entry| (entry.metadata(), entry.path()))?;
        if path.extension().is_some_and(|extension| extension == "cwasm") {
            let entry = entry?;
            files.push((entry.modified()?, entry.len(), path));
        }
    }
    files.sort();
    let mut kept: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if kept <= KEEP {
            break;
        }
        fs::remove_file(path)?;
        kept -= bytes;
    }
    Ok(())
}
