//! The hierarchical navigable small world graph (Malkov & Yashunin, 2016) over passage vectors.

use std::cell::RefCell;
use std::io::{self, Write};

use crate::layer::Layer;
use crate::table::{Query, Table};
use crate::walk::{self, Scratch};
use crate::{Bitmap, GraphReader, LARGEST, Precision, Vector, build, bytes};

/// The greatest `top_k` there is.
pub const MAX_TOP_K: usize = 200;

/// Up to this many vectors a scan of them all costs little more than a walk, and misses nothing.
const SCAN_UP_TO: usize = 2048;

/// Candidates that a search has at least: where it enters by steps through the layers, and where by a
/// comparison with all seeds, so that it need not find its way.
const FEWEST_CANDIDATES: [usize; 2] = [100, 64];

/// Those of its candidates that are admitted, at least. Each takes a step or more.
const FEWEST_ADMITTED: usize = 60;

/// Vectors that are scanned in the time that a walk takes for a step, from one node to the next.
const SCANNED_A_STEP: u64 = 100;

/// How a graph is built.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Size of the candidate list while building; more is slower and finds better neighbours.
    pub ef_construction: usize,
    /// Seed of what is drawn. Building is parallel, so equal seeds do not give equal graphs.
    pub seed: u64,
    /// Threads to build on; 0 takes as many as the machine has.
    pub threads: usize,
    /// How exactly vectors are kept.
    pub precision: Precision,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions { ef_construction: 100, seed: 0, threads: 0, precision: Precision::F32 }
    }
}

/// What is wrong with vectors or bytes that should be a graph.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Vectors of different lengths.
    #[error("vector {index} has {found} dimensions, the first has {expected}")]
    Dimensions {
        /// Position of the odd one.
        index: usize,
        /// Its length.
        found: usize,
        /// Length of the first vector.
        expected: usize,
    },
    /// The system gives no threads.
    #[error("threads to build the index cannot be started: {0}")]
    Threads(rayon::ThreadPoolBuildError),
    /// More components than a graph can hold.
    #[error("vectors of {0} dimensions: an index holds at most 65536")]
    TooLong(usize),
    /// The bytes are no graph of this version.
    #[error("the index's bytes cannot be read: {0}")]
    Bytes(&'static str),
    /// An inverted index.
    #[error(transparent)]
    Lexical(#[from] crate::lexical::LexicalError),
    /// Documents' fields.
    #[error(transparent)]
    Metadata(#[from] crate::MetadataError),
    /// The bytes are no passages.
    #[error("the passages cannot be read: {0}")]
    Passages(&'static str),
    /// Parts that do not belong together.
    #[error(
        "{passages} passages, but {vectors} vectors, the words of {texts}, and documents of {cut}"
    )]
    Counts {
        /// Passages.
        passages: usize,
        /// Vectors in the graph.
        vectors: usize,
        /// Texts in the inverted index.
        texts: usize,
        /// Passages that the documents have.
        cut: usize,
    },
    /// More than a component can hold.
    #[error(
        "{passages} passages are too many for one bundle: the index would take {bytes} bytes, a \
         component holds {LARGEST}; put some of the documents into another bundle"
    )]
    TooLarge {
        /// Passages.
        passages: usize,
        /// Bytes of all parts, the vectors as small as they can be.
        bytes: u64,
    },
    /// A delta of another base.
    #[error("the delta does not fit the index: {0}")]
    Delta(&'static str),
    /// instant-distance's graph could not be taken out of it.
    #[error("instant-distance's graph cannot be read: {0}")]
    Seeds(#[from] postcard::Error),
}

/// One search result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The passage's number: the position of its vector when the graph was built.
    pub passage: u32,
    /// Cosine similarity to the query.
    pub score: f32,
}

/// Vectors and the graph that connects them.
pub struct Graph {
    pub(crate) table: Table,
    /// The passage of each node.
    pub(crate) passages: Vec<u32>,
    /// The node of each passage: what `passages` is the other way round.
    nodes: Vec<u32>,
    /// The lowest layer: all nodes.
    pub(crate) base: Layer,
    /// The layers above it, lowest first: prefixes of the nodes, ever fewer.
    pub(crate) upper: Vec<Layer>,
    scratch: RefCell<Scratch>,
}

impl Graph {
    pub(crate) fn new(table: Table, passages: Vec<u32>, base: Layer, upper: Vec<Layer>) -> Graph {
        let mut nodes = vec![0; passages.len()];
        (0..).zip(&passages).for_each(|(node, &passage)| nodes[passage as usize] = node);
        Graph { table, passages, nodes, base, upper, scratch: RefCell::default() }
    }

    /// Connects `vectors`. `progress` is told now and then how many are connected; the error it
    /// returns ends the build.
    pub fn build<E: From<IndexError>>(
        vectors: Vec<Vector>,
        options: BuildOptions,
        progress: &mut dyn FnMut(usize) -> Result<(), E>,
    ) -> Result<Graph, E> {
        build::build(vectors, options, progress)
    }

    /// Reads what [`Graph::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Graph, IndexError> {
        let mut reader = GraphReader::default();
        reader.push(bytes)?;
        reader.finish()
    }

    /// The graph as bytes, the same on every target.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes::to_bytes(self)
    }

    /// Writes what [`Graph::to_bytes`] gives, piece by piece.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        bytes::write(self, out)
    }

    /// How exactly the vectors are kept.
    pub fn precision(&self) -> Precision {
        self.table.low.precision()
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it has no vectors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of each vector; 0 when there are none.
    pub fn dimensions(&self) -> usize {
        self.table.dimensions
    }

    /// The `k` nearest to `query`, best first, of the passages that are `admitted`, or of all: by
    /// walking the graph, or, where that is hardly faster, by looking at each of them.
    pub fn search(&self, query: &Vector, k: usize, admitted: Option<&Bitmap>) -> Vec<Hit> {
        let fewest = FEWEST_CANDIDATES[usize::from(walk::compares_seeds(&self.upper))];
        let ef = k.saturating_mul(2).max(fewest);
        let Some(set) = admitted else {
            return match self.len() <= SCAN_UP_TO {
                true => self.scan(query, k, None),
                false => self.walk(query, k, ef, None),
            };
        };
        // As many steps as without a filter, and enough admitted ones among them.
        let (count, nodes) = (set.count() as u64, self.len().max(1) as u64);
        let ef = (ef as u64 * count / nodes).max((k + k / 5).max(FEWEST_ADMITTED) as u64);
        // A walk goes through `ef` times as many nodes as there are passages for an admitted one.
        match count * count <= nodes * ef * SCANNED_A_STEP || self.len() <= SCAN_UP_TO {
            true => self.scan(query, k, admitted),
            false => self.walk(query, k, ef as usize, admitted),
        }
    }

    /// The `k` nearest, found by walking the graph with a list of `ef` candidates, at least `k`:
    /// approximate. The more candidates, the better and slower. Equal scores rank by number. Where
    /// what is near to the query is not admitted, all that is admitted is looked at.
    pub fn walk(&self, query: &Vector, k: usize, ef: usize, admitted: Option<&Bitmap>) -> Vec<Hit> {
        if self.is_empty() {
            return vec![];
        }
        let scratch = &mut *self.scratch.borrow_mut();
        let Graph { table, passages, base, .. } = self;
        let compared = table.query(query.as_slice());
        let entries = scratch.enter(table, &self.upper, &compared);
        let ef = ef.max(k);
        let arrived = match admitted {
            None => scratch.walk(table, base, &compared, &entries, ef, walk::all),
            Some(admitted) => {
                let selected = |node: u32| admitted.contains(passages[node as usize]);
                scratch.walk(table, base, &compared, &entries, ef, selected)
            }
        };
        if !arrived {
            return self.scan(query, k, admitted);
        }
        // The walk's scores are rough: a few more than asked for are scored exactly.
        let near = scratch.best.iter().filter(|candidate| candidate.selected);
        let near = near.take(k.saturating_mul(2));
        best(near.map(|candidate| self.hit(&compared, candidate.node)).collect(), k)
    }

    /// The `k` nearest, found by looking at each vector: exact. Equal scores rank by number.
    pub fn scan(&self, query: &Vector, k: usize, admitted: Option<&Bitmap>) -> Vec<Hit> {
        let query = self.table.query(query.as_slice());
        let node = |passage| self.nodes.get(passage as usize).copied();
        let nodes: Vec<u32> = match admitted {
            None => (0..self.len() as u32).collect(),
            Some(admitted) => admitted.iter().filter_map(node).collect(),
        };
        let near = self.table.near(&query, nodes, k);
        best(near.into_iter().map(|node| self.hit(&query, node)).collect(), k)
    }

    /// The cosines of `query` and each of `passages`, which are below [`Graph::len`]; 0 for others.
    pub fn cosines(&self, query: &Vector, passages: &[u32]) -> Vec<f32> {
        let query = self.table.query(query.as_slice());
        let node = |passage: &u32| self.nodes.get(*passage as usize);
        let cosine = |passage| node(passage).map_or(0.0, |&node| self.table.score(&query, node));
        passages.iter().map(cosine).collect()
    }

    /// The vector of a passage, as exact as it is kept.
    pub fn vector(&self, passage: u32) -> Option<Vector> {
        Some(self.table.vector(*self.nodes.get(passage as usize)?))
    }

    fn hit(&self, query: &Query, node: u32) -> Hit {
        Hit { passage: self.passages[node as usize], score: self.table.score(query, node) }
    }
}

/// The best `k` of `hits`, in order.
fn best(mut hits: Vec<Hit>, k: usize) -> Vec<Hit> {
    let best_first = |a: &Hit, b: &Hit| b.score.total_cmp(&a.score).then(a.passage.cmp(&b.passage));
    if k < hits.len() {
        hits.select_nth_unstable_by(k, best_first);
        hits.truncate(k);
    }
    hits.sort_unstable_by(best_first);
    hits
}
