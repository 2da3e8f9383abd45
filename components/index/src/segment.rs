//! A segment: passages, and all that finds them.

use std::io::{self, Write};

use crate::lexical::{self, Inverted, InvertedReader, LexicalOptions};
use crate::setup::{GRAPH, LEXICAL, METADATA, PASSAGES};
use crate::{
    BuildOptions, Fields, Graph, GraphReader, IndexError, LARGEST, Metadata, Passage, Passages,
    PassagesReader, Precision, Vector,
};

/// Passages whose words are indexed between two reports of progress.
const PASSAGES_A_REPORT: usize = 4096;

/// Passages, their vectors and their words. A passage has the same number in each part.
pub struct Segment {
    /// Finds them by meaning.
    pub graph: Graph,
    /// Finds them by words.
    pub lexical: Inverted,
    /// The passages themselves.
    pub passages: Passages,
    /// Their documents.
    pub metadata: Metadata,
}

/// What a segment is built of.
pub struct Contents<'a> {
    /// The passages of each document, one document after another.
    pub passages: &'a [Passage],
    /// Each passage's unit vector.
    pub vectors: Vec<Vector>,
    /// Each document's fields, and how many of the passages it has.
    pub documents: Vec<(Fields, u32)>,
}

/// How a segment is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct SegmentOptions {
    /// Of the graph.
    pub graph: BuildOptions,
    /// How exactly vectors are kept, in place of what `graph` says; what [`Precision::fitting`] gives
    /// when absent.
    pub precision: Option<Precision>,
    /// Of the inverted index.
    pub lexical: LexicalOptions,
}

impl Segment {
    /// Indexes `contents`. `plain` is a passage's text without its markup; `progress` is told how
    /// many vectors are connected, and its error ends the build.
    ///
    /// # Errors
    /// What `progress` returns, and [`IndexError`].
    pub fn build<E: From<IndexError>>(
        contents: Contents,
        plain: impl Fn(&Passage) -> String,
        options: SegmentOptions,
        progress: &mut dyn FnMut(usize) -> Result<(), E>,
    ) -> Result<Segment, E> {
        let Contents { passages, vectors, documents } = contents;
        let lexical = index_words(passages, plain, options.lexical, progress)?;
        let passages = Passages::build(passages)?;
        let metadata = Metadata::build(documents).map_err(IndexError::from)?;
        let beside = lexical.bytes() + passages.bytes() + metadata.to_bytes().len() as u64;
        let precision = precision(&vectors, beside, options.precision)?;
        let graph = Graph::build(vectors, BuildOptions { precision, ..options.graph }, progress)?;
        Ok(Segment { graph, lexical, passages, metadata }.checked()?)
    }

    /// The parts, by name.
    pub fn parts(&self) -> [(&'static str, Part<'_>); 4] {
        [
            (GRAPH, Part::Graph(&self.graph)),
            (LEXICAL, Part::Lexical(&self.lexical)),
            (PASSAGES, Part::Passages(&self.passages)),
            (METADATA, Part::Metadata(&self.metadata)),
        ]
    }

    /// Number of passages.
    pub fn len(&self) -> usize {
        self.passages.len()
    }

    /// Whether it has no passages.
    pub fn is_empty(&self) -> bool {
        self.passages.is_empty()
    }

    /// Length of each vector; 0 when there are none.
    pub fn dimensions(&self) -> usize {
        self.graph.dimensions()
    }

    fn checked(self) -> Result<Segment, IndexError> {
        let (passages, vectors, texts) = (self.len(), self.graph.len(), self.lexical.len());
        let cut = self.metadata.passages() as usize;
        match [vectors, texts, cut] == [passages; 3] {
            true => Ok(self),
            false => Err(IndexError::Counts { passages, vectors, texts, cut }),
        }
    }
}

/// The precision that was asked for, or else one that fits.
fn precision(
    vectors: &[Vector],
    beside: u64,
    wanted: Option<Precision>,
) -> Result<Precision, IndexError> {
    let (passages, dimensions) = (vectors.len(), vectors.first().map_or(0, Vector::dimensions));
    let precision = wanted.unwrap_or_else(|| Precision::fitting(passages, dimensions, beside));
    let bytes = precision.graph_bytes(passages, dimensions).saturating_add(beside);
    match bytes <= LARGEST {
        true => Ok(precision),
        false => Err(IndexError::TooLarge { passages, bytes }),
    }
}

/// A part of a segment.
pub enum Part<'a> {
    /// Vectors.
    Graph(&'a Graph),
    /// Words.
    Lexical(&'a Inverted),
    /// Passages.
    Passages(&'a Passages),
    /// Documents.
    Metadata(&'a Metadata),
}

impl Part<'_> {
    /// Writes it as [`SegmentReader`] takes it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Part::Graph(graph) => graph.write(out),
            Part::Lexical(lexical) => lexical.write(out),
            Part::Passages(passages) => passages.write(out),
            Part::Metadata(metadata) => out.write_all(&metadata.to_bytes()),
        }
    }
}

/// A segment that is coming in: its parts in any order, each in pieces of any length.
#[derive(Default)]
pub struct SegmentReader {
    graph: GraphReader,
    lexical: InvertedReader,
    passages: PassagesReader,
    metadata: Vec<u8>,
}

impl SegmentReader {
    /// Takes the next bytes of a part in.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn push(&mut self, part: &str, bytes: &[u8]) -> Result<(), IndexError> {
        match part {
            GRAPH => self.graph.push(bytes),
            LEXICAL => Ok(self.lexical.push(bytes)?),
            PASSAGES => self.passages.push(bytes),
            METADATA => {
                self.metadata.extend_from_slice(bytes);
                Ok(())
            }
            _ => Err(IndexError::Bytes("they are of a part that there is not")),
        }
    }

    /// Whether nothing has come of the graph, with which a segment begins.
    pub fn is_empty(&self) -> bool {
        self.graph.is_empty()
    }

    /// The segment, checked.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn finish(self) -> Result<Segment, IndexError> {
        let graph = self.graph.finish()?;
        let lexical = self.lexical.finish()?;
        let passages = self.passages.finish()?;
        let metadata = Metadata::from_bytes(&self.metadata)?;
        Segment { graph, lexical, passages, metadata }.checked()
    }
}

/// `progress` is told that no vector is connected yet, so that it can end this too.
fn index_words<E: From<IndexError>>(
    passages: &[Passage],
    plain: impl Fn(&Passage) -> String,
    options: LexicalOptions,
    progress: &mut dyn FnMut(usize) -> Result<(), E>,
) -> Result<Inverted, E> {
    let mut builder = Inverted::builder(options);
    for (number, passage) in passages.iter().enumerate() {
        if number % PASSAGES_A_REPORT == 0 {
            progress(0)?;
        }
        let Passage { title, headings, .. } = passage;
        let fields = lexical::Fields { title, headings, text: &plain(passage) };
        builder.add(fields).map_err(IndexError::from)?;
    }
    Ok(builder.finish().map_err(IndexError::from)?)
}
