//! Late interaction, "MaxSim" (ColBERT, Khattab & Zaharia 2020, section 3.3).
//!
//! `x` `[tokens, h]` packed and pairs `(query, passage)` of sequence numbers -> `[pairs, 1]`:
//! per pair, for each token of the query the largest cosine with any token of the passage, summed
//! over the query's tokens and **divided by their number**. ColBERT leaves the sum; the mean
//! orders passages the same, lies in [-1, 1], and compares between queries of any length.
//! Every token of a sequence counts, as ColBERT counts `[CLS]` and `[SEP]`.
//! A token of length 0 has cosine 0 with everything; an empty query or passage scores 0.
//! Refused: sequences that do not cover `x`'s rows, a pair that names no sequence.

mod gpu;
pub mod reference;

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::{self, CpuBuffer, CpuDevice, TILE_COLUMNS_MAX, TILE_ROWS_MAX, Tile};
use crate::pool::covers;
use crate::{KernelError, Sequences};

pub(crate) use gpu::run_on_gpu;

pub(crate) fn run(
    device: &CpuDevice,
    x: &CpuBuffer,
    sequences: &Sequences,
    pairs: &[(u32, u32)],
) -> Result<CpuBuffer, KernelError> {
    covers("maxsim", sequences, x.rows())?;
    let ranges = find(sequences, pairs)?;
    let mut scores = device.take(pairs.len(), 1);
    scores.data_mut().par_iter_mut().zip(ranges).for_each(|(out, (query, passage))| {
        *out = score(device, x, query, passage);
    });
    Ok(scores)
}

/// Rows of a query and of a passage.
type Pair = (Range<usize>, Range<usize>);

/// The rows of each pair's query and passage. Refuses a pair that names no sequence.
fn find(sequences: &Sequences, pairs: &[(u32, u32)]) -> Result<Vec<Pair>, KernelError> {
    let find = |index: u32| {
        sequences.range(index as usize).ok_or_else(|| {
            let reason = format!("sequence {index} of {}", sequences.len());
            KernelError::shape("maxsim", reason)
        })
    };
    pairs.iter().map(|&(query, passage)| Ok((find(query)?, find(passage)?))).collect()
}

fn score(device: &CpuDevice, x: &CpuBuffer, query: Range<usize>, passage: Range<usize>) -> f32 {
    let width = x.columns();
    if query.is_empty() || passage.is_empty() || width == 0 {
        return 0.0;
    }
    let Tile { rows: height, columns } = device.isa.tile();
    let row = |at: usize| &x.data()[at * width..][..width];
    // The query's tokens are the panels' columns, so that a tile holds all cosines of some
    // passage tokens with up to `columns` query tokens.
    let mut panels = vec![0.0; query.len().next_multiple_of(columns) * width];
    cpu::pack_panels(columns, query.len(), width, |i| row(query.start + i), &mut panels);
    let mut best = vec![f32::NEG_INFINITY; query.len().next_multiple_of(columns)];
    let mut tile = [0.0; TILE_ROWS_MAX * TILE_COLUMNS_MAX];
    for top in passage.clone().step_by(height) {
        let height = height.min(passage.end - top);
        let scales: [f32; TILE_ROWS_MAX] =
            std::array::from_fn(|i| if i < height { scale(device, row(top + i)) } else { 0.0 });
        for (panel, best) in
            panels.chunks_exact(width * columns).zip(best.chunks_exact_mut(columns))
        {
            let rows = &x.data()[top * width..];
            device.isa.multiply(height, rows, width, panel, &mut tile, columns);
            for (dots, scale) in tile.chunks_exact(columns).zip(scales).take(height) {
                for (best, dot) in best.iter_mut().zip(dots) {
                    *best = best.max(dot * scale);
                }
            }
        }
    }
    // A positive scale moves through the maximum: the query's own lengths divide out here.
    let sum: f64 = query
        .clone()
        .zip(&best)
        .map(|(at, best)| f64::from(scale(device, row(at))) * f64::from(*best))
        .sum();
    (sum / query.len() as f64) as f32
}

/// 1 / the row's Euclidean length; 0 for a row of zeros.
fn scale(device: &CpuDevice, row: &[f32]) -> f32 {
    let square = device.isa.each(
        #[inline(always)]
        || cpu::dot(row, row),
    );
    if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 }
}
