//! A bundle opened to be changed: by one process at a time, while any number read it.

use std::path::Path;

use trine_bundle::{Appender, Reader, Writer};
use trine_index::setup::RetrieverSetup;

use crate::about::{ABOUT, About, RETRIEVER_SETUP, json};
use crate::living::{self, BASE, BaseOptions, DELTA, Document, Entry, Living};
use crate::{NodeError, Step};

/// When a change makes a new base instead of a delta, and how.
#[derive(Clone, Copy, Debug)]
pub struct Folding {
    /// Passages that the delta may have: each request is given all of them.
    pub delta: usize,
    /// Of this many of the base's passages one may be removed: they are found and thrown away.
    pub removed: usize,
    /// Bytes of earlier generations that the file may keep, beside as many as are in use.
    pub dead_bytes: u64,
    /// Threads to build on; 0 takes as many as the machine has.
    pub threads: usize,
}

impl Default for Folding {
    fn default() -> Self {
        Folding { delta: 1000, removed: 4, dead_bytes: 64 << 20, threads: 0 }
    }
}

/// A change that has been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The bundle's content digest.
    pub digest: String,
    /// Whether it was written anew, with a new base.
    pub folded: bool,
    /// Whether it had better be, by [`fold`].
    pub wants_folding: bool,
}

/// A bundle that this process alone may change.
pub struct Edit {
    appender: Appender,
    /// What it says of itself.
    pub about: About,
    /// Its documents.
    pub living: Living,
}

impl Edit {
    /// Opens the bundle at `path` for a change. While another process changes it, this one waits,
    /// having called `waiting`.
    pub fn open(path: &Path, waiting: &dyn Fn()) -> Result<Edit, NodeError> {
        let appender = Appender::open(path, waiting)?;
        let about = About::read(appender.reader())?;
        let living = Living::read(appender.reader())?;
        Ok(Edit { appender, about, living })
    }

    /// The bundle as it was when it was opened.
    pub fn reader(&self) -> &Reader {
        self.appender.reader()
    }

    /// Makes the change count: as a delta, or, where that would be too large, as a new base.
    pub fn commit(
        mut self,
        folding: &Folding,
        progress: &dyn Fn(Step) -> Result<(), NodeError>,
    ) -> Result<Committed, NodeError> {
        if self.living.is_empty() {
            return Err(NodeError::NothingLeft);
        }
        if self.living.delta_passages() > folding.delta {
            return self.rewrite(folding, progress);
        }
        progress(Step::Writing)?;
        self.living.append(&mut self.appender)?;
        self.about.count(&self.living);
        self.appender.section(ABOUT, &json(&self.about)?)?;
        let wants_folding = wants_folding(&self.living, self.reader(), folding);
        Ok(Committed { digest: self.appender.commit()?, folded: false, wants_folding })
    }

    /// Writes the bundle anew, with what is live as its base.
    fn rewrite(
        self,
        folding: &Folding,
        progress: &dyn Fn(Step) -> Result<(), NodeError>,
    ) -> Result<Committed, NodeError> {
        let Edit { appender, mut about, living } = self;
        about.count(&living);
        let documents = living.fold(appender.reader())?;
        let mut writer = Writer::create(appender.path())?;
        copy_rest(appender.reader(), &mut writer, &about)?;
        base(&mut writer, documents, &about, folding, progress)?;
        progress(Step::Writing)?;
        Ok(Committed { digest: writer.replace(appender)?, folded: true, wants_folding: false })
    }
}

/// Whether so much has changed that a new base is worth its time.
fn wants_folding(living: &Living, reader: &Reader, folding: &Folding) -> bool {
    let in_use: u64 = reader.sections().iter().map(|section| section.length).sum();
    let removed = living.removed().len() * folding.removed > living.base_passages();
    // Once more as many as the last change brought, and the delta would be too large.
    let full = living.delta_passages() * 10 > folding.delta * 9;
    full || removed || reader.dead_bytes() > in_use + folding.dead_bytes
}

/// Makes a new base of what is live in the bundle at `path`, while others may go on changing it:
/// what they change meanwhile is the new base's delta. `None` when there was nothing to fold, or
/// somebody else has done it.
pub fn fold(
    path: &Path,
    folding: &Folding,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<Option<Committed>, NodeError> {
    let reader = Reader::open(path)?;
    if !living::has_delta(&reader) && reader.dead_bytes() == 0 {
        return Ok(None);
    }
    let documents = Living::read(&reader)?.fold(&reader)?;
    if documents.is_empty() {
        return Err(NodeError::NothingLeft);
    }
    let entries: Vec<Entry> = documents.iter().map(|document| document.entry.clone()).collect();
    // Beside the bundle, as everything that is not finished.
    let mut writer = Writer::create(path)?;
    base(&mut writer, documents, &About::read(&reader)?, folding, progress)?;

    let appender = Appender::open(path, &|| ())?;
    let now = appender.reader();
    if base_digests(now) != base_digests(&reader) {
        return Ok(None);
    }
    let (living, mut about) = (Living::read(now)?.over(entries), About::read(now)?);
    about.count(&living);
    living.write(&mut writer)?;
    copy_rest(now, &mut writer, &about)?;
    progress(Step::Writing)?;
    let digest = writer.replace(appender)?;
    Ok(Some(Committed { digest, folded: true, wants_folding: false }))
}

fn base(
    writer: &mut Writer,
    documents: Vec<Document>,
    about: &About,
    folding: &Folding,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<(), NodeError> {
    let vectors = documents.iter().map(|document| document.vectors.len()).sum();
    let mut connected = |done| progress(Step::Graph { vectors, done });
    connected(0)?;
    let options =
        BaseOptions { threads: folding.threads, vectors: about.vectors, lexical: about.lexical };
    living::write_base(writer, documents, options, &mut connected)
}

fn base_digests(reader: &Reader) -> Vec<&str> {
    let sections = reader.sections().iter();
    sections.filter(|s| s.name.starts_with(BASE)).map(|s| s.sha256.as_str()).collect()
}

/// Copies what folding leaves as it is.
fn copy_rest(reader: &Reader, writer: &mut Writer, about: &About) -> Result<(), NodeError> {
    writer.section(ABOUT, &json(about)?)?;
    for section in reader.sections() {
        let name = section.name.as_str();
        if name == ABOUT || name.starts_with(BASE) || name.starts_with(DELTA) {
            continue;
        }
        let mut bytes = reader.read(name)?;
        if name == RETRIEVER_SETUP {
            let mut setup: RetrieverSetup = serde_json::from_slice(&bytes)
                .map_err(|e| NodeError::malformed("retriever's settings", e))?;
            setup.documents = about.documents as u32;
            bytes = json(&setup)?;
        }
        writer.section(name, &bytes)?;
    }
    Ok(())
}
