//! Products of 8-bit whole numbers, whose sums are exact.
//!
//! A row `x` of activations becomes `x ~ scale (q - zero)` with `q` in 0..=255, a column `w` of
//! weights `w ~ scale q` with `q` in -127..=127, both `q` nearest. So
//! `x . w ~ scale scale (sum of q q - zero * sum of the column's q)`, where the sums are whole
//! numbers below 2^31. Machines without `vpdpbusd` take them as f32, in runs of k so short that no
//! sum leaves the 24 bits in which f32 is exact: the result is the same bits.

use super::dot::{Operands, Whole};
use super::{Isa, TILE_COLUMNS_MAX, TILE_ROWS_MAX, Tile, math, tiles};
use crate::Shared;

/// More inputs than this could overflow the sums.
pub(crate) const MOST_INPUTS: usize = (i32::MAX / (255 * 127)) as usize;
/// As many products of 255 * 127 stay below 2^24.
const EXACT_IN_F32: usize = (1 << 24) / (255 * 127);

/// The rows of a left operand.
pub(crate) struct Rows<'a> {
    words: &'a [u32],
    stride: usize,
    scales: Vec<RowScale>,
}

#[derive(Clone, Copy)]
struct RowScale {
    scale: f32,
    zero: i32,
}

/// A right operand in panels, see [`super::arithmetic`].
pub(crate) struct Matrix {
    isa: Isa,
    k: usize,
    /// Columns, filled up with zeros to whole panels.
    whole: usize,
    /// The panels, then of each column its scale as an f32, then the sum of its whole numbers.
    words: Shared<u32>,
}

/// Words that hold `k` numbers.
pub(crate) fn words(isa: Isa, k: usize) -> usize {
    if isa.has_int8() { k.div_ceil(4) } else { k }
}

/// What the words of a matrix hold, as a part of a file's name.
pub(crate) fn layout(isa: Isa) -> &'static str {
    if isa.has_int8() { "int8" } else { "int8-widened" }
}

/// The scale and zero point with which `x` and 0 fit 0..=255, and what to divide by. A row that has an
/// infinity or NaN gets a scale that is one too.
#[inline(always)]
fn range(x: &[f32]) -> (RowScale, f32) {
    let (least, most, not_a_number) = math::extent(x);
    let range = most - least;
    let (scale, inverse) = if range > 0.0 { (range / 255.0, 255.0 / range) } else { (1.0, 0.0) };
    let zero = (-least * inverse + 0.5) as i32;
    (RowScale { scale: scale + not_a_number, zero }, inverse)
}

/// The nearest whole number of 0..=255 to `x / scale + zero`.
#[inline(always)]
fn quantize(x: f32, inverse: f32, zero: f32) -> u32 {
    // 1.5 * 2^23: adding it leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let q = x * inverse + zero;
    let q = if q < 255.0 { q } else { 255.0 };
    let q = if q > 0.0 { q } else { 0.0 };
    (q + ROUND).to_bits() & 0xff
}

/// `count` rows of `k` numbers, one after another. `scratch` must hold `count * words(k)` words.
pub(crate) fn rows<'a>(
    isa: Isa,
    x: &[f32],
    (count, k): (usize, usize),
    scratch: &'a mut [u32],
) -> Rows<'a> {
    let stride = words(isa, k);
    let mut scales = Vec::with_capacity(count);
    isa.each(
        #[inline(always)]
        || {
            for (x, words) in x.chunks_exact(k).zip(scratch.chunks_exact_mut(stride)).take(count) {
                let (row, inverse) = range(x);
                let zero = row.zero as f32;
                if isa.has_int8() {
                    let (bytes, rest) = bytemuck::cast_slice_mut::<u32, u8>(words).split_at_mut(k);
                    for (byte, &x) in bytes.iter_mut().zip(x) {
                        *byte = quantize(x, inverse, zero) as u8;
                    }
                    rest.fill(0);
                } else {
                    for (word, &x) in words.iter_mut().zip(x) {
                        *word = (quantize(x, inverse, zero) as f32).to_bits();
                    }
                }
                scales.push(row);
            }
        },
    );
    Rows { words: scratch, stride, scales }
}

/// What the whole numbers of a tile stand for.
#[derive(Clone, Copy)]
pub(crate) struct WholeNumbers<'a> {
    rows: &'a [RowScale],
    /// Of each column, and the sums of their numbers.
    scales: &'a [f32],
    sums: &'a [i32],
}

impl<'a> WholeNumbers<'a> {
    /// Puts the numbers that a row's whole ones stand for in place of their bits.
    #[inline(always)]
    pub(crate) fn decode<const COLUMNS: usize>(self) -> impl Fn(usize, &mut [f32; COLUMNS]) + 'a {
        let scales: [f32; COLUMNS] = math::first(self.scales);
        let sums: [i32; COLUMNS] = math::first(self.sums);
        move |row, y| {
            let RowScale { scale, zero } = self.rows[row];
            for i in 0..COLUMNS {
                // Sums that were read from a file may be any.
                let whole = y[i].to_bits().cast_signed().wrapping_sub(zero.wrapping_mul(sums[i]));
                y[i] = whole as f32 * (scale * scales[i]);
            }
        }
    }
}

impl Matrix {
    /// `weight` is `[n, k]`; `k` at most [`MOST_INPUTS`].
    pub(crate) fn new(isa: Isa, weight: &[f32], n: usize, k: usize) -> Matrix {
        let columns = isa.tile().columns;
        let (whole, words) = (n.next_multiple_of(columns), words(isa, k));
        let (mut scales, mut sums) = (vec![0.0; whole], vec![0; whole]);
        let mut panels = vec![0; whole * words];
        for (column, weight) in weight.chunks_exact(k).enumerate() {
            let most = weight.iter().fold(0.0, |most: f32, w| most.max(w.abs()));
            let scale = if most > 0.0 { most / 127.0 } else { 1.0 };
            scales[column] = scale + math::extent(weight).2;
            let panel = &mut panels[column / columns * columns * words..][..columns * words];
            for (at, w) in weight.iter().enumerate() {
                let q = (w / scale).round_ties_even() as i8;
                sums[column] += i32::from(q);
                let (at, bits) = if isa.has_int8() {
                    (at / 4, u32::from(q.cast_unsigned()) << (at % 4 * 8))
                } else {
                    (at, f32::from(q).to_bits())
                };
                panel[at * columns + column % columns] |= bits;
            }
        }
        panels.extend_from_slice(bytemuck::cast_slice(&scales));
        panels.extend_from_slice(bytemuck::cast_slice(&sums));
        Matrix { isa, k, whole, words: panels.into() }
    }

    /// The matrix of [`Matrix::words`]; `None` where there are more or fewer than it has.
    pub(crate) fn restore(isa: Isa, words: Shared<u32>, n: usize, k: usize) -> Option<Matrix> {
        let whole = n.checked_next_multiple_of(isa.tile().columns)?;
        let all = whole.checked_mul(self::words(isa, k) + 2)?;
        (all == words.len()).then_some(Matrix { isa, k, whole, words })
    }

    /// All that it is made of.
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    /// The rows `top..top + height` times a panel into `tile`, whose rows follow each other, as whole
    /// numbers' bits.
    pub(crate) fn multiply<'a>(
        &'a self,
        a: &'a Rows,
        (top, height): (usize, usize),
        panel: usize,
        tile: &mut [f32],
    ) -> WholeNumbers<'a> {
        let columns = self.isa.tile().columns;
        let panel_words = columns * words(self.isa, self.k);
        let from = panel * columns;
        let (scales, sums) = {
            let columns_begin = self.whole * words(self.isa, self.k);
            self.words[columns_begin..].split_at(self.whole)
        };
        let words = &self.words[panel * panel_words..][..panel_words];
        self.whole_numbers(a, (top, height), words, bytemuck::cast_slice_mut(tile));
        WholeNumbers {
            rows: &a.scales[top..][..height],
            scales: bytemuck::cast_slice(&scales[from..][..columns]),
            sums: bytemuck::cast_slice(&sums[from..][..columns]),
        }
    }

    fn whole_numbers(
        &self,
        a: &Rows,
        (top, height): (usize, usize),
        panel: &[u32],
        out: &mut [i32],
    ) {
        let Tile { rows, columns } = self.isa.tile();
        let (words, a_stride) = (&a.words[top * a.stride..], a.stride);
        if self.isa.has_int8() {
            let out = &mut Whole { sums: out, stride: columns };
            let operands = Operands { rows: height, a: words, a_stride, panel, out };
            return self.isa.multiply_int8(operands);
        }
        for (top, height) in tiles(height, rows) {
            let (words, out) = (&words[top * a_stride..], &mut out[top * columns..]);
            self.widened(words, a_stride, height, panel, &mut out[..height * columns]);
        }
    }

    /// The rows of a tile times a panel, both f32 that hold whole numbers.
    fn widened(
        &self,
        words: &[u32],
        a_stride: usize,
        height: usize,
        panel: &[u32],
        out: &mut [i32],
    ) {
        let columns = self.isa.tile().columns;
        out.fill(0);
        let mut part = [0.0; TILE_ROWS_MAX * TILE_COLUMNS_MAX];
        for (run, panel) in panel.chunks(EXACT_IN_F32 * columns).enumerate() {
            let a = bytemuck::cast_slice(&words[run * EXACT_IN_F32..]);
            let part = &mut part[..height * columns];
            self.isa.multiply(height, a, a_stride, bytemuck::cast_slice(panel), part, columns);
            out.iter_mut().zip(part).for_each(|(out, part)| *out += *part as i32);
        }
    }
}
