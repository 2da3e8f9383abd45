//! What is embedded is kept until the bundle is written, so that a build that is killed goes on where
//! it was.
//!
//! A vector is found again by the tokens that it was computed from. So it does not matter which
//! documents have changed since, or how they are cut: what is the same to the model is taken over,
//! and nothing else can be. A row has the same bits whatever is computed beside it, and a build
//! that was killed ends as one that was not.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use trine_bundle::{Key, Work};
use trine_index::Vector;
use trine_inference::{Engine, EngineOptions};
use trine_text::tokens::Encoded;

use crate::NodeError;
use crate::embed::in_batches;
use crate::models::Loaded;

/// The embedder of a build.
pub(crate) struct Resuming<'a> {
    engine: Engine,
    embedder: &'a Loaded,
    work: RefCell<Work>,
    resumed: Cell<u64>,
}

impl<'a> Resuming<'a> {
    /// Starts the engine, and opens the work file beside `output`; what is in it counts if `resume`.
    pub(crate) fn start(
        output: &Path,
        embedder: &'a Loaded,
        options: &EngineOptions,
        resume: bool,
    ) -> Result<Resuming<'a>, NodeError> {
        let binding = binding(embedder, options)?;
        let width = embedder.model.info().hidden_size;
        let work = RefCell::new(Work::open(&work_path(output), binding, width, resume)?);
        let engine = Engine::start(embedder.embedding_graphs()?, options.clone())?;
        Ok(Resuming { engine, embedder, work, resumed: Cell::new(0) })
    }

    /// Passages that an earlier run embedded.
    pub(crate) fn found(&self) -> u64 {
        self.work.borrow().found()
    }

    /// How many of the vectors so far were computed by an earlier run.
    pub(crate) fn resumed(&self) -> u64 {
        self.resumed.get()
    }

    /// The vectors of `texts`.
    pub(crate) fn embed(&self, texts: Vec<Encoded>) -> Result<Vec<Vector>, NodeError> {
        let mut work = self.work.borrow_mut();
        let keys: Vec<Key> = texts.iter().map(key).collect();
        let known = keys.iter().filter(|key| work.has(key) == Some(true)).count();
        self.resumed.update(|all| all + known as u64);
        let missing = texts.into_iter().zip(&keys).filter(|(_, key)| work.has(key).is_none());
        let missing: Vec<Encoded> = missing.map(|(text, _)| text).collect();
        in_batches(missing, |batch| {
            let rows = self.engine.embed_blocking(&self.embedder.name, &batch)?;
            Ok(work.append(batch.iter().map(key).zip(rows))?)
        })?;
        let vector = |key| {
            let row = work.row(key)?.ok_or_else(|| NodeError::malformed("work file", "a row"))?;
            Ok(Vector::normalized(row))
        };
        keys.iter().map(vector).collect()
    }

    /// Ends the engine, which holds much memory. What is left is to be removed when all is done.
    pub(crate) fn finish(self) -> Work {
        self.work.into_inner()
    }
}

/// Where the work of a build lies that is to end at `output`.
pub fn work_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".work");
    path.into()
}

fn key(text: &Encoded) -> Key {
    let mut digest = Sha256::new();
    text.ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
    digest.finalize().into()
}

/// A digest of all that makes other vectors of the same tokens: version, model, device, numbers.
fn binding(embedder: &Loaded, options: &EngineOptions) -> Result<Key, NodeError> {
    let precision = options.precision.here();
    let EngineOptions { device, gpu, .. } = options;
    let computing = format!("{device:?} {precision:?} {gpu:?}");
    let model = embedder.reference()?.sha256;
    let version = env!("CARGO_PKG_VERSION");
    Ok(Sha256::digest(format!("{version} {computing} {model:?}")).into())
}
