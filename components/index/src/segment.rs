//! A segment: passages, and all that finds them.

use crate::lexical::{Fields, Inverted, LexicalOptions};
use crate::setup::{GRAPH, LEXICAL, PASSAGES};
use crate::{BuildOptions, Graph, IndexError, Passage, Passages, Vector};

/// Passages, their vectors and their words. A passage has the same number in each part.
pub struct Segment {
    /// Finds them by meaning.
    pub graph: Graph,
    /// Finds them by words.
    pub lexical: Inverted,
    /// The passages themselves.
    pub passages: Passages,
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
    /// Indexes `passages`, whose unit `vectors` come in their order. `plain` is a passage's text
    /// without its markup; `progress` is told how many vectors are connected, and its error ends
    /// the build.
    ///
    /// # Errors
    /// What `progress` returns, and [`IndexError`].
    pub fn build<E: From<IndexError>>(
        passages: &[Passage],
        vectors: Vec<Vector>,
        plain: impl Fn(&Passage) -> String,
        options: SegmentOptions,
        progress: &mut dyn FnMut(usize) -> Result<(), E>,
    ) -> Result<Segment, E> {
        let graph = Graph::build(vectors, options.graph, progress)?;
        let lexical = index_words(passages, plain, options.lexical)?;
        let passages = Passages::from_bytes(Passages::encode(passages)?)?;
        Ok(Segment { graph, lexical, passages }.checked()?)
    }

    /// The parts as bytes, by name.
    ///
    /// # Errors
    /// [`IndexError::Lexical`], should they not fit into memory.
    pub fn to_parts(&self) -> Result<[(&'static str, Vec<u8>); 3], IndexError> {
        Ok([
            (GRAPH, self.graph.to_bytes()),
            (LEXICAL, self.lexical.to_bytes()?),
            (PASSAGES, self.passages.as_bytes().to_vec()),
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
        Ok(Segment { graph, lexical, passages }.checked()?)
    }

    /// Number of passages.
    pub fn len(&self) -> usize {
        self.passages.len()
    }

    /// Whether it has no passages.
    pub fn is_empty(&self) -> bool {
        self.passages.is_empty()
    }

    fn checked(self) -> Result<Segment, IndexError> {
        let (passages, vectors, texts) = (self.len(), self.graph.len(), self.lexical.len());
        match passages == vectors && passages == texts {
            true => Ok(self),
            false => Err(IndexError::Counts { passages, vectors, texts }),
        }
    }
}

fn index_words(
    passages: &[Passage],
    plain: impl Fn(&Passage) -> String,
    options: LexicalOptions,
) -> Result<Inverted, IndexError> {
    let mut builder = Inverted::builder(options);
    for passage in passages {
        let Passage { title, headings, .. } = passage;
        builder.add(Fields { title, headings, text: &plain(passage) })?;
    }
    Ok(builder.finish()?)
}
