//! What a bundle knows of its documents, and how that changes without embedding anything twice.
//!
//! The *base* is a segment that is only ever replaced as a whole. The *delta* is a small segment of
//! what came later, and some base passages are *removed*. A change is a new delta, whatever it
//! changes; when that has grown, [`Living::fold`] makes a new base of all that is live. No model
//! is needed for any of this: vectors come in with their passages, and are kept.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use trine_bundle::{Appender, Reader, Writer};
use trine_index::lexical::LexicalOptions;
use trine_index::setup;
use trine_index::{
    BuildOptions, Contents, Fields, GraphReader, IndexError, MediaType, Metadata, Passage,
    PassagesReader, Precision, Segment, SegmentOptions, Vector,
};

use crate::{About, NodeError};

/// In front of the names of the base's parts.
pub(crate) const BASE: &str = "base/";
/// In front of the names of the delta's.
pub(crate) const DELTA: &str = "delta/";
/// Part: postcard-encoded [`Entry`]s, in the order of their passages.
pub(crate) const DOCUMENTS: &str = "documents";
/// Part of the delta: the numbers of removed base passages, sorted, as a postcard `Vec<u32>`.
const REMOVED: &str = "removed";
/// The delta is never walked, so its graph need not be good.
const DELTA_GRAPH: BuildOptions =
    BuildOptions { ef_construction: 8, seed: 0, threads: 1, precision: Precision::F32 };

/// A document that a segment holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is called.
    pub source: String,
    /// SHA-256 of its contents, which decide its passages and vectors.
    pub digest: [u8; 32],
    /// Changes with its fields.
    pub fields: u64,
    /// How many passages it was cut into; they follow those of the entry before.
    pub passages: u32,
}

/// A document with its passages and their vectors.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is called, and whether it is still the same.
    pub entry: Entry,
    /// Its passages, whose source is the entry's.
    pub passages: Vec<Passage>,
    /// A unit vector for each.
    pub vectors: Vec<Vector>,
    /// What filters ask about.
    pub fields: Fields,
}

/// A bundle's documents: base, delta, removed.
pub struct Living {
    base: Vec<Entry>,
    /// Of each of the base's documents.
    gone: Vec<bool>,
    delta: Vec<Document>,
    places: HashMap<String, Place>,
    lexical: LexicalOptions,
}

/// Where a live document is.
#[derive(Clone, Copy)]
enum Place {
    Base(usize),
    Delta(usize),
}

impl Living {
    /// A base whose words were read like that, and nothing else.
    pub fn of(base: Vec<Entry>, lexical: LexicalOptions) -> Living {
        let place = |(at, entry): (usize, &Entry)| (entry.source.clone(), Place::Base(at));
        let places = base.iter().enumerate().map(place).collect();
        Living { gone: vec![false; base.len()], base, delta: vec![], places, lexical }
    }

    /// What is in a bundle.
    pub fn read(reader: &Reader) -> Result<Living, NodeError> {
        let base = postcard_section(reader, &format!("{BASE}{DOCUMENTS}"))?;
        let mut living = Living::of(base, About::read(reader)?.lexical);
        if !has_delta(reader) {
            return Ok(living);
        }
        let removed: Vec<u32> = postcard_section(reader, &format!("{DELTA}{REMOVED}"))?;
        let mut first = 0u32;
        for at in 0..living.base.len() {
            // A document is removed whole.
            if removed.binary_search(&first).is_ok() {
                living.forget(at);
            }
            first = first.saturating_add(living.base[at].passages);
        }
        for document in documents(reader, DELTA)? {
            living.put(document);
        }
        Ok(living)
    }

    /// The live documents, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.places.values().map(|place| self.entry(*place))
    }

    /// The live document of that name.
    pub fn get(&self, source: &str) -> Option<&Entry> {
        Some(self.entry(*self.places.get(source)?))
    }

    /// The document of that name, where it is in the delta.
    pub(crate) fn in_delta(&self, source: &str) -> Option<&Document> {
        match self.places.get(source)? {
            Place::Base(_) => None,
            Place::Delta(at) => self.delta.get(*at),
        }
    }

    fn entry(&self, place: Place) -> &Entry {
        match place {
            Place::Base(at) => &self.base[at],
            Place::Delta(at) => &self.delta[at].entry,
        }
    }

    /// Takes a document in, in place of one of the same name.
    pub fn put(&mut self, document: Document) {
        self.remove(&document.entry.source);
        self.places.insert(document.entry.source.clone(), Place::Delta(self.delta.len()));
        self.delta.push(document);
    }

    /// Takes the document of that name out; false where there is none.
    pub fn remove(&mut self, source: &str) -> bool {
        match self.places.get(source).copied() {
            None => return false,
            Some(Place::Base(at)) => self.forget(at),
            Some(Place::Delta(at)) => {
                self.places.remove(source);
                self.delta.swap_remove(at);
                if let Some(moved) = self.delta.get(at) {
                    self.places.insert(moved.entry.source.clone(), Place::Delta(at));
                }
            }
        }
        true
    }

    fn forget(&mut self, at: usize) {
        self.gone[at] = true;
        self.places.remove(&self.base[at].source);
    }

    /// How many documents are live.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many passages are live.
    pub fn passages(&self) -> usize {
        self.entries().map(|entry| entry.passages as usize).sum()
    }

    /// How many passages the base has, removed ones among them.
    pub fn base_passages(&self) -> usize {
        self.base.iter().map(|entry| entry.passages as usize).sum()
    }

    /// How many the delta has.
    pub fn delta_passages(&self) -> usize {
        self.delta.iter().map(|document| document.passages.len()).sum()
    }

    /// The base's passages that are removed, in order.
    pub fn removed(&self) -> Vec<u32> {
        let mut removed = vec![];
        let mut first = 0u32;
        for (entry, gone) in self.base.iter().zip(&self.gone) {
            let end = first.saturating_add(entry.passages);
            removed.extend((first..end).filter(|_| *gone));
            first = end;
        }
        removed
    }

    /// The same documents over another base, one that was folded from this bundle earlier: what
    /// has changed since is its delta.
    pub fn over(self, base: Vec<Entry>) -> Living {
        let mut over = Living::of(base, self.lexical);
        for at in 0..over.base.len() {
            let folded = &over.base[at];
            if self.get(&folded.source) != Some(folded) {
                over.forget(at);
            }
        }
        for document in self.delta {
            if over.get(&document.entry.source).is_none() {
                over.put(document);
            }
        }
        over
    }

    /// Writes the delta and what is removed as the bundle's new ones.
    pub fn append(&self, appender: &mut Appender) -> Result<(), NodeError> {
        let removed = self.removed();
        if self.delta.is_empty() && removed.is_empty() {
            for section in appender.reader().sections().to_vec() {
                if section.name.starts_with(DELTA) {
                    appender.remove(&section.name);
                }
            }
            return Ok(());
        }
        let mut put = |name: &str, bytes: &[u8]| appender.section(&format!("{DELTA}{name}"), bytes);
        for (name, bytes) in self.delta_parts()? {
            put(name, &bytes)?;
        }
        put(REMOVED, &encoded(&removed)?)?;
        Ok(())
    }

    /// The same into a file that is written whole.
    pub fn write(&self, writer: &mut Writer) -> Result<(), NodeError> {
        let removed = self.removed();
        if !self.delta.is_empty() || !removed.is_empty() {
            for (name, bytes) in self.delta_parts()? {
                writer.section(&format!("{DELTA}{name}"), &bytes)?;
            }
            writer.section(&format!("{DELTA}{REMOVED}"), &encoded(&removed)?)?;
        }
        Ok(())
    }

    fn delta_parts(&self) -> Result<Vec<(&'static str, Vec<u8>)>, NodeError> {
        let (graph, lexical) = (DELTA_GRAPH, self.lexical);
        let options = SegmentOptions { graph, lexical, precision: None };
        let (entries, segment) = segment(self.delta.clone(), options, &mut |_| Ok(()))?;
        let mut parts = vec![(DOCUMENTS, encoded(&entries)?)];
        for (name, part) in segment.parts() {
            let mut bytes = vec![];
            part.write(&mut bytes).map_err(|e| NodeError::malformed("documents", e))?;
            parts.push((name, bytes));
        }
        Ok(parts)
    }

    /// All live documents, for a new base; those of the base are read from `reader`, which is
    /// what this was read from.
    pub fn fold(self, reader: &Reader) -> Result<Vec<Document>, NodeError> {
        let mut all = documents(reader, BASE)?;
        let mut gone = self.gone.iter();
        all.retain(|_| gone.next().is_some_and(|gone| !gone));
        all.extend(self.delta);
        Ok(all)
    }
}

/// Whether a bundle has a delta.
pub(crate) fn has_delta(reader: &Reader) -> bool {
    reader.section(&format!("{DELTA}{REMOVED}")).is_ok()
}

/// How a base is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct BaseOptions {
    /// Threads to build on; 0 takes as many as the machine has.
    pub threads: usize,
    /// How exactly vectors are kept; as exactly as their number allows when absent.
    pub vectors: Option<Precision>,
    /// How words are read.
    pub lexical: LexicalOptions,
}

/// Writes documents as a base. `progress` is told how many vectors are connected.
pub fn write_base(
    writer: &mut Writer,
    documents: Vec<Document>,
    options: BaseOptions,
    progress: &mut dyn FnMut(usize) -> Result<(), NodeError>,
) -> Result<(), NodeError> {
    let BaseOptions { threads, vectors, lexical } = options;
    let graph = BuildOptions { threads, ..BuildOptions::default() };
    let options = SegmentOptions { graph, precision: vectors, lexical };
    let (entries, segment) = segment(documents, options, progress)?;
    for (name, part) in segment.parts() {
        writer.section_with(&format!("{BASE}{name}"), &mut |out| part.write(out))?;
    }
    writer.section(&format!("{BASE}{DOCUMENTS}"), &encoded(&entries)?)?;
    Ok(())
}

/// A segment that holds `documents`, and the list of them.
fn segment(
    documents: Vec<Document>,
    options: SegmentOptions,
    progress: &mut dyn FnMut(usize) -> Result<(), NodeError>,
) -> Result<(Vec<Entry>, Segment), NodeError> {
    let count = documents.iter().map(|document| document.passages.len()).sum();
    let (mut passages, mut vectors) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut entries, mut fields) = (vec![], vec![]);
    for document in documents {
        fields.push((document.fields, document.entry.passages));
        entries.push(document.entry);
        passages.extend(document.passages);
        vectors.extend(document.vectors);
    }
    let plain = |p: &Passage| trine_text::plain(&p.text, p.media_type == MediaType::Markdown);
    let contents = Contents { passages: &passages, vectors, documents: fields };
    Ok((entries, Segment::build(contents, plain, options, progress)?))
}

/// The documents of one of a bundle's segments.
pub(crate) fn documents(reader: &Reader, segment: &str) -> Result<Vec<Document>, NodeError> {
    let name = |part: &str| format!("{segment}{part}");
    let entries: Vec<Entry> = postcard_section(reader, &name(DOCUMENTS))?;
    let passages = coming_in(reader, &name(setup::PASSAGES), PassagesReader::push)?.finish()?;
    let graph = coming_in(reader, &name(setup::GRAPH), GraphReader::push)?.finish()?;
    let metadata = Metadata::from_bytes(&reader.read(&name(setup::METADATA))?);
    let fields = metadata.map_err(IndexError::from)?.to_fields();
    let counted: usize = entries.iter().map(|entry| entry.passages as usize).sum();
    if counted != passages.len() || counted != graph.len() || entries.len() != fields.len() {
        return Err(NodeError::malformed("list of documents", "it does not fit the passages"));
    }
    let mut first = 0;
    let document = |(entry, fields): (Entry, Fields)| {
        let numbers = first..first + entry.passages;
        first = numbers.end;
        let found = numbers.filter_map(|n| passages.get(n).zip(graph.vector(n)));
        let (passages, vectors) = found.unzip();
        Document { entry, passages, vectors, fields }
    };
    Ok(entries.into_iter().zip(fields).map(document).collect())
}

/// What reads a section piece by piece, when it has read all of it.
fn coming_in<R: Default>(
    reader: &Reader,
    name: &str,
    push: fn(&mut R, &[u8]) -> Result<(), IndexError>,
) -> Result<R, NodeError> {
    let mut coming = R::default();
    for piece in reader.pieces(name)? {
        push(&mut coming, &piece?)?;
    }
    Ok(coming)
}

fn postcard_section<T: serde::de::DeserializeOwned>(
    reader: &Reader,
    name: &str,
) -> Result<T, NodeError> {
    postcard::from_bytes(&reader.read(name)?).map_err(|e| NodeError::malformed("documents", e))
}

fn encoded(value: &impl Serialize) -> Result<Vec<u8>, NodeError> {
    postcard::to_stdvec(value).map_err(|e| NodeError::malformed("documents", e))
}
