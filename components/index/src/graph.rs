//! The hierarchical navigable small world graph (Malkov & Yashunin, 2016) over passage vectors.

use std::cell::RefCell;

use instant_distance::{Builder, HnswMap, Search};
use serde::{Deserialize, Serialize};

use crate::Vector;

/// Size of the candidate list that a search keeps: no search returns more hits than this, so it
/// is the greatest `top_k` there is. Fixed when the graph is built.
pub const EF_SEARCH: usize = 200;

/// Up to this many vectors a scan of them all costs no more than a walk with [`EF_SEARCH`]
/// candidates, and misses nothing.
const SCAN_UP_TO: usize = 2048;

/// How a graph is built.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Size of the candidate list while building; more is slower and finds better neighbours.
    pub ef_construction: usize,
    /// Seed of the layer draw. Building is parallel, so equal seeds do not give equal graphs.
    pub seed: u64,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions { ef_construction: 100, seed: 0 }
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
    /// The bytes are no graph of this version.
    #[error("not an index of this version: {0}")]
    Decode(#[from] postcard::Error),
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
#[derive(Serialize, Deserialize)]
pub struct Graph {
    dimensions: usize,
    map: HnswMap<Vector, u32>,
    #[serde(skip)]
    scratch: RefCell<Search>,
}

impl Graph {
    /// Connects `vectors`, on all the threads of the current rayon pool.
    pub fn build(vectors: Vec<Vector>, options: BuildOptions) -> Result<Graph, IndexError> {
        let dimensions = vectors.first().map_or(0, Vector::dimensions);
        if let Some((index, odd)) =
            vectors.iter().enumerate().find(|(_, v)| v.dimensions() != dimensions)
        {
            return Err(IndexError::Dimensions {
                index,
                found: odd.dimensions(),
                expected: dimensions,
            });
        }
        let ids = (0..vectors.len() as u32).collect();
        let map = Builder::default()
            .ef_search(EF_SEARCH)
            .ef_construction(options.ef_construction)
            .seed(options.seed)
            .build(vectors, ids);
        Ok(Graph { dimensions, map, scratch: RefCell::default() })
    }

    /// Reads what [`Graph::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Graph, IndexError> {
        Ok(postcard::from_bytes(bytes)?)
    }

    /// The graph as bytes, the same on every target.
    pub fn to_bytes(&self) -> Result<Vec<u8>, IndexError> {
        Ok(postcard::to_stdvec(self)?)
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.map.values.len()
    }

    /// Whether it has no vectors.
    pub fn is_empty(&self) -> bool {
        self.map.values.is_empty()
    }

    /// Length of each vector; 0 when there are none.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The `k` nearest to `query` (at most [`EF_SEARCH`]), best first: by walking the graph, or,
    /// where that is no faster, by looking at every vector.
    pub fn search(&self, query: &Vector, k: usize) -> Vec<Hit> {
        if self.len() <= SCAN_UP_TO { self.scan(query, k) } else { self.walk(query, k) }
    }

    /// The `k` nearest, found by walking the graph: approximate.
    pub fn walk(&self, query: &Vector, k: usize) -> Vec<Hit> {
        let mut scratch = self.scratch.borrow_mut();
        self.map
            .search(query, &mut scratch)
            .take(k)
            .map(|item| Hit { passage: *item.value, score: 1.0 - item.distance })
            .collect()
    }

    /// The `k` nearest, found by looking at every vector: exact. Equal scores rank by number.
    pub fn scan(&self, query: &Vector, k: usize) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self
            .map
            .iter()
            .zip(&self.map.values)
            .map(|((_, vector), &passage)| Hit { passage, score: vector.cosine(query) })
            .collect();
        let best_first =
            |a: &Hit, b: &Hit| b.score.total_cmp(&a.score).then(a.passage.cmp(&b.passage));
        if k < hits.len() {
            hits.select_nth_unstable_by(k, best_first);
            hits.truncate(k);
        }
        hits.sort_unstable_by(best_first);
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors around a hundred centres, as embeddings of a real corpus lie.
    fn clustered(count: usize, dimensions: usize, seed: u64) -> Vec<Vector> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) as f32 / (1u32 << 24) as f32) * 2.0 - 1.0
        };
        let centres: Vec<Vec<f32>> =
            (0..100).map(|_| (0..dimensions).map(|_| next()).collect()).collect();
        (0..count)
            .map(|i| {
                Vector::normalized(centres[i % 100].iter().map(|c| c + 0.7 * next()).collect())
            })
            .collect()
    }

    #[test]
    fn a_walk_finds_what_a_scan_finds() {
        let mut vectors = clustered(3100, 48, 7);
        let queries = vectors.split_off(3000);
        let graph = Graph::build(vectors, BuildOptions::default()).unwrap();
        let graph = Graph::from_bytes(&graph.to_bytes().unwrap()).unwrap();
        assert_eq!((graph.len(), graph.dimensions()), (3000, 48));
        let mut found = 0;
        for query in &queries {
            let exact: Vec<u32> = graph.scan(query, 10).iter().map(|h| h.passage).collect();
            found += graph.walk(query, 10).iter().filter(|h| exact.contains(&h.passage)).count();
        }
        let recall = found as f32 / (queries.len() * 10) as f32;
        assert!(recall >= 0.98, "recall@10 {recall}");
    }

    #[test]
    fn hits_are_best_first_and_score_by_cosine() {
        let vectors = clustered(500, 16, 3);
        let graph = Graph::build(vectors.clone(), BuildOptions::default()).unwrap();
        let hits = graph.search(&vectors[42], 5);
        assert_eq!(hits[0].passage, 42);
        assert!((hits[0].score - 1.0).abs() < 1e-6);
        assert!(hits.windows(2).all(|w| w[0].score >= w[1].score));
        for hit in hits {
            let expected = vectors[42].cosine(&vectors[hit.passage as usize]);
            assert!((hit.score - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn no_vectors_one_vector_and_more_asked_for_than_there_are() {
        let none = Graph::build(vec![], BuildOptions::default()).unwrap();
        let query = Vector::normalized(vec![1.0, 0.0]);
        assert!(none.search(&query, 10).is_empty() && none.walk(&query, 10).is_empty());
        let one = Graph::build(vec![query.clone()], BuildOptions::default()).unwrap();
        assert_eq!(one.search(&query, 10).len(), 1);
        assert_eq!(one.walk(&query, 10).len(), 1);
        assert!(one.scan(&query, 0).is_empty());
    }

    #[test]
    fn odd_vectors_and_odd_bytes_are_refused() {
        let vectors = vec![Vector::normalized(vec![1.0; 4]), Vector::normalized(vec![1.0; 5])];
        let error = Graph::build(vectors, BuildOptions::default()).err().unwrap();
        assert_eq!(error.to_string(), "vector 1 has 5 dimensions, the first has 4");
        assert!(Graph::from_bytes(b"not a graph").is_err());
    }
}
