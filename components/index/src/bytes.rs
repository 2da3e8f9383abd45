//! A graph as bytes, the same on every target.
//!
//! ```text
//! version, dimensions, vectors, layers   u32 each
//! width, nodes                           u32 each, of each layer, the lowest first
//! passage of each node                   u32
//! unit of each vector                    f32
//! links of each layer                    u32, width a node
//! high bits of each vector               i8, padded to whole blocks
//! low bits of each vector                i16, padded likewise
//! ```
//!
//! All is little-endian. Nothing is believed before it is checked, and nothing is allocated that
//! the bytes do not fill.

use crate::dot::{BLOCK, Codes};
use crate::graph::{Graph, IndexError};
use crate::layer::{Layer, NONE};
use crate::table::{MAX_DIMENSIONS, Table};

/// Of what is written here.
const VERSION: u32 = 2;

const DAMAGED: IndexError = IndexError::Bytes("a length or number is out of range");
const ENDED: IndexError = IndexError::Bytes("they end too early");

pub(crate) fn write(graph: &Graph) -> Vec<u8> {
    let Graph { table, passages, base, upper, .. } = graph;
    let layers: Vec<&Layer> = [base].into_iter().chain(upper).collect();
    let links: usize = layers.iter().map(|layer| layer.links.len()).sum();
    let vectors = 8 * table.len() + 3 * BLOCK * table.high.len();
    let mut bytes = Vec::with_capacity(16 + 8 * layers.len() + 4 * links + vectors);
    let head = [VERSION as usize, table.dimensions, table.len(), layers.len()];
    let sizes = layers.iter().flat_map(|layer| [layer.width, layer.len()]);
    let mut put = |word: u32| bytes.extend_from_slice(&word.to_le_bytes());
    head.into_iter().chain(sizes).for_each(|number| put(number as u32));
    passages.iter().for_each(|&passage| put(passage));
    table.unit.iter().for_each(|unit| put(unit.to_bits()));
    layers.iter().flat_map(|layer| &layer.links).for_each(|&node| put(node));
    bytes.extend(table.high.iter().flat_map(|block| block.0.map(i8::cast_unsigned)));
    bytes.extend(table.low.iter().flatten().flat_map(|low| low.to_le_bytes()));
    bytes
}

pub(crate) fn read(bytes: &[u8]) -> Result<Graph, IndexError> {
    let mut bytes = Bytes(bytes);
    if bytes.number()? != VERSION as usize {
        return Err(IndexError::Bytes("they were written by another version of trine"));
    }
    let [dimensions, count, layers] = [bytes.number()?, bytes.number()?, bytes.number()?];
    if dimensions > MAX_DIMENSIONS {
        return Err(DAMAGED);
    }
    let sizes: Vec<u32> = bytes.words(layers.checked_mul(2).ok_or(DAMAGED)?)?.collect();
    let passages: Vec<u32> = bytes.words(count)?.collect();
    let unit: Vec<f32> = bytes.words(count)?.map(f32::from_bits).collect();
    let layers = read_layers(count, sizes.as_chunks().0, &mut bytes)?;
    let blocks = count.checked_mul(dimensions.div_ceil(BLOCK)).ok_or(DAMAGED)?;
    let numbers = blocks.checked_mul(BLOCK).ok_or(DAMAGED)?;
    let high = bytes.take(numbers)?.as_chunks::<BLOCK>().0;
    let high = high.iter().map(|block| Codes(block.map(u8::cast_signed))).collect();
    let low = bytes.take(numbers.checked_mul(2).ok_or(DAMAGED)?)?.as_chunks::<{ 2 * BLOCK }>().0;
    let low = low.iter().map(|block| {
        let mut numbers = [0; BLOCK];
        let pairs = block.as_chunks::<2>().0;
        numbers.iter_mut().zip(pairs).for_each(|(to, pair)| *to = i16::from_le_bytes(*pair));
        numbers
    });
    let table = Table { dimensions, high, low: low.collect(), unit };
    if !bytes.0.is_empty() || table.unit.iter().any(|unit| !unit.is_finite()) {
        return Err(DAMAGED);
    }
    check_passages(&passages)?;
    let mut layers = layers.into_iter();
    let base = layers.next().ok_or(DAMAGED)?;
    Ok(Graph::new(table, passages, base, layers.collect()))
}

/// Reads the layers: the lowest has all nodes, each other one at least one and at most those below
/// it, and every neighbour is a node of the layer.
fn read_layers(
    count: usize,
    sizes: &[[u32; 2]],
    bytes: &mut Bytes,
) -> Result<Vec<Layer>, IndexError> {
    let mut most = count;
    let mut layers = Vec::with_capacity(sizes.len());
    for &[width, nodes] in sizes {
        let (width, nodes) = (width as usize, nodes as usize);
        let right = if layers.is_empty() { nodes == count } else { (1..=most).contains(&nodes) };
        if !right {
            return Err(DAMAGED);
        }
        let links: Vec<u32> = bytes.words(width.checked_mul(nodes).ok_or(DAMAGED)?)?.collect();
        if width == 0 || links.iter().any(|&node| node != NONE && node as usize >= nodes) {
            return Err(DAMAGED);
        }
        layers.push(Layer { width, links });
        most = nodes;
    }
    Ok(layers)
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

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], IndexError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(ENDED)?;
        self.0 = rest;
        Ok(taken)
    }

    fn words(&mut self, count: usize) -> Result<impl Iterator<Item = u32> + 'a, IndexError> {
        let bytes = self.take(count.checked_mul(4).ok_or(ENDED)?)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)))
    }

    fn number(&mut self) -> Result<usize, IndexError> {
        Ok(self.words(1)?.next().ok_or(ENDED)? as usize)
    }
}
