//! Bidirectional self-attention over packed sequences (Vaswani et al. 2017, section 3.2).
//!
//! `qkv` `[tokens, 3 h]`, a row being query, key and value side by side, each `heads` parts of
//! `d = h / heads` -> `[tokens, h]`: per sequence and head, `softmax(Q Kᵀ / sqrt(d)) V`. A token
//! sees its own sequence, all of it, and nothing else. Refused: columns that are not three times
//! a multiple of `heads`, sequences that do not cover the rows.

mod gpu;
pub mod reference;

use std::f32::consts::LOG2_E;
use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::{self, CpuBuffer, CpuDevice, Finish, Number, Places, Rows, Step, Tile, tiles};
use crate::pool::covers;
use crate::{Epilogue, KernelError, Sequences, linear};

pub(crate) use gpu::{query_blocks, run_on_gpu, units_attend};

/// Query rows that one task takes, all heads of them; a multiple of every tile's height.
const BLOCK_ROWS: usize = 48;

/// Whose queries are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queries {
    /// Every token's: `[tokens, h]`.
    All,
    /// Each sequence's first token's: `[sequences, h]`, zeros of an empty sequence.
    First,
}

impl Queries {
    /// Rows of the result of a sequence of `length` tokens.
    fn rows(self, length: usize) -> usize {
        if self == Queries::All { length } else { 1 }
    }
}

pub(crate) fn run(
    device: &CpuDevice,
    qkv: &CpuBuffer,
    sequences: &Sequences,
    heads: usize,
    queries: Queries,
) -> Result<CpuBuffer, KernelError> {
    covers("attention", sequences, qkv.rows())?;
    let shape = Shape::new(device, qkv.columns(), heads)?;
    let rows = sequences.ranges().map(|rows| queries.rows(rows.len())).sum();
    let mut context = device.take(rows, shape.hidden);
    let packed = pack(&shape, qkv, sequences);
    let own = of_each(&shape, qkv, sequences, &packed);
    let parts = cut(context.data_mut(), sequences, |length| queries.rows(length) * shape.hidden);
    let blocks = own.into_par_iter().zip(parts).flat_map(|(sequence, out)| {
        let blocks = out.par_chunks_mut(BLOCK_ROWS * shape.hidden).enumerate();
        blocks.map(move |(block, out)| (sequence, block * BLOCK_ROWS, out))
    });
    blocks.for_each(|(sequence, first, out)| shape.attend(sequence, first, out));
    Ok(context)
}

/// [`run`] of `linear(x)`, a task taking whole sequences, whose queries, keys and values then stay
/// in its cache, as numbers of type `T`.
pub(crate) fn run_projected<T: Number>(
    device: &CpuDevice,
    x: &CpuBuffer,
    weights: &linear::Prepared,
    sequences: &Sequences,
    heads: usize,
    queries: Queries,
) -> Result<CpuBuffer, KernelError> {
    weights.fits(x, Epilogue::None)?;
    covers("attention", sequences, x.rows())?;
    let shape = Shape::new(device, weights.outputs(), heads)?;
    let rows = sequences.ranges().map(|rows| queries.rows(rows.len())).sum();
    let mut context = device.take(rows, shape.hidden);
    let parts = cut(context.data_mut(), sequences, |length| queries.rows(length) * shape.hidden);
    let ranges: Vec<_> = sequences.ranges().collect();
    parts.into_par_iter().zip(ranges).for_each(|(out, rows)| {
        let x = &x.data()[rows.start * x.columns()..rows.end * x.columns()];
        shape.sequence::<T>(x, weights, queries, out);
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

/// Cuts `data` into one part a sequence, of the size that its length asks for.
fn cut<'a, T>(
    mut data: &'a mut [T],
    sequences: &Sequences,
    size: impl Fn(usize) -> usize,
) -> Vec<&'a mut [T]> {
    let mut parts = Vec::with_capacity(sequences.len());
    for rows in sequences.ranges() {
        let (part, after) = data.split_at_mut(size(rows.len()));
        parts.push(part);
        data = after;
    }
    parts
}

/// Every sequence's keys and values in the order in which the products read them.
fn pack(shape: &Shape, qkv: &CpuBuffer, sequences: &Sequences) -> CpuBuffer {
    let size = sequences.ranges().map(|rows| shape.packed_words(rows.len())).sum();
    let mut packed = shape.device.take(1, size);
    let parts = cut(packed.words_mut(), sequences, |length| shape.packed_words(length));
    let ranges: Vec<_> = sequences.ranges().collect();
    parts.into_par_iter().zip(ranges).filter(|(part, _)| !part.is_empty()).for_each(
        |(part, rows)| {
            let size = part.len() / shape.heads;
            part.par_chunks_exact_mut(size).enumerate().for_each(|(head, part)| {
                shape.pack_head(shape.rows(qkv, rows.clone()), head, part);
            });
        },
    );
    packed
}

fn of_each<'a>(
    shape: &Shape,
    qkv: &'a CpuBuffer,
    sequences: &Sequences,
    packed: &'a CpuBuffer,
) -> Vec<Sequence<'a, f32>> {
    let mut packed = packed.words();
    let own = |rows: Range<usize>| {
        let (own, after) = packed.split_at(shape.packed_words(rows.len()));
        packed = after;
        Sequence { qkv: shape.rows(qkv, rows), packed: own }
    };
    sequences.ranges().map(own).collect()
}

/// One sequence.
#[derive(Clone, Copy)]
struct Sequence<'a, T> {
    /// `[length, 3 hidden]`.
    qkv: &'a [T],
    /// Its keys and values, head by head, in panels.
    packed: &'a [u32],
}

struct Shape<'a> {
    device: &'a CpuDevice,
    heads: usize,
    hidden: usize,
    d: usize,
    tile: Tile,
}

/// What a task writes over and over.
struct Scratch {
    /// Of some rows, each a whole number of panels wide.
    scores: Vec<f32>,
    /// One over the sum of each of the rows.
    factors: Vec<f32>,
    /// The queries or the weights of the rows, as a left operand.
    words: Vec<u32>,
    /// The rows' part of the context, a panel of it.
    context: Vec<f32>,
}

impl Shape<'_> {
    fn new(device: &CpuDevice, columns: usize, heads: usize) -> Result<Shape<'_>, KernelError> {
        let hidden = hidden(columns, heads)?;
        Ok(Shape { device, heads, hidden, d: hidden / heads, tile: device.isa.tile() })
    }

    fn rows<'a>(&self, qkv: &'a CpuBuffer, rows: Range<usize>) -> &'a [f32] {
        &qkv.data()[rows.start * 3 * self.hidden..rows.end * 3 * self.hidden]
    }

    /// Panels of one head of a sequence of `length` tokens: its keys as columns `[d, length]`,
    /// then its values `[length, d]`. The words of the two parts.
    fn panel_words(&self, length: usize) -> (usize, usize) {
        let (columns, arithmetic) = (self.tile.columns, self.device.arithmetic);
        let keys = length.next_multiple_of(columns) * arithmetic.words(self.d);
        (keys, self.d.next_multiple_of(columns) * arithmetic.words(length))
    }

    fn packed_words(&self, length: usize) -> usize {
        let (keys, values) = self.panel_words(length);
        (keys + values) * self.heads
    }

    fn pack_head<T: Number>(&self, qkv: &[T], head: usize, part: &mut [u32]) {
        let (d, arithmetic) = (self.d, self.device.arithmetic);
        let (key, value) = (self.hidden + head * d, 2 * self.hidden + head * d);
        let length = qkv.len() / (3 * self.hidden);
        let (keys, values) = part.split_at_mut(self.panel_words(length).0);
        arithmetic.pack_columns(length, d, (&qkv[key..], 3 * self.hidden), keys);
        arithmetic.pack_rows(d, length, (&qkv[value..], 3 * self.hidden), values);
    }

    /// A sequence's tokens `x` `[length, k]` to its context, all by the thread that calls.
    fn sequence<T: Number>(
        &self,
        x: &[f32],
        weights: &linear::Prepared,
        queries: Queries,
        out: &mut [f32],
    ) {
        let (device, hidden) = (self.device, self.hidden);
        let length = x.len() / weights.inputs();
        if length == 0 {
            return out.fill(0.0);
        }
        let mut qkv = device.take_numbers::<T>(length * 3 * hidden);
        let qkv = &mut qkv.numbers_mut::<T>()[..length * 3 * hidden];
        match queries {
            Queries::All => weights.block(device, x, Epilogue::None, qkv),
            Queries::First => {
                let first = &x[..weights.inputs()];
                weights.block_columns(device, first, 0..hidden, Epilogue::None, qkv);
                weights.block_columns(device, x, hidden..3 * hidden, Epilogue::None, qkv);
            }
        }
        let mut packed = device.take(1, self.packed_words(length));
        let size = packed.words().len() / self.heads;
        for (head, part) in packed.words_mut().chunks_exact_mut(size).enumerate() {
            self.pack_head(qkv, head, part);
        }
        self.attend(Sequence { qkv, packed: packed.words() }, 0, out);
    }

    /// All heads of the rows of a sequence from `first` on, some of them at a time, to `out`
    /// `[rows, hidden]`.
    fn attend<T: Number>(&self, sequence: Sequence<T>, first: usize, out: &mut [f32]) {
        let (d, arithmetic) = (self.d, self.device.arithmetic);
        let columns = self.tile.columns;
        let length = sequence.qkv.len() / (3 * self.hidden);
        if length == 0 {
            return out.fill(0.0);
        }
        let (keys, values) = self.panel_words(length);
        let rows = out.len() / self.hidden;
        let most = rows.min(BLOCK_ROWS);
        let mut scratch = Scratch {
            scores: vec![0.0; most * length.next_multiple_of(columns)],
            factors: vec![0.0; most],
            words: vec![0; most * arithmetic.words(length.next_multiple_of(columns).max(d))],
            context: vec![0.0; most * columns],
        };
        for (head, packed) in sequence.packed.chunks_exact(keys + values).enumerate() {
            let (keys, values) = packed.split_at(keys);
            for (top, height) in tiles(rows, BLOCK_ROWS) {
                let query = (first + top) * 3 * self.hidden + head * d;
                let query = &sequence.qkv[query..];
                self.probabilities(height, query, keys, length, &mut scratch);
                let out = &mut out[top * self.hidden + head * d..];
                self.weigh(height, &mut scratch, values, length, out);
            }
        }
    }

    /// `exp(Q Kᵀ / sqrt(d) - max)` of some rows, into the words where a product of pairs follows and else
    /// into the scores, and one over each row's sum.
    fn probabilities<T: Number>(
        &self,
        height: usize,
        query: &[T],
        keys: &[u32],
        length: usize,
        scratch: &mut Scratch,
    ) {
        let (columns, arithmetic) = (self.tile.columns, self.device.arithmetic);
        let stride = length.next_multiple_of(columns);
        let Scratch { scores, factors, words, .. } = scratch;
        let query = arithmetic.rows(query, 3 * self.hidden, (height, self.d), words);
        for (index, panel) in keys.chunks_exact(arithmetic.words(self.d) * columns).enumerate() {
            arithmetic.multiply(query, (0, height), panel, &mut scores[index * columns..], stride);
        }
        let scale = 1.0 / (self.d as f32).sqrt();
        let (isa, factors) = (self.device.isa, &mut factors[..height]);
        if arithmetic.is_pairs() {
            return isa.weights((scores, stride), length, scale * LOG2_E, words, factors);
        }
        isa.each(
            #[inline(always)]
            || {
                for (row, factor) in scores.chunks_exact_mut(stride).zip(factors) {
                    let row = &mut row[..length];
                    let most = cpu::max(row);
                    let sum = if arithmetic.is_f32() {
                        cpu::map_and_sum(row, |x| cpu::exp((x - most) * scale))
                    } else {
                        let scale = scale * LOG2_E;
                        cpu::map_and_sum(row, |x| cpu::exp2_rough((x - most) * scale))
                    };
                    *factor = 1.0 / sum;
                }
            },
        );
    }

    /// The weights times V, each row times its factor, into `out`, whose rows are `hidden` apart.
    fn weigh(
        &self,
        height: usize,
        scratch: &mut Scratch,
        values: &[u32],
        length: usize,
        out: &mut [f32],
    ) {
        let (columns, arithmetic) = (self.tile.columns, self.device.arithmetic);
        let stride = length.next_multiple_of(columns);
        let Scratch { scores, factors, words, context } = scratch;
        let weights = match arithmetic.is_pairs() {
            true => Rows { words, stride: stride / 2 },
            false => arithmetic.rows(scores, stride, (height, length), words),
        };
        for (index, panel) in values.chunks_exact(arithmetic.words(length) * columns).enumerate() {
            let first = index * columns;
            let width = columns.min(self.d - first);
            if arithmetic.is_pairs() && width == columns {
                let (step, out) = (Step::Scale(factors), Places::F32(&mut out[first..]));
                let out = &mut Finish { step, out, stride: self.hidden };
                arithmetic.finish(weights, (0, height), panel, out);
                continue;
            }
            arithmetic.multiply(weights, (0, height), panel, context, columns);
            let rows = context.chunks_exact(columns).zip(&*factors).enumerate().take(height);
            self.device.isa.each(
                #[inline(always)]
                || {
                    for (row, (context, factor)) in rows {
                        let out = &mut out[row * self.hidden + first..][..width];
                        for (out, x) in out.iter_mut().zip(context) {
                            *out = x * factor;
                        }
                    }
                },
            );
        }
    }
}
