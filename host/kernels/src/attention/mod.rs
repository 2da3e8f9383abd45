//! Bidirectional self-attention over packed sequences (Vaswani et al. 2017, section 3.2).
//!
//! `qkv` `[tokens, 3 h]`, a row being query, key and value side by side, each `heads` parts of
//! `d = h / heads` -> `[tokens, h]`: per sequence and head, `softmax(Q Kᵀ / sqrt(d)) V`. A token
//! sees its own sequence, all of it, and nothing else. Refused: columns that are not three times
//! a multiple of `heads`, sequences that do not cover the rows.

mod gpu;
pub mod reference;

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::{self, CpuBuffer, CpuDevice, TILE_COLUMNS_MAX, TILE_ROWS_MAX, Tile};
use crate::pool::covers;
use crate::{KernelError, Sequences};

pub(crate) use gpu::{query_blocks, run_on_gpu, units_attend};

/// Query rows that one task takes, all heads of them; a multiple of every tile's height.
const BLOCK_ROWS: usize = 48;

pub(crate) fn run(
    device: &CpuDevice,
    qkv: &CpuBuffer,
    sequences: &Sequences,
    heads: usize,
) -> Result<CpuBuffer, KernelError> {
    covers("attention", sequences, qkv.rows())?;
    let hidden = hidden(qkv.columns(), heads)?;
    let mut context = device.take(qkv.rows(), hidden);
    let shape = Shape { device, qkv, heads, hidden, d: hidden / heads, tile: device.isa.tile() };
    let packed = shape.pack(sequences);
    shape.blocks(sequences, &packed, &mut context).into_par_iter().for_each(|block| {
        shape.attend(block);
    });
    Ok(context)
}

/// Columns of the result, of a query-key-value matrix of `columns`.
fn hidden(columns: usize, heads: usize) -> Result<usize, KernelError> {
    if heads == 0 || columns == 0 || !columns.is_multiple_of(3 * heads) {
        let reason = format!("{columns} columns are not query, key and value of {heads} heads");
        return Err(KernelError::shape("attention", reason));
    }
    Ok(columns / 3)
}

struct Shape<'a> {
    device: &'a CpuDevice,
    qkv: &'a CpuBuffer,
    heads: usize,
    hidden: usize,
    d: usize,
    tile: Tile,
}

/// Some query rows of one sequence.
struct Block<'a> {
    /// Rows of `qkv`.
    rows: Range<usize>,
    /// Tokens of the sequence.
    length: usize,
    /// The sequence's keys and values, head by head, in panels.
    packed: &'a [f32],
    /// Where the result goes, `[rows, hidden]`.
    context: &'a mut [f32],
}

impl Shape<'_> {
    /// Panels of one head of a sequence of `length` tokens: its keys as columns `[d, length]`,
    /// then its values `[length, d]`. The sizes of the two parts.
    fn panel_sizes(&self, length: usize) -> (usize, usize) {
        let columns = self.tile.columns;
        (length.next_multiple_of(columns) * self.d, self.d.next_multiple_of(columns) * length)
    }

    fn packed_size(&self, length: usize) -> usize {
        let (keys, values) = self.panel_sizes(length);
        (keys + values) * self.heads
    }

    /// Every sequence's keys and values in the order in which the products read them.
    fn pack(&self, sequences: &Sequences) -> CpuBuffer {
        let size = sequences.ranges().map(|rows| self.packed_size(rows.len())).sum();
        let mut packed = self.device.take(1, size);
        let mut rest = packed.data_mut();
        let mut parts = Vec::with_capacity(sequences.len());
        for rows in sequences.ranges().filter(|rows| !rows.is_empty()) {
            let (part, after) = rest.split_at_mut(self.packed_size(rows.len()));
            parts.push((rows, part));
            rest = after;
        }
        parts.into_par_iter().for_each(|(rows, part)| {
            let size = part.len() / self.heads;
            part.par_chunks_exact_mut(size).enumerate().for_each(|(head, part)| {
                self.pack_head(rows.clone(), head, part);
            });
        });
        packed
    }

    fn pack_head(&self, rows: Range<usize>, head: usize, part: &mut [f32]) {
        let (d, columns) = (self.d, self.tile.columns);
        let (key, value) = (self.hidden + head * d, 2 * self.hidden + head * d);
        let (keys, values) = part.split_at_mut(self.panel_sizes(rows.len()).0);
        let token = |at: usize| &self.qkv.data()[(rows.start + at) * 3 * self.hidden..];
        cpu::pack_panels(columns, rows.len(), d, |at| &token(at)[key..][..d], keys);
        for (index, panel) in values.chunks_exact_mut(rows.len() * columns).enumerate() {
            let first = index * columns;
            let width = columns.min(d - first);
            for (at, row) in panel.chunks_exact_mut(columns).enumerate() {
                row[..width].copy_from_slice(&token(at)[value + first..][..width]);
                row[width..].fill(0.0);
            }
        }
    }

    /// The tasks: each sequence's rows, at most [`BLOCK_ROWS`] at a time.
    fn blocks<'a>(
        &self,
        sequences: &Sequences,
        packed: &'a CpuBuffer,
        context: &'a mut CpuBuffer,
    ) -> Vec<Block<'a>> {
        let (mut packed, mut context) = (packed.data(), context.data_mut());
        let mut blocks = Vec::new();
        for sequence in sequences.ranges() {
            let length = sequence.len();
            let (own, after) = packed.split_at(self.packed_size(length));
            packed = after;
            for first in sequence.clone().step_by(BLOCK_ROWS) {
                let rows = first..sequence.end.min(first + BLOCK_ROWS);
                let (part, after) = context.split_at_mut(rows.len() * self.hidden);
                context = after;
                blocks.push(Block { rows, length, packed: own, context: part });
            }
        }
        blocks
    }

    /// All heads of one block, a tile of rows at a time.
    fn attend(&self, block: Block) {
        let Tile { rows: height, columns } = self.tile;
        let (keys, values) = self.panel_sizes(block.length);
        let mut scores = vec![0.0; height * block.length.next_multiple_of(columns)];
        for (head, packed) in block.packed.chunks_exact(keys + values).enumerate() {
            let (keys, values) = packed.split_at(keys);
            for top in (0..block.rows.len()).step_by(height) {
                let height = height.min(block.rows.len() - top);
                let query = (block.rows.start + top) * 3 * self.hidden + head * self.d;
                let sums = self.probabilities(height, query, keys, block.length, &mut scores);
                let out = &mut block.context[top * self.hidden + head * self.d..];
                self.weigh(height, &scores, &sums, values, block.length, out);
            }
        }
    }

    /// `exp(Q Kᵀ / sqrt(d) - max)` of some rows into `scores`, and each row's sum.
    fn probabilities(
        &self,
        height: usize,
        query: usize,
        keys: &[f32],
        length: usize,
        scores: &mut [f32],
    ) -> [f32; TILE_ROWS_MAX] {
        let columns = self.tile.columns;
        let stride = length.next_multiple_of(columns);
        let queries = &self.qkv.data()[query..];
        for (index, panel) in keys.chunks_exact(self.d * columns).enumerate() {
            let out = &mut scores[index * columns..];
            self.device.isa.multiply(height, queries, 3 * self.hidden, panel, out, stride);
        }
        let scale = 1.0 / (self.d as f32).sqrt();
        let mut sums = [0.0; TILE_ROWS_MAX];
        self.device.isa.each(
            #[inline(always)]
            || {
                for (row, sum) in scores.chunks_exact_mut(stride).zip(&mut sums).take(height) {
                    let row = &mut row[..length];
                    let most = cpu::max(row);
                    row.iter_mut().for_each(|x| *x = cpu::exp((*x - most) * scale));
                    *sum = cpu::sum(row);
                }
            },
        );
        sums
    }

    /// `scores V / sums` of some rows into `out`, whose rows are `hidden` apart.
    fn weigh(
        &self,
        height: usize,
        scores: &[f32],
        sums: &[f32; TILE_ROWS_MAX],
        values: &[f32],
        length: usize,
        out: &mut [f32],
    ) {
        let columns = self.tile.columns;
        let stride = length.next_multiple_of(columns);
        let mut tile = [0.0; TILE_ROWS_MAX * TILE_COLUMNS_MAX];
        for (index, panel) in values.chunks_exact(length * columns).enumerate() {
            self.device.isa.multiply(height, scores, stride, panel, &mut tile, columns);
            let first = index * columns;
            let width = columns.min(self.d - first);
            for ((row, tile), sum) in tile.chunks_exact(columns).enumerate().zip(sums).take(height)
            {
                let out = &mut out[row * self.hidden + first..][..width];
                out.iter_mut().zip(tile).for_each(|(out, x)| *out = x / sum);
            }
        }
    }
}
