//! Matrices of words turned, and rows of pairs put together with those below them.

use super::{Isa, PANEL};

impl Isa {
    /// `x` `[rows, columns]`, its rows `stride` apart, to `out` `[columns, width]`, zeros from `rows` on.
    ///
    /// # Panics
    /// When there are more rows than `width`, or a slice is too short.
    pub(crate) fn turn(
        self,
        (x, stride): (&[u32], usize),
        (rows, columns): (usize, usize),
        out: &mut [u32],
        width: usize,
    ) {
        assert!(rows <= width && columns.checked_mul(width).is_some_and(|all| all <= out.len()));
        let end = rows.saturating_sub(1).checked_mul(stride);
        let end = end.and_then(|last| last.checked_add(columns));
        assert!(rows == 0 || end.is_some_and(|end| end <= x.len()));
        #[cfg(target_arch = "x86_64")]
        if self.has_avx512() && width.is_multiple_of(avx512::SIDE) {
            for top in (0..width).step_by(avx512::SIDE) {
                for left in (0..columns).step_by(avx512::SIDE) {
                    let part = (rows.saturating_sub(top), columns - left);
                    let x = x.get(top * stride + left..).unwrap_or_default();
                    let out = &mut out[left * width + top..];
                    // SAFETY: `has_avx512` is true only where the machine was found to have AVX-512F. Of
                    // rows and columns from `top` and `left` on there are as many as asserted above.
                    unsafe { avx512::turn((x, stride), part, out, width) };
                }
            }
            return;
        }
        for (column, out) in out.chunks_exact_mut(width).take(columns).enumerate() {
            let (out, rest) = out.split_at_mut(rows);
            out.iter_mut().enumerate().for_each(|(row, word)| *word = x[row * stride + column]);
            rest.fill(0);
        }
    }

    /// `x` `[rows, columns]`, pairs of bf16 in rows of words that are `stride` apart, to panels of words
    /// `[rows / 2, 32]`: of a column a number and the one below it, the first in the lower half. There are
    /// zeros where there is no column or row.
    ///
    /// # Panics
    /// Where [`Isa::has_bf16`] is false, and when a slice is too short.
    pub(super) fn interleave(
        self,
        (x, stride): (&[u32], usize),
        (rows, columns): (usize, usize),
        panels: &mut [u32],
    ) {
        assert!(self.has_bf16());
        if rows == 0 || columns == 0 {
            return;
        }
        let panels = panels.chunks_exact_mut(rows.div_ceil(2) * PANEL);
        for (panel, left) in panels.zip((0..columns).step_by(PANEL)) {
            let words = (columns - left).min(PANEL).div_ceil(2);
            let part = |row: usize| &x[row * stride + left / 2..][..words];
            for (at, place) in panel.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                let below = if 2 * at + 1 < rows { part(2 * at + 1) } else { &[] };
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `has_bf16` is true only where the machine was found to have AVX-512's words too.
                unsafe {
                    avx512::interleave(part(2 * at), below, place)
                };
                #[cfg(not(target_arch = "x86_64"))]
                unreachable!("{:?}, {below:?}, {place:?}", part(2 * at));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    /// Words of a vector.
    pub(super) const SIDE: usize = 16;

    /// The numbers of a row and those below them, up to 16 words of both, or none.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn interleave(row: &[u32], below: &[u32], place: &mut [u32; 2 * SIDE]) {
        /// A word's lower halves of both rows, then the upper ones.
        const ORDER: [[u16; 32]; 2] = {
            let mut order = [[0; 32]; 2];
            let mut i = 0;
            while i < 64 {
                order[i / 32][i % 32] = (i / 2 + i % 2 * 32) as u16;
                i += 1;
            }
            order
        };
        // SAFETY: only the words of the masks are read; unaligned loads are allowed.
        let load = |x: &[u32]| unsafe {
            _mm512_maskz_loadu_epi32(((1u32 << x.len().min(SIDE)) - 1) as u16, x.as_ptr().cast())
        };
        let (row, below) = (load(row), load(below));
        for (place, order) in place.as_chunks_mut::<SIDE>().0.iter_mut().zip(&ORDER) {
            // SAFETY: both are a vector's 64 bytes; unaligned loads and stores are allowed.
            unsafe {
                let order = order.as_ptr().cast::<__m512i>().read_unaligned();
                let both = _mm512_permutex2var_epi16(row, order, below);
                place.as_mut_ptr().cast::<__m512i>().write_unaligned(both);
            }
        }
    }

    /// The first 16 rows and columns, or as many as there are.
    ///
    /// # Safety
    /// `x` has its rows and columns, as far as both are below 16, and `out` as many rows of 16 places.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn turn(
        (x, stride): (&[u32], usize),
        (rows, columns): (usize, usize),
        out: &mut [u32],
        width: usize,
    ) {
        let mask = (u32::MAX >> (32 - columns.min(SIDE))) as u16;
        let mut r = [_mm512_setzero_si512(); SIDE];
        for (row, r) in r.iter_mut().enumerate().take(rows) {
            // SAFETY: the row is there, and of its words only those of the mask are read.
            *r = unsafe { _mm512_maskz_loadu_epi32(mask, x.as_ptr().add(row * stride).cast()) };
        }
        // Fours of rows: `u[4 i + j]` has of the rows from 4 i on the columns j, 4 + j, 8 + j, 12 + j.
        let mut u = r;
        for (r, u) in r.as_chunks::<4>().0.iter().zip(u.as_chunks_mut::<4>().0) {
            let low = [_mm512_unpacklo_epi32(r[0], r[1]), _mm512_unpacklo_epi32(r[2], r[3])];
            let high = [_mm512_unpackhi_epi32(r[0], r[1]), _mm512_unpackhi_epi32(r[2], r[3])];
            *u = [
                _mm512_unpacklo_epi64(low[0], low[1]),
                _mm512_unpackhi_epi64(low[0], low[1]),
                _mm512_unpacklo_epi64(high[0], high[1]),
                _mm512_unpackhi_epi64(high[0], high[1]),
            ];
        }
        const EVEN: i32 = 0x88;
        const ODD: i32 = 0xdd;
        for j in 0..4 {
            let even = [
                _mm512_shuffle_i32x4::<EVEN>(u[j], u[4 + j]),
                _mm512_shuffle_i32x4::<EVEN>(u[8 + j], u[12 + j]),
            ];
            let odd = [
                _mm512_shuffle_i32x4::<ODD>(u[j], u[4 + j]),
                _mm512_shuffle_i32x4::<ODD>(u[8 + j], u[12 + j]),
            ];
            let turned = [
                _mm512_shuffle_i32x4::<EVEN>(even[0], even[1]),
                _mm512_shuffle_i32x4::<EVEN>(odd[0], odd[1]),
                _mm512_shuffle_i32x4::<ODD>(even[0], even[1]),
                _mm512_shuffle_i32x4::<ODD>(odd[0], odd[1]),
            ];
            for (column, turned) in (j..columns).step_by(4).zip(turned) {
                // SAFETY: the column is there, and `out` has 16 places for it.
                unsafe {
                    out.as_mut_ptr().add(column * width).cast::<__m512i>().write_unaligned(turned)
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_meet_those_below_them() {
        let isa = Isa::detect();
        if !isa.has_bf16() {
            return println!("skipped: no AVX-512 BF16");
        }
        for (rows, columns) in [(0usize, 32usize), (1, 32), (2, 64), (5, 5), (8, 40), (7, 33)] {
            let stride = columns.div_ceil(2) + 3;
            let number = |row: usize, column: usize| match row < rows && column < columns {
                true => (1 + row * 100 + column) as u32,
                false => 0,
            };
            let word = |at: usize| {
                let (row, column) = (at / stride, at % stride * 2);
                number(row, column) | number(row, column + 1) << 16
            };
            let x: Vec<u32> = (0..rows * stride).map(word).collect();
            let size = rows.div_ceil(2) * 32;
            let mut panels = vec![7; columns.div_ceil(32) * size];
            isa.interleave((&x, stride), (rows, columns), &mut panels);
            for (at, word) in panels.iter().enumerate() {
                let (row, column) = (at % size / 32 * 2, at / size * 32 + at % 32);
                let expected = number(row, column) | number(row + 1, column) << 16;
                assert_eq!(*word, expected, "{rows} x {columns}: {row}, {column}");
            }
        }
    }

    #[test]
    fn every_word_goes_to_its_place() {
        for isa in Isa::available() {
            for width in [8, 16, 32] {
                for (rows, columns) in
                    [(0, 3), (1, 1), (3, 16), (width, 16), (width - 1, 33), (width, 48), (7, 0)]
                {
                    let (rows, stride): (usize, usize) = (width.min(rows), columns + 5);
                    let end = rows.saturating_sub(1) * stride + columns;
                    let x: Vec<u32> = (1..).take(end).collect();
                    let mut out = vec![u32::MAX; columns * width + 3];
                    isa.turn((&x, stride), (rows, columns), &mut out, width);
                    let (turned, beyond) = out.split_at(columns * width);
                    for (at, &word) in turned.iter().enumerate() {
                        let (column, row) = (at / width, at % width);
                        let expected = if row < rows { x[row * stride + column] } else { 0 };
                        assert_eq!(word, expected, "{}: {row}, {column}", isa.name());
                    }
                    assert_eq!(beyond, [u32::MAX; 3], "{}", isa.name());
                }
            }
        }
    }
}
