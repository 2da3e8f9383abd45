//! Documents added to a bundle, taken out of it, or brought up to date, in place.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use trine_corpus::{Corpus, ReadOptions, Report};
use trine_index::Vector;
use trine_index::setup::RetrieverSetup;
use trine_inference::{Engine, EngineOptions, PrecisionOption};
use trine_text::tokens::{Encoded, Encoder};

use crate::about::{About, RETRIEVER_SETUP, TOKENIZER};
use crate::build::whole_paths;
use crate::edit::{Committed, Edit, Folding};
use crate::embed::{Cut, Gather, Gathered, embed};
use crate::living::{self, BASE, Document, Living};
use crate::models::graphs;
use crate::{ModelRef, ModelStore, NodeError, Step};

/// What is to become of a bundle's documents.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Takes in what is new or different under these paths.
    Add(&'a [PathBuf]),
    /// Takes out documents of these names; a name may be a glob.
    Remove(&'a [String]),
    /// Takes in what is new or different, and takes out what is gone, under these paths; under
    /// those that the bundle was made from when there are none.
    Update(&'a [PathBuf]),
}

/// What has become of them.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Names of new documents.
    pub added: Vec<String>,
    /// Names of documents with other contents than before.
    pub changed: Vec<String>,
    /// Names of documents that are there no more.
    pub removed: Vec<String>,
    /// How many are as they were.
    pub unchanged: usize,
    /// What was read and skipped.
    pub report: Report,
    /// Passages longer than the embedder's window, and the tokens of them that it did not read.
    pub truncated: (u64, u64),
    /// How it was written; not at all when nothing had changed.
    pub committed: Option<Committed>,
}

/// How bundles are changed.
#[derive(Clone, Debug, Default)]
pub struct KeeperOptions {
    /// The device that embeds, and the threads that also build indexes.
    pub engine: EngineOptions,
    /// When a change makes a new base.
    pub folding: Folding,
    /// Only says what would be changed.
    pub dry_run: bool,
}

/// Changes bundles. The model is loaded when it is needed first, and kept.
pub struct Keeper<'a> {
    models: &'a ModelStore,
    options: KeeperOptions,
    engine: RefCell<Option<(ModelRef, Engine)>>,
}

type Progress<'a> = &'a dyn Fn(Step) -> Result<(), NodeError>;

impl<'a> Keeper<'a> {
    /// Nothing is loaded yet.
    pub fn new(models: &'a ModelStore, options: KeeperOptions) -> Keeper<'a> {
        Keeper { models, options, engine: RefCell::default() }
    }

    /// Changes the bundle at `path`: all of it, or, on an error, nothing. While another process
    /// changes it, this one waits, having called `waiting`.
    pub fn change(
        &self,
        path: &Path,
        change: Change,
        waiting: &dyn Fn(),
        progress: Progress,
    ) -> Result<Changed, NodeError> {
        let mut edit = Edit::open(path, waiting)?;
        let before = edit.about.paths.clone();
        let mut changed = match change {
            Change::Remove(patterns) => remove(&mut edit.living, patterns)?,
            Change::Add(paths) => {
                let paths = whole_paths(paths)?;
                let changed = self.take_in(&mut edit, &paths, false, progress)?;
                let new = paths.into_iter().filter(|path| !before.contains(path));
                edit.about.paths.extend(new);
                changed
            }
            Change::Update(paths) => {
                if !paths.is_empty() {
                    edit.about.paths = whole_paths(paths)?;
                }
                let paths = edit.about.paths.clone();
                self.take_in(&mut edit, &paths, true, progress)?
            }
        };
        let is_changed = changed.is_any() || edit.about.paths != before;
        if is_changed && !self.options.dry_run {
            changed.committed = Some(edit.commit(&self.options.folding, progress)?);
        }
        Ok(changed)
    }

    /// Takes in what is new or different under `paths`; with `all`, what is not there goes.
    fn take_in(
        &self,
        edit: &mut Edit,
        paths: &[PathBuf],
        all: bool,
        progress: Progress,
    ) -> Result<Changed, NodeError> {
        let gathered = self.gather(edit, paths, progress)?;
        let Gathered { documents, sources, report, truncated } = gathered;
        let living = &mut edit.living;
        let mut changed = Changed { report, truncated, ..Changed::default() };
        changed.unchanged = sources.len().saturating_sub(documents.len());
        for document in documents {
            let source = document.entry.source.clone();
            match living.get(&source) {
                Some(_) => changed.changed.push(source),
                None => changed.added.push(source),
            }
            living.put(document);
        }
        if all {
            let gone = living.entries().map(|entry| &entry.source);
            let gone: Vec<String> =
                gone.filter(|source| !sources.contains(*source)).cloned().collect();
            changed.take_out(living, gone);
        }
        Ok(changed)
    }

    fn gather(
        &self,
        edit: &Edit,
        paths: &[PathBuf],
        progress: Progress,
    ) -> Result<Gathered, NodeError> {
        let setup: RetrieverSetup = serde_json::from_slice(&edit.reader().read(RETRIEVER_SETUP)?)
            .map_err(|e| NodeError::malformed("retriever's settings", e))?;
        let encoder = Encoder::new(&edit.reader().read(TOKENIZER)?, setup.max_tokens)?;
        let About { chunking, overlap, .. } = edit.about;
        let known = Known::of(edit);
        let gather = Gather {
            encoder: &encoder,
            cut: Cut { chunking, overlap, window: setup.max_tokens },
            embed: &|texts| self.embed(&edit.about.embedder, texts),
            unchanged: &|source, digest, fields| {
                let entry = edit.living.get(source);
                entry.is_some_and(|entry| (&entry.digest, entry.fields) == (digest, fields))
            },
            known: &|digest| known.find(digest),
            progress,
        };
        gather.run(paths)
    }

    fn embed(&self, model: &ModelRef, texts: Vec<Encoded>) -> Result<Vec<Vector>, NodeError> {
        if texts.is_empty() {
            return Ok(vec![]);
        }
        if self.options.dry_run {
            // Nobody will look at them.
            return Ok(texts.iter().map(|_| Vector::normalized(vec![])).collect());
        }
        let mut held = self.engine.borrow_mut();
        let engine = match held.take().filter(|(held, _)| held == model) {
            Some((_, engine)) => engine,
            None => {
                let loaded = self.models.load_pinned(model, PrecisionOption::Auto)?;
                let loaded = loaded.must_embed("retriever")?;
                Engine::start(graphs(&loaded, &loaded)?, self.options.engine.clone())?
            }
        };
        let (_, engine) = held.insert((model.clone(), engine));
        embed(engine, &model.name, texts)
    }
}

impl Changed {
    /// Whether there is any difference.
    pub fn is_any(&self) -> bool {
        !(self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty())
    }

    fn take_out(&mut self, living: &mut Living, mut sources: Vec<String>) {
        sources.sort_unstable();
        for source in &sources {
            living.remove(source);
        }
        self.removed.extend(sources);
    }
}

/// A number that is another one when the documents under `paths` may have changed, by their names,
/// sizes and times of modification.
pub fn stamp(paths: &[PathBuf]) -> Result<u64, NodeError> {
    Ok(Corpus::open(paths, ReadOptions::default())?.stamp())
}

fn remove(living: &mut Living, patterns: &[String]) -> Result<Changed, NodeError> {
    let mut changed = Changed::default();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = glob.map(|glob| glob.compile_matcher()).ok();
        let matches = |source: &str| {
            source == pattern || glob.as_ref().is_some_and(|glob| glob.is_match(source))
        };
        let sources = living.entries().map(|entry| &entry.source);
        let found: Vec<String> = sources.filter(|source| matches(source)).cloned().collect();
        if found.is_empty() {
            return Err(NodeError::NoDocument { pattern: pattern.clone() });
        }
        changed.take_out(living, found);
    }
    changed.unchanged = living.len();
    Ok(changed)
}

/// Documents by their contents: one that was renamed is not embedded again.
struct Known<'a> {
    edit: &'a Edit,
    sources: HashMap<[u8; 32], &'a str>,
    /// Read when one of them is wanted.
    base: OnceCell<HashMap<String, Document>>,
}

impl<'a> Known<'a> {
    fn of(edit: &'a Edit) -> Known<'a> {
        let entries = edit.living.entries();
        let sources = entries.map(|entry| (entry.digest, entry.source.as_str())).collect();
        Known { edit, sources, base: OnceCell::new() }
    }

    fn find(&self, digest: &[u8; 32]) -> Result<Option<Document>, NodeError> {
        let Some(&source) = self.sources.get(digest) else { return Ok(None) };
        if let Some(document) = self.edit.living.in_delta(source) {
            return Ok(Some(document.clone()));
        }
        let base = match self.base.get() {
            Some(base) => base,
            None => {
                let documents = living::documents(self.edit.reader(), BASE)?;
                let named = |document: Document| (document.entry.source.clone(), document);
                self.base.get_or_init(|| documents.into_iter().map(named).collect())
            }
        };
        Ok(base.get(source).cloned())
    }
}
