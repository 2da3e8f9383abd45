//! Documents to passages to vectors.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::PathBuf;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use trine_corpus::{Corpus, CutOptions, Cutter, Cutting, Error, Progress, ReadOptions};
use trine_corpus::{Report, Skipped};
use trine_index::{Fields, MediaType, Passage, Vector};
use trine_inference::Engine;
use trine_text::passage_input;
use trine_text::tokens::{Encoded, Encoder};

use crate::living::{Document, Entry};
use crate::{Chunking, NodeError, Step};

/// Tokens embedded in one call: enough to keep every thread busy.
const BATCH_TOKENS: usize = 16 * 1024;
/// Bytes of documents that are cut together, on all threads: about as many as are embedded together,
/// so that progress shows what is embedded, and little more is read.
const GROUP_BYTES: usize = 64 << 10;

/// How documents become passages: what must stay as it is for old and new ones to go together.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) chunking: Chunking,
    pub(crate) overlap: usize,
    /// Tokens that the embedder takes.
    pub(crate) window: usize,
}

/// What was read, and what has become of it.
pub(crate) struct Gathered {
    /// The new and changed documents, in the order of the files.
    pub(crate) documents: Vec<Document>,
    /// The names of all documents that there are.
    pub(crate) sources: HashSet<String>,
    pub(crate) report: Report,
    /// Passages longer than the embedder's window, and the tokens of them that it did not read.
    pub(crate) truncated: (u64, u64),
}

/// Finds a document by the digest of its contents.
type Find<'a> = dyn Fn(&[u8; 32]) -> Result<Option<Document>, NodeError> + 'a;

/// What a pass over documents is asked to do.
pub(crate) struct Gather<'a> {
    pub(crate) encoder: &'a Encoder,
    pub(crate) cut: Cut,
    /// The vectors of texts, in their order.
    pub(crate) embed: &'a dyn Fn(Vec<Encoded>) -> Result<Vec<Vector>, NodeError>,
    /// Whether a document need not be looked at any further.
    pub(crate) unchanged: &'a dyn Fn(&str, &[u8; 32], u64) -> bool,
    /// A document of other name and the same contents, with its passages and vectors.
    pub(crate) known: &'a Find<'a>,
    pub(crate) progress: &'a dyn Fn(Step) -> Result<(), NodeError>,
}

impl Gather<'_> {
    /// Reads all documents under `paths`, and cuts and embeds those that must be.
    pub(crate) fn run(&self, paths: &[PathBuf]) -> Result<Gathered, NodeError> {
        let count = |text: &str| self.encoder.count(text).unwrap_or(0);
        let cutter = Cutter::new(&count, self.cut.options());
        let corpus = Corpus::open(paths, ReadOptions::default())?;
        let stopped = RefCell::new(None);
        let passages = Cell::new(0);
        let mut pending = Pending::new(self, &cutter, &passages);
        let mut sources = HashSet::new();
        let progress = |p| {
            let step = Step::Passages(Progress { passages: passages.get(), ..p });
            if let Err(error) = (self.progress)(step) {
                *stopped.borrow_mut() = Some(error);
            }
        };
        let read = corpus.documents::<NodeError>(&progress, &mut |document| {
            if let Some(error) = stopped.take() {
                return Err(error);
            }
            sources.insert(document.source.clone());
            let told = Told::of(&document);
            if (self.unchanged)(&document.source, &told.digest, told.fields_digest) {
                return Ok(());
            }
            match (self.known)(&told.digest)? {
                Some(known) => pending.add_known(known, document.source, told),
                None => pending.add(document, told),
            }
        });
        let mut report = read?;
        pending.flush()?;
        let Pending { done: documents, skipped, warnings, truncated, .. } = pending;
        report.documents -= skipped.len() as u64;
        report.passages = passages.get();
        if report.documents == 0 {
            let reasons = skipped.iter().take(5).map(|s| format!("{} {}", s.path, s.reason));
            let (files, reasons) = (corpus.files(), reasons.collect::<Vec<_>>().join("; "));
            return Err(Error::NothingRead { files, reasons }.into());
        }
        for skipped in &skipped {
            sources.remove(&skipped.path);
        }
        report.skipped.extend(skipped);
        report.warnings.extend(warnings);
        Ok(Gathered { documents, sources, report, truncated })
    }
}

impl Cut {
    fn options(self) -> CutOptions {
        let cutting = match self.chunking {
            Chunking::Sections => Cutting::Sections,
            Chunking::Whole => Cutting::Whole,
        };
        let (window, target) = (self.window, self.window * 4 / 5);
        CutOptions { cutting, window, target, overlap: self.overlap, ..CutOptions::default() }
    }
}

/// Documents on their way to vectors.
struct Pending<'a> {
    gather: &'a Gather<'a>,
    cutter: &'a Cutter<'a>,
    /// Read, but not cut.
    read: Vec<(trine_corpus::Document, Told)>,
    read_bytes: usize,
    done: Vec<Document>,
    passages: &'a Cell<u64>,
    skipped: Vec<Skipped>,
    warnings: Vec<String>,
    truncated: (u64, u64),
}

impl<'a> Pending<'a> {
    fn new(gather: &'a Gather<'a>, cutter: &'a Cutter<'a>, passages: &'a Cell<u64>) -> Pending<'a> {
        let (read, read_bytes, done, truncated) = (vec![], 0, vec![], (0, 0));
        let (skipped, warnings) = (vec![], vec![]);
        Pending { gather, cutter, read, read_bytes, done, passages, skipped, warnings, truncated }
    }

    fn add(&mut self, document: trine_corpus::Document, told: Told) -> Result<(), NodeError> {
        self.read_bytes += document.text.len();
        self.read.push((document, told));
        if self.read_bytes >= GROUP_BYTES { self.flush() } else { Ok(()) }
    }

    fn add_known(&mut self, known: Document, source: String, told: Told) -> Result<(), NodeError> {
        // In the order of the files, as far as that goes.
        self.flush()?;
        let named = |passage| Passage { source: source.clone(), ..passage };
        let passages: Vec<Passage> = known.passages.into_iter().map(named).collect();
        let (entry, fields) = told.entry(source, passages.len());
        self.done.push(Document { entry, passages, vectors: known.vectors, fields });
        Ok(())
    }

    /// Cuts and embeds what was read.
    fn flush(&mut self) -> Result<(), NodeError> {
        self.read_bytes = 0;
        let read = std::mem::take(&mut self.read);
        let cut = read.into_par_iter().map(|(document, told)| {
            let cut = self.cutter.cut(&document);
            let texts: Result<Vec<Encoded>, _> =
                cut.passages.iter().map(|p| self.gather.encoder.encode(&input(p))).collect();
            Ok((document.source, told, cut, texts?))
        });
        let cut: Vec<_> = cut.collect::<Result<_, NodeError>>()?;
        let mut texts = vec![];
        for (source, told, cut, of_document) in cut {
            if cut.passages.is_empty() {
                let reason = "has no text but its title".to_owned();
                self.skipped.push(Skipped { path: source, reason });
                continue;
            }
            if cut.over_window > 0 {
                let passages = cut.over_window;
                self.warnings.push(format!("{source}: has so long a title that {passages} of its passages exceed the model's window; shorten it"));
            }
            self.passages.update(|all| all + cut.passages.len() as u64);
            let (entry, fields) = told.entry(source, cut.passages.len());
            let (passages, vectors) = (cut.passages, vec![]);
            self.done.push(Document { entry, passages, vectors, fields });
            texts.extend(of_document);
        }
        for text in &texts {
            self.truncated.0 += u64::from(text.truncated > 0);
            self.truncated.1 += u64::from(text.truncated);
        }
        let mut vectors = (self.gather.embed)(texts)?.into_iter();
        for document in self.done.iter_mut().filter(|document| document.vectors.is_empty()) {
            document.vectors.extend(vectors.by_ref().take(document.passages.len()));
        }
        Ok(())
    }
}

/// What the embedder reads of a passage.
fn input(passage: &Passage) -> String {
    let Passage { title, headings, text, media_type, .. } = passage;
    passage_input(title, headings, text, *media_type == MediaType::Markdown)
}

/// What is known of a document before it is cut.
struct Told {
    /// Of all that decides its passages and vectors, its name not among it.
    digest: [u8; 32],
    fields: Fields,
    fields_digest: u64,
}

impl Told {
    fn of(document: &trine_corpus::Document) -> Told {
        let contents = [document.media_type.as_str(), &document.title, &document.text];
        // A file that was only touched is the one it was.
        let telling = document.fields.iter().filter(|(name, _)| *name != "modified");
        let written = digest([format!("{:?}", telling.collect::<Vec<_>>()).as_str()]);
        let fields_digest = u64::from_le_bytes(std::array::from_fn(|i| written[i]));
        Told { digest: digest(contents), fields: document.fields.clone(), fields_digest }
    }

    fn entry(self, source: String, passages: usize) -> (Entry, Fields) {
        let Told { digest, fields, fields_digest } = self;
        (Entry { source, digest, fields: fields_digest, passages: passages as u32 }, fields)
    }
}

fn digest<const N: usize>(parts: [&str; N]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// The vectors of `texts`, computed by the model that `engine` has as `graph`.
pub(crate) fn embed(
    engine: &Engine,
    graph: &str,
    texts: Vec<Encoded>,
) -> Result<Vec<Vector>, NodeError> {
    let mut vectors = Vec::with_capacity(texts.len());
    in_batches(texts, |batch| {
        let embedded = engine.embed_blocking(graph, &batch)?;
        vectors.extend(embedded.into_iter().map(Vector::normalized));
        Ok(())
    })?;
    Ok(vectors)
}

/// Calls `embed` with texts that are worth a call together, until there are no more.
pub(crate) fn in_batches(
    texts: impl IntoIterator<Item = Encoded>,
    mut embed: impl FnMut(Vec<Encoded>) -> Result<(), NodeError>,
) -> Result<(), NodeError> {
    let mut texts = texts.into_iter().peekable();
    while texts.peek().is_some() {
        let (mut batch, mut tokens) = (vec![], 0);
        while let Some(text) = texts.next_if(|_| tokens < BATCH_TOKENS) {
            tokens += text.ids.len();
            batch.push(text);
        }
        embed(batch)?;
    }
    Ok(())
}
