//! A graph as arrays.
//!
//! ```text
//! dimensions, vectors, precision,
//!   then width and nodes of each layer, the lowest first   u32
//! passage of each node                                     u32
//! unit of each vector                                      f32
//! links of the lowest layer, width a node                  u32
//! links of the layers above it                             u32
//! high bits of each vector, padded to whole blocks         i8
//! low bits, 16 of them                                     i16, or none
//! low bits, 8 of them                                      i8, or none
//! ```
//!
//! Nothing is believed before it is checked.

use std::io::{self, Write};

use crate::arrays::{self, Array, Element, Fill, Output, Stream, output};
use crate::dot::{BLOCK, Codes};
use crate::graph::{Graph, IndexError};
use crate::layer::{Layer, NONE};
use crate::table::{Low, MAX_DIMENSIONS, Table};

/// Of what is written here.
const VERSION: u32 = 3;

const DAMAGED: IndexError = IndexError::Bytes("a length or number is out of range");

impl Element for Codes {
    const BYTES: usize = BLOCK;

    fn read(bytes: &[u8]) -> Codes {
        Codes(<[i8; BLOCK]>::read(bytes))
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.0.write(to);
    }
}

impl Element for [i8; BLOCK] {
    const BYTES: usize = BLOCK;

    fn read(bytes: &[u8]) -> [i8; BLOCK] {
        std::array::from_fn(|i| bytes[i].cast_signed())
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.map(i8::cast_unsigned));
    }
}

impl Element for [i16; BLOCK] {
    const BYTES: usize = 2 * BLOCK;

    fn read(bytes: &[u8]) -> [i16; BLOCK] {
        std::array::from_fn(|i| i16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]))
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.iter().flat_map(|low| low.to_le_bytes()));
    }
}

/// A graph that is coming in, in pieces of any length.
pub struct GraphReader {
    stream: Stream<8>,
    sizes: Array<u32>,
    passages: Array<u32>,
    unit: Array<f32>,
    base: Array<u32>,
    upper: Array<u32>,
    high: Array<Codes>,
    low16: Array<[i16; BLOCK]>,
    low8: Array<[i8; BLOCK]>,
}

impl Default for GraphReader {
    fn default() -> Self {
        GraphReader {
            stream: Stream::new(VERSION),
            sizes: Array::default(),
            passages: Array::default(),
            unit: Array::default(),
            base: Array::default(),
            upper: Array::default(),
            high: Array::default(),
            low16: Array::default(),
            low8: Array::default(),
        }
    }
}

impl GraphReader {
    /// Takes the next bytes in.
    ///
    /// # Errors
    /// [`IndexError::Bytes`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        let GraphReader { stream, sizes, passages, unit, base, upper, high, low16, low8 } = self;
        let arrays: [&mut dyn Fill; 8] = [sizes, passages, unit, base, upper, high, low16, low8];
        stream.push(bytes, arrays).map_err(IndexError::Bytes)
    }

    /// The graph, checked.
    ///
    /// # Errors
    /// [`IndexError::Bytes`].
    pub fn finish(self) -> Result<Graph, IndexError> {
        self.stream.finish().map_err(IndexError::Bytes)?;
        let (&[dimensions, count, low], sizes) =
            self.sizes.values.split_first_chunk().ok_or(DAMAGED)?;
        let (dimensions, count) = (dimensions as usize, count as usize);
        let blocks = count.checked_mul(dimensions.div_ceil(BLOCK)).ok_or(DAMAGED)?;
        let (passages, unit, high) = (self.passages.values, self.unit.values, self.high.values);
        let (low16, low8) = (self.low16.values, self.low8.values);
        let found = [passages.len(), unit.len(), high.len(), low16.len(), low8.len()];
        let (low, low_blocks) = match low {
            24 => (Low::Sixteen(low16), [blocks, 0]),
            16 => (Low::Eight(low8), [0, blocks]),
            8 => (Low::None, [0, 0]),
            _ => return Err(DAMAGED),
        };
        let right = found == [count, count, blocks, low_blocks[0], low_blocks[1]];
        if !right || dimensions > MAX_DIMENSIONS || unit.iter().any(|unit| !unit.is_finite()) {
            return Err(DAMAGED);
        }
        check_passages(&passages)?;
        let (base, upper) = layers(count, sizes, self.base.values, &self.upper.values)?;
        Ok(Graph::new(Table { dimensions, high, low, unit }, passages, base, upper))
    }

    /// Whether nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }
}

fn outputs(graph: &Graph) -> [Output<'_>; 8] {
    let Graph { table, passages, base, upper, .. } = graph;
    let layers = [base].into_iter().chain(upper);
    let layers = layers.flat_map(|layer| [layer.width, layer.len()]);
    let head = [table.dimensions, table.len(), table.low.bits()].into_iter();
    let sizes: Vec<u32> = head.chain(layers).map(|number| number as u32).collect();
    let upper: Vec<u32> = upper.iter().flat_map(|layer| &layer.links).copied().collect();
    let (low16, low8) = table.low.arrays();
    [
        output(sizes),
        output(passages),
        output(&table.unit),
        output(&base.links),
        output(upper),
        output(&table.high),
        output(low16),
        output(low8),
    ]
}

pub(crate) fn write(graph: &Graph, out: &mut dyn Write) -> io::Result<()> {
    arrays::write(VERSION, &outputs(graph), out)
}

pub(crate) fn to_bytes(graph: &Graph) -> Vec<u8> {
    arrays::to_bytes(VERSION, &outputs(graph))
}

/// The layers: the lowest has all nodes, each other one at least one and at most those below it,
/// and every neighbour is a node of the layer.
fn layers(
    count: usize,
    sizes: &[u32],
    base: Vec<u32>,
    mut upper: &[u32],
) -> Result<(Layer, Vec<Layer>), IndexError> {
    let (sizes, rest) = sizes.as_chunks();
    let (&[width, nodes], sizes) = sizes.split_first().ok_or(DAMAGED)?;
    let base = layer(width, nodes, base)?;
    if !rest.is_empty() || nodes as usize != count {
        return Err(DAMAGED);
    }
    let (mut most, mut layers) = (count, Vec::with_capacity(sizes.len()));
    for &[width, nodes] in sizes {
        let length = (width as usize).checked_mul(nodes as usize).ok_or(DAMAGED)?;
        let (links, after) = upper.split_at_checked(length).ok_or(DAMAGED)?;
        if !(1..=most).contains(&(nodes as usize)) {
            return Err(DAMAGED);
        }
        layers.push(layer(width, nodes, links.to_vec())?);
        (most, upper) = (nodes as usize, after);
    }
    if upper.is_empty() { Ok((base, layers)) } else { Err(DAMAGED) }
}

fn layer(width: u32, nodes: u32, links: Vec<u32>) -> Result<Layer, IndexError> {
    let whole = (width as usize).checked_mul(nodes as usize) == Some(links.len());
    if width == 0 || !whole || links.iter().any(|&node| node != NONE && node >= nodes) {
        return Err(DAMAGED);
    }
    Ok(Layer { width: width as usize, links })
}

/// Each passage is some node's.
fn check_passages(passages: &[u32]) -> Result<(), IndexError> {
    let mut seen = vec![false; passages.len()];
    for &passage in passages {
        match seen.get_mut(passage as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(DAMAGED),
        }
    }
    Ok(())
}
