//! Products in wasm.

use std::arch::wasm32::*;

use super::{Codes, Factors};

/// Four rows at a time: what they are multiplied by is loaded once for all of them, for in wasm
/// loads are what there are most of.
pub(super) fn dots(query: &[Factors], codes: &[Codes], rows: &[u32], dots: &mut [i32]) {
    let row = |row: u32| &codes[row as usize * query.len()..][..query.len()];
    let (fours, rest) = rows.as_chunks::<4>();
    let (dots, dots_of_rest) = dots.split_at_mut(4 * fours.len());
    for (rows, dots) in fours.iter().zip(dots.as_chunks_mut().0) {
        *dots = products(query, rows.map(row));
    }
    for (&number, dot) in rest.iter().zip(dots_of_rest) {
        [*dot] = products(query, [row(number)]);
    }
}

#[inline(always)]
fn products<const N: usize>(query: &[Factors], rows: [&[Codes]; N]) -> [i32; N] {
    let (sixes, blocks) = query.as_chunks();
    let rows = rows.map(<[Codes]>::as_chunks);
    let mut sums = [i32x4_splat(0); N];
    for (i, six) in sixes.iter().enumerate() {
        add_six(&mut sums, six, rows.map(|(sixes, _)| &sixes[i]));
    }
    for (i, block) in blocks.iter().enumerate() {
        add_block(&mut sums, block, rows.map(|(_, blocks)| &blocks[i]));
    }
    sums.map(sum_of)
}

/// Adds the products of six blocks of each row, 384 codes, to its sums. On its own and without a loop,
/// for what lives in a loop of wasm is kept in memory: the loop may be interrupted at every turn.
#[inline(never)]
fn add_six<const N: usize>(sums: &mut [v128; N], query: &[Factors; 6], rows: [&[Codes; 6]; N]) {
    let [a, b, c, d, e, f] = query;
    add_block(sums, a, rows.map(|row| &row[0]));
    add_block(sums, b, rows.map(|row| &row[1]));
    add_block(sums, c, rows.map(|row| &row[2]));
    add_block(sums, d, rows.map(|row| &row[3]));
    add_block(sums, e, rows.map(|row| &row[4]));
    add_block(sums, f, rows.map(|row| &row[5]));
}

/// Adds the products of a block of each row to its sums, a quarter of it at a time. Wasm's compilers
/// load all that is there before they multiply any of it; that sums have to be written after each
/// quarter keeps them from having more in hand than there are registers.
#[inline(always)]
fn add_block<const N: usize>(sums: &mut [v128; N], query: &Factors, rows: [&Codes; N]) {
    let mut now = *sums;
    for quarter in 0..4 {
        let query = query.as_ptr().cast::<v128>();
        // SAFETY: a block is eight vectors of 8 factors.
        let (low, high) =
            unsafe { (v128_load(query.add(2 * quarter)), v128_load(query.add(2 * quarter + 1))) };
        for ((now, sum), codes) in now.iter_mut().zip(&mut *sums).zip(rows) {
            // SAFETY: and of 8 codes.
            let (one, other) = unsafe {
                let codes = codes.0.as_ptr().add(16 * quarter);
                (i16x8_load_extend_i8x8(codes), i16x8_load_extend_i8x8(codes.add(8)))
            };
            let products = i32x4_add(i32x4_dot_i16x8(one, low), i32x4_dot_i16x8(other, high));
            *now = i32x4_add(*now, products);
            // SAFETY: a reference can be written to.
            unsafe { std::ptr::from_mut(sum).write_volatile(*now) };
        }
    }
}

#[inline(always)]
fn sum_of(sums: v128) -> i32 {
    let sums = i32x4_add(sums, i32x4_shuffle::<2, 3, 0, 1>(sums, sums));
    i32x4_extract_lane::<0>(sums) + i32x4_extract_lane::<1>(sums)
}

/// Reads from every cache line of `rows`, of `blocks` codes each, and their `units`. Wasm has no
/// prefetch: loads that wait for memory wait side by side here, and one row after another between the
/// multiplications. The fewer instructions lie between them, the more wait together: six lines, a row of
/// 384 codes, are read without a branch.
#[inline(never)]
pub(crate) fn touch(blocks: usize, codes: &[Codes], units: &[f32], rows: &[u32]) {
    let head = |codes: &Codes| {
        let [a, b, c, d, e, f, g, h, ..] = codes.0.map(i8::cast_unsigned);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    let mut seen = 0;
    for &row in rows {
        seen ^= u64::from(units[row as usize].to_bits());
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
