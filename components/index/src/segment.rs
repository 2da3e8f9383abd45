//! A segment: passages, and all that finds them.

use crate::lexical::{self, Inverted, LexicalOptions};
use crate::setup::{GRAPH, LEXICAL, METADATA, PASSAGES};
use crate::{BuildOptions, Fields, Graph, IndexError, Metadata, Passage, Passages, Vector};

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
        let graph = Graph::build(vectors, options.graph, progress)?;
        let lexical = index_words(passages, plain, options.lexical, progress)?;
        let passages = Passages::from_bytes(Passages::encode(passages)?)?;
        let metadata = Metadata::build(documents).map_err(IndexError::from)?;
        Ok(Segment { graph, lexical, passages, metadata }.checked()?)
    }

    /// The parts as bytes, by name.
    ///
    /// # Errors
    /// [`IndexError::Lexical`], should they not fit into memory.
    pub fn to_parts(&self) -> Result<[(&'static str, Vec<u8>); 4], IndexError> {
        Ok([
            (GRAPH, self.graph.to_bytes()),
            (LEXICAL, self.lexical.to_bytes()?),
            (PASSAGES, self.passages.as_bytes().to_vec()),
            (METADATA, self.metadata.to_bytes()),
        ])
    }

    /// Reads and checks the parts that [`Segment::to_parts`] made; `part` gives each by its name.
    ///
    /// # Errors
    /// What `part` returns, and [`IndexError`].
    pub fn from_parts<E: From<IndexError>>(
        mut part: impl FnMut(&'static str) -> Result<Vec<u8>, E>,
    ) -> Result<Segment, E> {
        // One after another, so that no more than one part is held twice.
        let graph = Graph::from_bytes(&part(GRAPH)?)?;
        let lexical = Inverted::from_bytes(&part(LEXICAL)?).map_err(IndexError::from)?;
        let passages = Passages::from_bytes(part(PASSAGES)?)?;
        let metadata = Metadata::from_bytes(&part(METADATA)?).map_err(IndexError::from)?;
        Ok(Segment { graph, lexical, passages, metadata }.checked()?)
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

/// `progress` is told again that all vectors are connected, so that it can end this too.
fn index_words<E: From<IndexError>>(
    passages: &[Passage],
    plain: impl Fn(&Passage) -> String,
    options: LexicalOptions,
    progress: &mut dyn FnMut(usize) -> Result<(), E>,
) -> Result<Inverted, E> {
    let mut builder = Inverted::builder(options);
    for (number, passage) in passages.iter().enumerate() {
        if number % PASSAGES_A_REPORT == 0 {
            progress(passages.len())?;
        }
        let Passage { title, headings, .. } = passage;
        let fields = lexical::Fields { title, headings, text: &plain(passage) };
        builder.add(fields).map_err(IndexError::from)?;
    }
    Ok(builder.finish().map_err(IndexError::from)?)
}
