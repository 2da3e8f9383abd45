//! Matrix product with weights as a file has them: `y = x Wᵀ + b`, plus a residual if there is one.
//!
//! `x` `[m, k]`; `W` one or several matrices `[n, k]`, each of its own [`Format`], whose outputs
//! follow each other -> `y` `[m, n of all]`. Weights stay in their format. With plain numbers products
//! are f32, summed over k from 0 upwards; at another [`crate::Precision`] than f32, and where the CPU
//! multiplies pairs of bf16, those of 16 bits are bf16 as the rows of `x` they meet. Against blocks of whole numbers the CPU takes each 32 of a
//! row of `x` to the nearest of 255 steps between plus and minus their largest magnitude, as llama.cpp
//! does, sums each block exactly, and the blocks from 0 upwards in f32; a GPU rounds nothing. Either
//! way a row's result does not depend on the rows beside it. Refused: operands that do not fit, bytes
//! that are not what the sizes say.

mod format;
mod gpu;
mod pack;
pub mod reference;

use rayon::prelude::*;

use crate::KernelError;
use crate::cpu::{
    BLOCK_TILE_ROWS, CpuBuffer, CpuDevice, Operands, PANEL_ROWS, Rows, Steps, Stored, tiles,
};

pub use format::Format;
pub use gpu::GpuBlocks;
pub use pack::{BlockMatrix, RowOrder};
pub(crate) use pack::{COLUMNS, LINE, Layout, Line, panel_bytes};

/// Matrices in panels.
pub struct Prepared {
    n: usize,
    k: usize,
    parts: Vec<Part>,
    /// Of all outputs; empty where there is none.
    bias: Vec<f32>,
}

struct Part {
    format: Format,
    /// Its first output among all, and how many it has.
    first: usize,
    n: usize,
    /// Whether its numbers are pairs of bf16, whatever the format.
    pairs: bool,
    lines: Vec<Line>,
}

/// Rows to be multiplied.
struct Left<'a> {
    x: &'a [f32],
    /// In whole steps, where a part wants them so.
    steps: Option<Steps>,
    /// In pairs of bf16, the same.
    pairs: Option<CpuBuffer>,
}

/// What is added to a product `[m, n]`.
#[derive(Clone, Copy)]
struct Added<'a> {
    bias: &'a [f32],
    residual: Option<&'a [f32]>,
}

/// Refuses matrices of different inputs, and a bias of another length than all outputs. The outputs
/// and inputs of all together.
fn check(parts: &[BlockMatrix], bias: Option<&[f32]>) -> Result<[usize; 2], KernelError> {
    parts.iter().try_for_each(BlockMatrix::check)?;
    let k = parts.first().map_or(0, |part| part.k);
    let n = parts.iter().try_fold(0usize, |n, part| n.checked_add(part.n)).unwrap_or(0);
    let biases = bias.map(<[f32]>::len);
    if n == 0 || parts.iter().any(|part| part.k != k) || biases.is_some_and(|count| count != n) {
        let shapes: Vec<_> = parts.iter().map(|part| [part.n, part.k]).collect();
        let reason = format!("matrices {shapes:?}, {biases:?} biases");
        return Err(KernelError::shape("block_linear", reason));
    }
    Ok([n, k])
}

/// Refuses operands that do not fit weights `[n, k]`; shapes are `[rows, columns]`.
fn fits(
    x: [usize; 2],
    residual: Option<[usize; 2]>,
    [n, k]: [usize; 2],
) -> Result<(), KernelError> {
    if x[1] != k || residual.is_some_and(|residual| residual != [x[0], n]) {
        let reason = format!("{x:?} times a matrix [{n}, {k}], residual {residual:?}");
        return Err(KernelError::shape("block_linear", reason));
    }
    Ok(())
}

impl Prepared {
    pub(crate) fn new(
        device: &CpuDevice,
        parts: &[BlockMatrix],
        bias: Option<&[f32]>,
    ) -> Result<Prepared, KernelError> {
        let [n, k] = check(parts, bias)?;
        let mut first = 0;
        let pack = |part: &BlockMatrix| {
            let of = first;
            first += part.n;
            let narrow = matches!(part.format, Format::F16 | Format::Bf16);
            let pairs = narrow && device.arithmetic.is_pairs();
            let lines = if pairs { part.pack_pairs(device.arithmetic) } else { part.pack() };
            Part { format: part.format, first: of, n: part.n, pairs, lines }
        };
        let parts = parts.iter().map(pack).collect();
        Ok(Prepared { n, k, parts, bias: bias.unwrap_or_default().to_vec() })
    }

    fn left<'a>(&self, device: &CpuDevice, x: &'a [f32]) -> Left<'a> {
        let quantised = self.parts.iter().any(|part| part.format.is_quantised());
        let pairs = self.parts.iter().any(|part| part.pairs).then(|| {
            let (count, arithmetic) = (x.len() / self.k, device.arithmetic);
            let mut words = device.take(count, arithmetic.words(self.k));
            arithmetic.rows(x, self.k, (count, self.k), words.words_mut());
            words
        });
        Left { x, steps: quantised.then(|| Steps::of(device.isa, x, self.k)), pairs }
    }

    /// Each panel: its part, its place there, the output that it begins with, and how many it has.
    fn panels(&self) -> impl Iterator<Item = (&Part, usize, usize, usize)> {
        self.parts.iter().flat_map(|part| {
            (0..part.n.div_ceil(COLUMNS)).map(move |index| {
                let first = index * COLUMNS;
                (part, index, part.first + first, COLUMNS.min(part.n - first))
            })
        })
    }

    /// The rows `top..top + height` of `left` times a panel, into `out` `[height, 32]`.
    fn panel(
        &self,
        device: &CpuDevice,
        left: &Left,
        (part, index): (&Part, usize),
        (top, height): (usize, usize),
        out: &mut [f32],
    ) {
        let size = part.lines.len() / part.n.div_ceil(COLUMNS);
        let lines = &part.lines[index * size..][..size];
        let panel: &[u8] = bytemuck::cast_slice(lines);
        let rows = &left.x[top * self.k..];
        match (part.format, &left.steps) {
            _ if part.pairs => {
                let words = left.pairs.as_ref().map_or(&[][..], CpuBuffer::words);
                let stride = device.arithmetic.words(self.k);
                for (first, height) in tiles(height, PANEL_ROWS) {
                    let (out, rows) = (&mut out[first * COLUMNS..], (top + first, height));
                    let a = Rows { words, stride };
                    let panel = bytemuck::cast_slice(lines);
                    device.arithmetic.multiply(a, rows, panel, out, COLUMNS);
                }
            }
            (Format::F32, _) => self.floats::<f32>(device, rows, height, panel, out),
            (Format::F16, _) => self.floats::<half::f16>(device, rows, height, panel, out),
            (Format::Bf16, _) => self.floats::<half::bf16>(device, rows, height, panel, out),
            (format, Some(steps)) => {
                for (first, height) in tiles(height, BLOCK_TILE_ROWS) {
                    let out = &mut out[first * COLUMNS..];
                    let rows = (top + first, height);
                    device.isa.multiply_blocks(format, steps, rows, panel, out);
                }
            }
            (format, None) => unreachable!("{format:?} takes whole steps"),
        }
    }

    /// A part of k at a time, which stays in the first-level cache for all rows.
    fn floats<T: Stored>(
        &self,
        device: &CpuDevice,
        a: &[f32],
        height: usize,
        panel: &[u8],
        out: &mut [f32],
    ) {
        let panel = bytemuck::cast_slice::<u8, T>(panel);
        for (part, panel) in panel.chunks(DEPTH * COLUMNS).enumerate() {
            for (top, rows) in tiles(height, PANEL_ROWS) {
                device.isa.multiply_stored(Operands {
                    rows,
                    a: &a[top * self.k + part * DEPTH..],
                    a_stride: self.k,
                    panel,
                    next: &[],
                    out: &mut out[top * COLUMNS..],
                    out_stride: COLUMNS,
                    add: part > 0,
                });
            }
        }
    }

    /// `y` of some rows, all by the thread that calls.
    fn block(&self, device: &CpuDevice, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) {
        let left = self.left(device, x);
        let added = Added { bias: &self.bias, residual };
        let mut out = [0.0; BLOCK_ROWS * COLUMNS];
        for (part, index, first, width) in self.panels() {
            for (top, height) in tiles(x.len() / self.k, BLOCK_ROWS) {
                let out = &mut out[..height * COLUMNS];
                self.panel(device, &left, (part, index), (top, height), out);
                for (row, tile) in out.chunks_exact(COLUMNS).enumerate() {
                    let at = (top + row) * self.n + first;
                    added.finish(at, first, &tile[..width], &mut y[at..at + width]);
                }
            }
        }
    }

    /// Few rows, such as one token's: a task takes some panels and all rows.
    fn by_panels(&self, device: &CpuDevice, x: &[f32], residual: Option<&[f32]>, y: &mut [f32]) {
        let (left, m) = (self.left(device, x), x.len() / self.k);
        let added = Added { bias: &self.bias, residual };
        let panels: Vec<_> = self.panels().collect();
        // Of each panel, its place in each row.
        let mut rows: Vec<&mut [f32]> = y.chunks_exact_mut(self.n).collect();
        let mut places = Vec::with_capacity(panels.len() * m);
        for &(.., width) in &panels {
            places.extend(rows.iter_mut().filter_map(|rest| rest.split_off_mut(..width)));
        }
        // One run of panels a thread, side by side: of a single row their results are too.
        let least = panels.len().div_ceil(2 * device.share).max(1);
        let tasks = places.par_chunks_mut(m).zip(&panels).with_min_len(least);
        tasks.for_each(|(places, &(part, index, first, _))| {
            let mut out = [0.0; BLOCK_ROWS * COLUMNS];
            for (top, height) in tiles(m, BLOCK_ROWS) {
                let out = &mut out[..height * COLUMNS];
                self.panel(device, &left, (part, index), (top, height), out);
                let tiles = out.chunks_exact(COLUMNS).zip(&mut places[top..]);
                for (row, (tile, y)) in (top..).zip(tiles) {
                    added.finish(row * self.n + first, first, &tile[..y.len()], y);
                }
            }
        });
    }
}

impl Added<'_> {
    /// A tile's row with what is added to it; the result's element `at` is of output `first`.
    fn finish(self, at: usize, first: usize, tile: &[f32], y: &mut [f32]) {
        y.copy_from_slice(tile);
        if !self.bias.is_empty() {
            y.iter_mut().zip(&self.bias[first..]).for_each(|(y, bias)| *y += bias);
        }
        if let Some(residual) = self.residual {
            y.iter_mut().zip(&residual[at..]).for_each(|(y, r)| *y += r);
        }
    }
}

/// Inputs of which a panel of plain numbers is multiplied at a time.
const DEPTH: usize = 384;

/// Rows of a task at most: they stay in the second-level cache while the panels pass by.
const BLOCK_ROWS: usize = 48;

pub(crate) fn run(
    device: &CpuDevice,
    x: &CpuBuffer,
    weights: &Prepared,
    residual: Option<&CpuBuffer>,
) -> Result<CpuBuffer, KernelError> {
    fits(x.shape(), residual.map(CpuBuffer::shape), [weights.n, weights.k])?;
    let (m, n) = (x.rows(), weights.n);
    let mut y = device.take(m, n);
    let residual = residual.map(CpuBuffer::data);
    if m < BLOCK_ROWS * device.share {
        if m > 0 {
            weights.by_panels(device, x.data(), residual, y.data_mut());
        }
        return Ok(y);
    }
    // As many blocks for each thread.
    let blocks = m.div_ceil(BLOCK_ROWS).next_multiple_of(device.share);
    let rows = m.div_ceil(blocks);
    let tasks = y.data_mut().par_chunks_mut(rows * n).zip(x.data().par_chunks(rows * weights.k));
    tasks.enumerate().for_each(|(block, (y, x))| {
        let residual = residual.map(|residual| &residual[block * rows * n..]);
        weights.block(device, x, residual, y);
    });
    Ok(y)
}
