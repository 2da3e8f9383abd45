//! Compiled code kept on disk, and mapped from there: a start neither compiles nor composes nor
//! copies, and pages that no request touches take no memory. wasmtime's own cache unpacks its files
//! into memory instead.
//!
//! Whoever makes what is not there holds a lock of the folder: what two processes, or two threads,
//! want at once is made once, and the memory that making takes is taken once.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Module, error::Context as _};

use crate::{Preparing, RuntimeError};

/// Bytes that the folder may hold beside the file written last; the longest unused go first. Room
/// for code, and for the memories of four of the largest bundles.
const KEEP: u64 = 9 << 29;

/// Of how components are filled and put together: to be raised when that changes, so that what
/// was kept before is not taken for what would be made now.
const COMPOSITION: u32 = 2;

/// What files that are not whole yet begin with.
const UNFINISHED: &str = "unfinished-";

/// Something of WebAssembly that a file can hold compiled.
pub(crate) trait Compiled: Sized {
    /// One of each kind may have the same key.
    const KIND: &str;

    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>>;

    /// # Safety
    /// As [`Module::deserialize`].
    unsafe fn load(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Self>;

    /// # Safety
    /// As [`Module::deserialize_file`].
    unsafe fn map(engine: &Engine, file: &Path) -> wasmtime::Result<Self>;
}

impl Compiled for Module {
    const KIND: &str = "module";

    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
        engine.precompile_module(wasm)
    }

    unsafe fn load(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Module> {
        // SAFETY: passed on to the caller.
        unsafe { Module::deserialize(engine, compiled) }
    }

    unsafe fn map(engine: &Engine, file: &Path) -> wasmtime::Result<Module> {
        // SAFETY: passed on to the caller.
        unsafe { Module::deserialize_file(engine, file) }
    }
}

impl Compiled for Component {
    const KIND: &str = "component";

    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
        engine.precompile_component(wasm)
    }

    unsafe fn load(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: passed on to the caller.
        unsafe { Component::deserialize(engine, compiled) }
    }

    unsafe fn map(engine: &Engine, file: &Path) -> wasmtime::Result<Component> {
        // SAFETY: passed on to the caller.
        unsafe { Component::deserialize_file(engine, file) }
    }
}

/// What is kept of an engine's code.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) engine: &'a Engine,
    /// Where it is kept; nowhere when absent.
    pub(crate) folder: Option<&'a Path>,
    /// Who is told what is being made.
    pub(crate) told: Option<fn(Preparing)>,
}

impl Kept<'_> {
    pub(crate) fn tell(&self, what: Preparing) {
        if let Some(told) = self.told {
            told(what);
        }
    }

    /// Waits until nobody else makes what is not there. A folder that cannot be locked is no
    /// failure: then what several want is made by each of them.
    pub(crate) fn lock(&self) -> Option<File> {
        let folder = self.folder?;
        fs::create_dir_all(folder).ok()?;
        let lock = File::options().create(true).append(true).open(folder.join("lock")).ok()?;
        if lock.try_lock().is_err() {
            self.tell(Preparing::Waiting);
            lock.lock().ok()?;
        }
        // What others left behind that were killed.
        for entry in fs::read_dir(folder).ok()?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Some(lock)
    }

    /// What is kept under `key`; `None` where there is nothing, or it is damaged.
    pub(crate) fn find<C: Compiled>(&self, key: &[u8]) -> Option<C> {
        self.map(&self.file::<C>(key)?)
    }

    /// Compiles `wasm`, and keeps it under `key` for the next time. A folder that cannot be written
    /// is no failure.
    pub(crate) fn make<C: Compiled>(&self, key: &[u8], wasm: &[u8]) -> Result<C, RuntimeError> {
        let started = Instant::now();
        let compiled = C::compile(self.engine, wasm).map_err(RuntimeError::compose)?;
        tracing::info!(kind = C::KIND, bytes = wasm.len(), elapsed = ?started.elapsed(), "compiled");
        if let Some(file) = self.file::<C>(key) {
            match keep(&file, &compiled) {
                Ok(()) => {
                    if let Some(kept) = self.map(&file) {
                        return Ok(kept);
                    }
                }
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "compiled code is not kept");
                }
            }
        }
        // SAFETY: these are the bytes that this engine made a moment ago.
        unsafe { C::load(self.engine, &compiled) }.map_err(RuntimeError::compose)
    }

    /// A file's name says what was compiled, and for which engine.
    fn file<C: Compiled>(&self, key: &[u8]) -> Option<PathBuf> {
        let mut compatibility = DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut compatibility);
        let mut digest = Sha256::new();
        digest.update(compatibility.finish().to_le_bytes());
        digest.update(COMPOSITION.to_le_bytes());
        digest.update(C::KIND);
        digest.update(key);
        let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(self.folder?.join(format!("{hex}.cwasm")))
    }

    fn map<C: Compiled>(&self, file: &Path) -> Option<C> {
        // Used now: what was not used for longest goes first.
        let _ = File::open(file).ok()?.set_modified(SystemTime::now());
        // SAFETY: the file is one that `keep` wrote of what `C::compile` gave, under a name made of
        // its input and the engine; nothing writes to a file once it has its name. The folder is
        // the user's own, and as trusted as the program itself. A file of another engine, and one
        // that was cut short, is refused.
        let mapped = unsafe { C::map(self.engine, file) };
        mapped
            .with_context(|| file.display().to_string())
            .inspect_err(|error| tracing::warn!("compiled code cannot be used: {error:#}"))
            .ok()
    }
}

/// Writes a file whole or not at all, having deleted old ones until the rest is small enough.
fn keep(file: &Path, compiled: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    make_room(folder)?;
    let mut new = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
    new.write_all(compiled)?;
    new.as_file().sync_all()?;
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
