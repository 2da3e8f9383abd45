//! The inner loop of every matrix product here: a tile of the result held in registers.
//!
//! The right-hand matrix is packed into panels of as many columns as a tile is wide, so that the
//! loop reads it in order. Each element of the result is one chain of multiply-adds over k from 0
//! upwards: whatever the tile's height, a row's result is the same bits.

use std::any::TypeId;

use pulp::{Simd, WithSimd};

use super::Isa;
use super::isa::Portable;

/// The tallest tile of any instruction set, in rows.
pub(crate) const TILE_ROWS_MAX: usize = 12;
/// The widest tile of any instruction set, in columns.
pub(crate) const TILE_COLUMNS_MAX: usize = 32;

/// Vectors across a tile. Two suffice to hide the loads behind the multiply-adds.
const VECTORS: usize = 2;

/// How an instruction set's registers are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Rows that one call computes at most.
    pub(crate) rows: usize,
    /// Columns of a panel.
    pub(crate) columns: usize,
}

impl Isa {
    /// The tile of these instructions: 12 x 32 for AVX-512, 6 x 16 for AVX2.
    pub(crate) fn tile(self) -> Tile {
        struct Shape;
        impl WithSimd for Shape {
            type Output = Tile;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> Tile {
                Tile { rows: rows_of::<S>(), columns: VECTORS * S::F32_LANES }
            }
        }
        self.run(Shape)
    }

    /// `out = a * panel`: `rows` (1 to [`Tile::rows`]) rows of length `k`, `a_stride` apart,
    /// times a panel `[k, Tile::columns]`; the result's rows are `out_stride` apart.
    ///
    /// # Panics
    /// When a slice is too short for these numbers, which no input can bring about.
    #[inline]
    pub(crate) fn multiply(
        self,
        rows: usize,
        a: &[f32],
        a_stride: usize,
        panel: &[f32],
        out: &mut [f32],
        out_stride: usize,
    ) {
        self.run(Product { rows, a, a_stride, panel, out, out_stride });
    }
}

/// Cuts `rows` into tiles of at most `most`, as even as can be: a tile of one row would wait for
/// its multiply-adds. `(first, count)` of each.
pub(crate) fn tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let count = rows.div_ceil(most);
    (0..count).map(move |i| {
        let first = i * rows / count;
        (first, (i + 1) * rows / count - first)
    })
}

/// 24 accumulators where there are 32 registers, 12 where there are 16: what is left holds the
/// panel's vectors and the broadcast element.
const fn rows_of<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 12 } else { 6 }
}

/// `a b + c`, fused where the instructions have it and nowhere else: portably a fused operation
/// is a call of the mathematical library for each element.
#[inline(always)]
fn multiply_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<Portable>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_f32s(a, b, c)
    }
}

/// Arranges `b` given as columns (`column(j)` is a slice of length `k`, for `j < n`) into panels
/// `[n / columns, k, columns]`, the last one filled up with zeros.
pub(crate) fn pack_panels<'a>(
    columns: usize,
    n: usize,
    k: usize,
    column: impl Fn(usize) -> &'a [f32],
    panels: &mut [f32],
) {
    if k == 0 {
        return;
    }
    for (index, panel) in panels.chunks_exact_mut(k * columns).enumerate() {
        let first = index * columns;
        let filled = columns.min(n.saturating_sub(first));
        for lane in 0..filled {
            let values = &column(first + lane)[..k];
            for (row, &value) in panel.chunks_exact_mut(columns).zip(values) {
                row[lane] = value;
            }
        }
        for row in panel.chunks_exact_mut(columns) {
            row[filled..].fill(0.0);
        }
    }
}

struct Product<'a> {
    rows: usize,
    a: &'a [f32],
    a_stride: usize,
    panel: &'a [f32],
    out: &'a mut [f32],
    out_stride: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // A height is a compile-time constant so that the accumulators stay in registers.
        match self.rows {
            1 => self.compute::<S, 1>(simd),
            2 => self.compute::<S, 2>(simd),
            3 => self.compute::<S, 3>(simd),
            4 => self.compute::<S, 4>(simd),
            5 => self.compute::<S, 5>(simd),
            6 => self.compute::<S, 6>(simd),
            rows if rows > rows_of::<S>() => unreachable!("a tile of {rows} rows"),
            7 => self.compute::<S, 7>(simd),
            8 => self.compute::<S, 8>(simd),
            9 => self.compute::<S, 9>(simd),
            10 => self.compute::<S, 10>(simd),
            11 => self.compute::<S, 11>(simd),
            12 => self.compute::<S, 12>(simd),
            rows => unreachable!("a tile of {rows} rows"),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops unroll; iterators spill the sums"
    )]
    fn compute<S: Simd, const ROWS: usize>(self, simd: S) {
        let (panel, _) = S::as_simd_f32s(self.panel);
        let (panel, _) = panel.as_chunks::<VECTORS>();
        let (k, width) = (panel.len(), VECTORS * S::F32_LANES);
        // Both are checked once, here: a check within the loops would keep the compiler from
        // unrolling them, and the sums would then live in memory.
        let fits = |stride: usize, row: usize, length: usize| {
            let last = stride.checked_mul(ROWS - 1);
            last.and_then(|start| start.checked_add(row)).is_some_and(|end| end <= length)
        };
        assert!(k == 0 || fits(self.a_stride, k, self.a.len()));
        assert!(fits(self.out_stride, width, self.out.len()));
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        for (at, b) in panel.iter().enumerate() {
            for row in 0..ROWS {
                // SAFETY: row < ROWS and at < k, so the first assertion covers the index.
                let a = unsafe { *self.a.get_unchecked(row * self.a_stride + at) };
                let a = simd.splat_f32s(a);
                for vector in 0..VECTORS {
                    let sum = &mut sums[row][vector];
                    *sum = multiply_add(simd, a, b[vector], *sum);
                }
            }
        }
        let out = self.out.as_mut_ptr();
        for row in 0..ROWS {
            // SAFETY: row < ROWS, so the second assertion covers `width` elements from here, and
            // an array of vectors is plain values without padding.
            unsafe {
                out.add(row * self.out_stride)
                    .cast::<[S::f32s; VECTORS]>()
                    .write_unaligned(sums[row])
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers: every order of adding gives the same sum, so equality is exact.
    fn numbers(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 31 + seed) * 17 % 13) as f32 - 6.0).collect()
    }

    #[test]
    fn every_height_of_every_instruction_set_multiplies() {
        for isa in Isa::available() {
            let Tile { rows, columns } = isa.tile();
            assert!(rows <= TILE_ROWS_MAX && columns <= TILE_COLUMNS_MAX, "{}", isa.name());
            for rows in 1..=rows {
                for k in [0, 1, 2, 7, 64] {
                    let (a_stride, out_stride) = (k + 3, columns + 5);
                    let a = numbers(rows * a_stride, 1);
                    let panel = numbers(k * columns, 2);
                    let mut out = vec![f32::NAN; rows * out_stride];
                    isa.multiply(rows, &a, a_stride, &panel, &mut out, out_stride);
                    for (row, out) in out.chunks(out_stride).enumerate() {
                        for (column, &value) in out.iter().enumerate().take(columns) {
                            let at = |i| a[row * a_stride + i] * panel[i * columns + column];
                            assert_eq!(value, (0..k).map(at).sum::<f32>(), "{}", isa.name());
                        }
                        assert!(out[columns..].iter().all(|x| x.is_nan()), "wrote beyond the tile");
                    }
                }
            }
        }
    }

    #[test]
    fn tiles_cover_all_rows_evenly() {
        for most in [1, 6, 12] {
            for rows in 0..100 {
                let mut end = 0;
                for (first, count) in tiles(rows, most) {
                    assert_eq!(first, end);
                    assert!((1..=most).contains(&count));
                    assert!(count + 1 >= rows.div_ceil(rows.div_ceil(most)), "{rows} by {most}");
                    end += count;
                }
                assert_eq!(end, rows);
            }
        }
    }

    #[test]
    fn panels_hold_every_column_and_zeros() {
        let b = numbers(5 * 3, 0);
        let mut panels = vec![f32::NAN; 2 * 3 * 4];
        pack_panels(4, 5, 3, |j| &b[j * 3..][..3], &mut panels);
        for j in 0..8 {
            for i in 0..3 {
                let expected = if j < 5 { b[j * 3 + i] } else { 0.0 };
                assert_eq!(panels[(j / 4) * 12 + i * 4 + j % 4], expected);
            }
        }
    }
}
