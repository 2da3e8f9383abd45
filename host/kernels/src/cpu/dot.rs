//! Tiles of narrow numbers, by AVX-512's dot products: the inner loops of bf16 and int8.
//!
//! As in [`super::tile`], but a word of 32 bits holds two bf16 or four 8-bit numbers that follow
//! each other in k, and an instruction multiplies and adds all of a word. Each element of the
//! result is one chain over the words of k: whatever the tile's height, a row's result is the
//! same bits, and in whole numbers the sum itself.

use super::{Bf16, Finish, Isa};

/// A product's operands. `a`: [`Operands::rows`] rows of words, `a_stride` apart; `panel`: words
/// `[k, 32]`; `out`: where the rows of 32 elements go, by reference, as a copy of what was just written
/// would wait for that.
pub(super) struct Operands<'a, O> {
    pub(super) rows: usize,
    pub(super) a: &'a [u32],
    pub(super) a_stride: usize,
    pub(super) panel: &'a [u32],
    pub(super) out: &'a mut O,
}

/// Places of whole numbers, whose rows are `stride` apart.
pub(super) struct Whole<'a> {
    pub(super) sums: &'a mut [i32],
    pub(super) stride: usize,
}

impl Isa {
    /// `out = a * panel` of pairs of bf16, summed in f32, finished. Inputs and sums below 1.2e-38 count as 0.
    ///
    /// # Panics
    /// Where [`Isa::has_bf16`] is false, and when a slice is too short.
    #[inline]
    pub(super) fn multiply_bf16(self, operands: Operands<Finish>) {
        assert!(self.has_bf16());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `has_bf16` is true only where the machine was found to have the instructions.
        unsafe {
            avx512::bf16(operands)
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = operands.refuse();
    }

    /// Rounds numbers to pairs of bf16, ties to even, as many as fill whole vectors of words, and
    /// says how many words those are. Numbers below 1.2e-38 count as 0.
    ///
    /// # Panics
    /// Where [`Isa::has_bf16`] is false.
    #[inline]
    pub(super) fn pair_up(self, x: &[f32], words: &mut [u32]) -> usize {
        assert!(self.has_bf16());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `has_bf16` is true only where the machine was found to have the instructions.
        return unsafe { avx512::pair_up(x, words) };
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("{} numbers, {} words", x.len(), words.len())
    }

    /// Rounds the rows of a tile, of 32 numbers each, to the beginnings of `out`'s, `stride` apart: ties to
    /// even, and numbers below 1.2e-38 count as 0. Rows that `out` has not are left out.
    ///
    /// # Panics
    /// Where [`Isa::has_bf16`] is false, and when a row of `out` is too short.
    #[inline]
    pub(crate) fn round_rows(self, rows: &[f32], out: &mut [Bf16], stride: usize) {
        assert!(self.has_bf16());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `has_bf16` is true only where the machine was found to have the instructions.
        unsafe {
            avx512::round_rows(rows, out, stride)
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("{} numbers, {} places, {stride}", rows.len(), out.len())
    }

    /// `out = a * panel` of quads, u8 in `a` and i8 in the panel, summed exactly in i32.
    ///
    /// # Panics
    /// Where [`Isa::has_int8`] is false, and when a slice is too short.
    #[inline]
    pub(super) fn multiply_int8(self, operands: Operands<Whole>) {
        assert!(self.has_int8());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `has_int8` is true only where the machine was found to have the instructions.
        unsafe {
            avx512::int8(operands)
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = operands.refuse();
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl<O> Operands<'_, O> {
    fn refuse(self) -> ! {
        let Operands { rows, a, a_stride, panel, .. } = self;
        unreachable!("{rows} rows, {} words, {a_stride}", a.len() + panel.len())
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    use std::arch::x86_64::*;

    use super::{Bf16, Finish, Operands, Whole};
    use crate::cpu::tiles;

    /// Elements across a tile: two vectors, as [`crate::cpu::tile`] has it.
    const COLUMNS: usize = 32;
    /// And its rows at most.
    const ROWS: usize = 12;

    /// `$name` cuts the rows into tiles and runs `$tile` of each, which is compiled for each height so that
    /// the sums stay in registers; `$dot` adds the products of two vectors of words to a vector of sums.
    macro_rules! tile {
        ($name:ident, $tile:ident, $features:literal, $out:ident, $dot:expr) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name(mut operands: Operands<$out>) {
                for (top, rows) in tiles(operands.rows, ROWS) {
                    match rows {
                        1 => $tile::<1>(&mut operands, top),
                        2 => $tile::<2>(&mut operands, top),
                        3 => $tile::<3>(&mut operands, top),
                        4 => $tile::<4>(&mut operands, top),
                        5 => $tile::<5>(&mut operands, top),
                        6 => $tile::<6>(&mut operands, top),
                        7 => $tile::<7>(&mut operands, top),
                        8 => $tile::<8>(&mut operands, top),
                        9 => $tile::<9>(&mut operands, top),
                        10 => $tile::<10>(&mut operands, top),
                        11 => $tile::<11>(&mut operands, top),
                        12 => $tile::<12>(&mut operands, top),
                        rows => unreachable!("a tile of {rows} rows"),
                    }
                }
            }

            #[target_feature(enable = $features)]
            fn $tile<const ROWS: usize>(operands: &mut Operands<$out>, top: usize) {
                let (a_stride, out) = (operands.a_stride, &mut *operands.out);
                let a = &operands.a[top * a_stride..];
                let (panel, _) = operands.panel.as_chunks::<COLUMNS>();
                // Checked once, here; see `tile.rs`.
                assert!(panel.is_empty() || fits::<ROWS>(a_stride, panel.len(), a.len()));
                out.fetch(top, ROWS);
                let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
                for (at, b) in panel.iter().enumerate() {
                    let b = b.as_ptr().cast::<__m512i>();
                    // SAFETY: a panel's row is two vectors of 16 words.
                    let b = unsafe { [b.read_unaligned(), b.add(1).read_unaligned()] };
                    for row in 0..ROWS {
                        // SAFETY: row < ROWS and at < k, so the assertion covers the index.
                        let a = unsafe { *a.get_unchecked(row * a_stride + at) };
                        let a = _mm512_set1_epi32(a.cast_signed());
                        sums[row] = [$dot(sums[row][0], a, b[0]), $dot(sums[row][1], a, b[1])];
                    }
                }
                out.store(top, sums);
            }
        };
    }

    /// Whether `length` elements have as many rows of `row` of them, `stride` apart.
    pub(in crate::cpu) fn fits<const ROWS: usize>(
        stride: usize,
        row: usize,
        length: usize,
    ) -> bool {
        let last = stride.checked_mul(ROWS - 1);
        last.and_then(|start| start.checked_add(row)).is_some_and(|end| end <= length)
    }

    impl Whole<'_> {
        /// Nothing else is read.
        fn fetch(&self, _top: usize, _rows: usize) {}

        #[inline]
        #[target_feature(enable = "avx512f")]
        fn store<const ROWS: usize>(&mut self, top: usize, sums: [[__m512i; 2]; ROWS]) {
            let out = &mut self.sums[top * self.stride..];
            assert!(fits::<ROWS>(self.stride, COLUMNS, out.len()));
            for (row, sums) in sums.iter().enumerate() {
                // SAFETY: row < ROWS, so the assertion covers the 32 elements from here.
                unsafe {
                    let out = out.as_mut_ptr().add(row * self.stride);
                    out.cast::<[__m512i; 2]>().write_unaligned(*sums);
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn pair_up(x: &[f32], words: &mut [u32]) -> usize {
        let places = words.as_chunks_mut::<16>().0.iter_mut();
        let mut count = 0;
        for (place, x) in places.zip(x.as_chunks::<32>().0) {
            let x = x.as_ptr().cast::<__m512>();
            // SAFETY: 32 numbers are two vectors of 16.
            let (low, high) = unsafe { (x.read_unaligned(), x.add(1).read_unaligned()) };
            let pairs = _mm512_cvtne2ps_pbh(high, low);
            // SAFETY: 16 words are a vector of 32 bf16, the first in the lowest half.
            unsafe { place.as_mut_ptr().cast::<__m512bh>().write_unaligned(pairs) };
            count += 16;
        }
        count
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn round_rows(rows: &[f32], out: &mut [Bf16], stride: usize) {
        let places = out.chunks_mut(stride);
        for (x, place) in rows.as_chunks::<COLUMNS>().0.iter().zip(places) {
            let place: &mut [Bf16; COLUMNS] = place.first_chunk_mut().expect("a tile's width");
            let x = x.as_ptr().cast::<__m512>();
            // SAFETY: 32 numbers are two vectors of 16, and 32 bf16 are one.
            unsafe {
                let both = _mm512_cvtne2ps_pbh(x.add(1).read_unaligned(), x.read_unaligned());
                place.as_mut_ptr().cast::<__m512bh>().write_unaligned(both);
            }
        }
    }

    tile!(bf16, bf16_tile, "avx512f,avx512bf16", Finish, |sums, a, b| {
        // SAFETY: vectors of the same size, of which every bit pattern is a value.
        let [a, b] = unsafe { std::mem::transmute::<[__m512i; 2], [__m512bh; 2]>([a, b]) };
        _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sums), a, b))
    });
    tile!(int8, int8_tile, "avx512f,avx512vnni", Whole, |sums, a, b| {
        _mm512_dpbusd_epi32(sums, a, b)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Number, bf16};

    /// Small whole numbers, so that sums are exact in f32 too.
    fn numbers(length: usize, seed: usize) -> Vec<i32> {
        (0..length).map(|i| ((i * 31 + seed) * 17 % 13) as i32 - 6).collect()
    }

    /// `per` numbers of k to a word, each `32 / per` bits wide.
    fn words(numbers: &[i32], per: usize, bits: impl Fn(i32) -> u32) -> Vec<u32> {
        let width = 32 / per;
        let word = |part: &[i32]| {
            part.iter().enumerate().map(|(i, &x)| bits(x) << (i * width)).fold(0, |a, b| a | b)
        };
        numbers.chunks(per).map(word).collect()
    }

    /// Every height times panels of some depths: `found(rows, a, a_stride, panel, out_stride)`
    /// has the tile's elements, `per` numbers to a word.
    fn check(
        per: usize,
        least: i32,
        bits: impl Fn(i32) -> u32,
        found: impl Fn(Operands<'_, ()>, usize, usize) -> Vec<f64>,
    ) {
        for rows in 1..=30 {
            for k in [0, 1, 2, 7, 64] {
                let (a_stride, out_stride) = (k + 3, 37);
                let a: Vec<i32> =
                    numbers(rows * a_stride * per, 1).iter().map(|x| *x.max(&least)).collect();
                // `[k, 32]` words.
                let panel = numbers(k * 32 * per, 2);
                let operands = Operands {
                    rows,
                    a: &words(&a, per, &bits),
                    a_stride,
                    panel: &words(&panel, per, &bits),
                    out: &mut (),
                };
                let out = found(operands, out_stride, (rows - 1) * out_stride + 32);
                for (at, &value) in out.iter().enumerate() {
                    let (row, column) = (at / out_stride, at % out_stride);
                    let product = |i: usize| {
                        let (word, part) = (i / per, i % per);
                        a[(row * a_stride + word) * per + part]
                            * panel[(word * 32 + column) * per + part]
                    };
                    let expected = if column < 32 { (0..k * per).map(product).sum() } else { -7 };
                    assert_eq!(value, f64::from(expected), "{rows} rows, {k} words, {at}");
                }
            }
        }
    }

    #[test]
    fn numbers_pair_up_as_they_do_one_by_one() {
        let isa = Isa::detect();
        if !isa.has_bf16() {
            return println!("skipped: no AVX-512 BF16");
        }
        for length in [0, 1, 31, 32, 33, 63, 64, 100, 384] {
            let mut x = crate::parity::numbers(length, 1);
            let odd = [f32::MAX, f32::INFINITY, f32::from_bits(0x3f80_8000), -0.0, 1e-30, -3e38];
            x.iter_mut().zip(odd).for_each(|(x, odd)| *x = odd);
            for space in [length / 2, length.div_ceil(2) + 3] {
                let mut words = vec![7; space];
                let count = isa.pair_up(&x, &mut words);
                assert_eq!(count, (length / 32).min(space / 16) * 16);
                let pairs = x.as_chunks::<2>().0.iter().map(|&[a, b]| bf16::pair(a, b));
                assert!(words[..count].iter().zip(pairs).all(|(word, pair)| *word == pair));
                assert!(words[count..].iter().all(|&word| word == 7), "wrote beyond");
            }
        }
        let mut words = [0; 16];
        isa.pair_up(&[f32::NAN; 32], &mut words);
        assert!(words.iter().all(|&word| f32::from_bits(word).is_nan()));
    }

    #[test]
    fn rows_are_rounded_as_their_numbers_are_one_by_one() {
        let isa = Isa::detect();
        if !isa.has_bf16() {
            return println!("skipped: no AVX-512 BF16");
        }
        for (rows, stride) in [(1, 32), (3, 32), (12, 40)] {
            let x = crate::parity::numbers(rows * 32, 1);
            let untouched = Bf16::nearest(7.0);
            let mut out = vec![untouched; (rows - 1) * stride + 32];
            isa.round_rows(&x, &mut out, stride);
            for (at, found) in out.into_iter().enumerate() {
                let (row, column) = (at / stride, at % stride);
                let rounded = x.get(row * 32 + column).map(|&x| Bf16::nearest(x));
                assert_eq!(found, rounded.filter(|_| column < 32).unwrap_or(untouched), "{at}");
            }
        }
    }

    #[test]
    fn every_height_multiplies_pairs_of_bf16() {
        let isa = Isa::detect();
        if !isa.has_bf16() {
            return println!("skipped: no AVX-512 BF16");
        }
        check(
            2,
            i32::MIN,
            |x| (x as f32).to_bits() >> 16,
            |Operands { rows, a, a_stride, panel, .. }, stride, length| {
                let mut sums = vec![-7.0; length];
                let out = &mut Finish::none(&mut sums, stride);
                isa.multiply_bf16(Operands { rows, a, a_stride, panel, out });
                sums.iter().map(|&x| f64::from(x)).collect()
            },
        );
    }

    #[test]
    fn every_height_multiplies_quads_of_whole_numbers() {
        let isa = Isa::detect();
        if !isa.has_int8() {
            return println!("skipped: no AVX-512 VNNI");
        }
        check(
            4,
            0,
            |x| u32::from(x as i8 as u8),
            |Operands { rows, a, a_stride, panel, .. }, stride, length| {
                let mut sums = vec![-7; length];
                let out = &mut Whole { sums: &mut sums, stride };
                isa.multiply_int8(Operands { rows, a, a_stride, panel, out });
                sums.iter().map(|&x| f64::from(x)).collect()
            },
        );
    }

    #[test]
    fn the_extremes_of_8_bits_do_not_saturate() {
        let isa = Isa::detect();
        if !isa.has_int8() {
            return println!("skipped: no AVX-512 VNNI");
        }
        let (a, panel) = ([u32::MAX; 384], [0x8080_8080; 384 * 32]);
        let mut sums = [0; 32];
        let out = &mut Whole { sums: &mut sums, stride: 32 };
        isa.multiply_int8(Operands { rows: 1, a: &a, a_stride: 384, panel: &panel, out });
        assert_eq!(sums, [255 * -128 * 4 * 384; 32]);
    }
}
