//! Products in wasm.

use std::arch::wasm32::*;

use super::{Codes, Factors};

/// Four rows at a time: what they are multiplied by is loaded once for all of them, for in wasm
/// loads are what there are most of.
pub(super) fn dots(query: &[Factors], codes: &[Codes], rows: &[u32], dots: &mut [i32]) {
    touch(query.len(), codes, rows);
    let (fours, rest) = rows.as_chunks::<4>();
    let (dots, dots_of_rest) = dots.split_at_mut(4 * fours.len());
    for (rows, dots) in fours.iter().zip(dots.as_chunks_mut::<4>().0) {
        let [a, b, c, d] =
            rows.map(|row| codes[row as usize * query.len()..][..query.len()].iter());
        let mut sums = [i32x4_splat(0); 4];
        for ((((factors, a), b), c), d) in query.iter().zip(a).zip(b).zip(c).zip(d) {
            add_block(&mut sums, factors, [a, b, c, d]);
        }
        *dots = sums.map(sum_of);
    }
    for (&row, dot) in rest.iter().zip(dots_of_rest) {
        let row = &codes[row as usize * query.len()..][..query.len()];
        let mut sums = [i32x4_splat(0)];
        for (factors, codes) in query.iter().zip(row) {
            add_block(&mut sums, factors, [codes]);
        }
        *dot = sum_of(sums[0]);
    }
}

/// Adds the products of a block of each row to its sums.
#[inline(always)]
fn add_block<const N: usize>(sums: &mut [v128; N], factors: &Factors, rows: [&Codes; N]) {
    for eighth in 0..8 {
        // SAFETY: a block is eight vectors of 8 factors.
        let factors = unsafe { v128_load(factors.as_ptr().cast::<v128>().add(eighth)) };
        for (sum, codes) in sums.iter_mut().zip(rows) {
            // SAFETY: and of 8 codes.
            let codes = unsafe { i16x8_load_extend_i8x8(codes.0.as_ptr().add(8 * eighth)) };
            *sum = i32x4_add(*sum, i32x4_dot_i16x8(codes, factors));
        }
    }
}

#[inline(always)]
fn sum_of(sums: v128) -> i32 {
    let sums = i32x4_add(sums, i32x4_shuffle::<2, 3, 0, 1>(sums, sums));
    i32x4_extract_lane::<0>(sums) + i32x4_extract_lane::<1>(sums)
}

/// Reads from every cache line of `rows`. Wasm has no prefetch: loads that wait for memory wait
/// side by side here, and one row after another between the multiplications. The fewer instructions
/// lie between them, the more wait together: six lines, a row of 384 codes, are read without a
/// branch.
fn touch(blocks: usize, codes: &[Codes], rows: &[u32]) {
    let head = |codes: &Codes| {
        let [a, b, c, d, e, f, g, h, ..] = codes.0.map(i8::cast_unsigned);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    let mut seen = 0;
    for &row in rows {
        let (sixes, rest) = codes[row as usize * blocks..][..blocks].as_chunks::<6>();
        for [a, b, c, d, e, f] in sixes {
            seen ^= head(a) ^ head(b) ^ head(c) ^ head(d) ^ head(e) ^ head(f);
        }
        for codes in rest {
            seen ^= head(codes);
        }
    }
    std::hint::black_box(seen);
}
