//! The graph that instant-distance builds, taken out of it.

use instant_distance::{Builder, Point};
use serde::{Deserialize, Serialize, Serializer};

use crate::{BuildOptions, IndexError, Vector, dot};

/// Neighbours that instant-distance keeps for a node of an upper layer; twice as many in the
/// lowest.
const M: usize = 32;

/// A vector as instant-distance knows it: it compares the floats and writes the number.
#[derive(Clone)]
struct Handle<'a> {
    floats: &'a [f32],
    number: u32,
}

impl Point for Handle<'_> {
    fn distance(&self, other: &Self) -> f32 {
        1.0 - dot::floats(self.floats, other.floats)
    }
}

impl Serialize for Handle<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.number)
    }
}

/// What instant-distance's `Hnsw` writes of itself; `u32::MAX` stands where a neighbour is missing.
#[derive(Deserialize)]
pub(crate) struct Seeds {
    _ef_search: usize,
    /// Numbers of the vectors, in the order of the graph's nodes.
    pub(crate) numbers: Vec<u32>,
    /// The neighbours in the lowest layer: of each node, an array of 64 in two halves.
    pub(crate) lowest: Vec<[[u32; M]; 2]>,
    /// The neighbours in the layers above, lowest first. Each holds a prefix of the nodes.
    pub(crate) upper: Vec<Vec<[u32; M]>>,
}

impl Seeds {
    /// Connects those of `vectors` whose numbers are given, on all the threads of the current rayon
    /// pool.
    pub(crate) fn build(
        vectors: &[Vector],
        numbers: &[u32],
        options: BuildOptions,
    ) -> Result<Seeds, IndexError> {
        let handles = numbers
            .iter()
            .map(|&number| Handle { floats: vectors[number as usize].as_slice(), number })
            .collect();
        let (graph, _) = Builder::default()
            .ef_construction(options.ef_construction)
            .seed(options.seed)
            .build_hnsw(handles);
        Ok(postcard::from_bytes(&postcard::to_stdvec(&graph)?)?)
    }
}
