//! Tiles of quantised rows times panels of quantised blocks, whose sums are whole numbers.
//!
//! With rows in [`Steps`] `x ~ c r` and weights `w = d s (q - z) - e m` a run's part of the result is `c (d s (sum of q r - z sum of r) - e m sum of
//! r)`; the parts are added up run after run, in f32. Whole numbers are exact, so a row's result is
//! the same bits whatever the tile's height.

use half::f16;

use super::Isa;
use super::steps::{Rows, Steps};
use crate::block_linear::{COLUMNS, Format, LINE, Layout};

/// The tallest tile, in rows.
pub(crate) const BLOCK_TILE_ROWS: usize = 8;

impl Isa {
    /// `out = a * panel`: the rows `top..top + height`, at most [`BLOCK_TILE_ROWS`], times a panel of
    /// `format`; `out` is `[height, 32]`.
    ///
    /// # Panics
    /// When a slice is too short for these numbers, which no input can bring about.
    pub(crate) fn multiply_blocks(
        self,
        format: Format,
        a: &Steps,
        (top, height): (usize, usize),
        panel: &[u8],
        out: &mut [f32],
    ) {
        let (rows, k) = (a.rows(top), a.k);
        match format {
            Format::Q8_0 => self.block_tile::<Q8_0>(rows, height, k, panel, out),
            Format::Q4_0 => self.block_tile::<Q4_0>(rows, height, k, panel, out),
            Format::Q4K => self.block_tile::<Q4K>(rows, height, k, panel, out),
            Format::Q5K => self.block_tile::<Q5K>(rows, height, k, panel, out),
            Format::Q6K => self.block_tile::<Q6K>(rows, height, k, panel, out),
            Format::F32 | Format::F16 | Format::Bf16 => unreachable!("{format:?} has no blocks"),
        }
    }

    fn block_tile<B: Blocks>(
        self,
        a: Rows,
        height: usize,
        k: usize,
        panel: &[u8],
        out: &mut [f32],
    ) {
        // Every access below is within these.
        assert_eq!(panel.len(), k / B::NUMBERS * B::LAYOUT.block_bytes());
        assert!(k.is_multiple_of(B::NUMBERS) && out.len() >= height * COLUMNS);
        assert!(a.words.len() >= height * k / 4 && a.scales.len() >= height * k / 32);
        assert!(a.sums.len() >= height * k / 16);
        assert!(panel.as_ptr().addr().is_multiple_of(LINE));
        #[cfg(target_arch = "x86_64")]
        if self.has_int8() {
            // SAFETY: `has_int8` is true only where the machine was found to have the instructions,
            // and the lengths are those that were asserted.
            return unsafe { avx512::tile::<B>(a, height, k, panel, out) };
        }
        self.each(
            #[inline(always)]
            || {
                (0..height)
                    .for_each(|row| portable::<B>(a, row, k, panel, &mut out[row * COLUMNS..]))
            },
        );
    }
}

/// A format as the compiler knows it.
trait Blocks {
    const LAYOUT: Layout;
    /// Inputs of a block.
    const NUMBERS: usize = Self::LAYOUT.runs * Self::LAYOUT.run;
}

struct Q8_0;
struct Q4_0;
struct Q4K;
struct Q5K;
struct Q6K;

impl Blocks for Q8_0 {
    const LAYOUT: Layout = Layout::of(Format::Q8_0);
}
impl Blocks for Q4_0 {
    const LAYOUT: Layout = Layout::of(Format::Q4_0);
}
impl Blocks for Q4K {
    const LAYOUT: Layout = Layout::of(Format::Q4K);
}
impl Blocks for Q5K {
    const LAYOUT: Layout = Layout::of(Format::Q5K);
}
impl Blocks for Q6K {
    const LAYOUT: Layout = Layout::of(Format::Q6K);
}

/// One row, where there is no `vpdpbusd`.
#[inline(always)]
fn portable<B: Blocks>(a: Rows, row: usize, k: usize, panel: &[u8], out: &mut [f32]) {
    let layout = B::LAYOUT;
    let r: &[i8] = bytemuck::cast_slice(&a.words[row * k / 4..][..k / 4]);
    let (scales, sums) = (&a.scales[row * k / 32..], &a.sums[row * k / 16..]);
    let mut y = [0.0; COLUMNS];
    let mut first = 0;
    for block in panel.chunks_exact(layout.block_bytes()) {
        let (head, runs) = block.split_at(layout.head);
        let common = |at: usize, lane: usize| {
            let bytes = head.get((at * COLUMNS + lane) * 4..).and_then(|b| b.first_chunk());
            bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
        };
        for run in runs.chunks_exact(layout.run_bytes()) {
            let (scale, words) = run.split_at(LINE);
            let sum: i32 = sums[first / 16..(first + layout.run) / 16].iter().sum();
            let mut whole = [-layout.zero * sum; COLUMNS];
            for (i, codes) in words.as_chunks::<{ 4 * COLUMNS }>().0.iter().enumerate() {
                for (at, code) in codes.iter().enumerate() {
                    let input = first + 4 * i + at % 4;
                    if layout.nibbles {
                        whole[at / 4] += i32::from(code & 15) * i32::from(r[input])
                            + i32::from(code >> 4) * i32::from(r[input + 16]);
                    } else {
                        whole[at / 4] += i32::from(*code) * i32::from(r[input]);
                    }
                }
            }
            let c = scales[first / 32];
            for (lane, y) in y.iter_mut().enumerate() {
                if layout.head == 0 {
                    let d = f16::from_le_bytes([scale[2 * lane], scale[2 * lane + 1]]).to_f32();
                    *y += whole[lane] as f32 * (d * c);
                } else {
                    let d = common(0, lane) * f32::from(scale[lane].cast_signed());
                    let least = common(1, lane) * f32::from(scale[COLUMNS + lane]);
                    *y += whole[lane] as f32 * (d * c) - least * (sum as f32 * c);
                }
            }
            first += layout.run;
        }
    }
    out[..COLUMNS].copy_from_slice(&y);
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Blocks, COLUMNS, LINE, Rows};

    /// Bytes between what is multiplied and what is fetched.
    const AHEAD: usize = 8192;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) unsafe fn tile<B: Blocks>(
        a: Rows,
        height: usize,
        k: usize,
        panel: &[u8],
        out: &mut [f32],
    ) {
        // SAFETY: what the caller promises is what is asked for.
        unsafe {
            match height {
                1 => rows::<B, 1>(a, k, panel, out),
                2 => rows::<B, 2>(a, k, panel, out),
                3 => rows::<B, 3>(a, k, panel, out),
                4 => rows::<B, 4>(a, k, panel, out),
                5 => rows::<B, 5>(a, k, panel, out),
                6 => rows::<B, 6>(a, k, panel, out),
                7 => rows::<B, 7>(a, k, panel, out),
                8 => rows::<B, 8>(a, k, panel, out),
                rows => unreachable!("a tile of {rows} rows"),
            }
        }
    }

    /// # Safety
    /// `panel` must be whole blocks of `k` inputs, and `a` and `out` of `ROWS` rows.
    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops unroll; iterators spill the sums"
    )]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn rows<B: Blocks, const ROWS: usize>(a: Rows, k: usize, panel: &[u8], out: &mut [f32]) {
        let layout = B::LAYOUT;
        let mut y = [[_mm512_setzero_ps(); 2]; ROWS];
        let mut at = panel.as_ptr();
        let mut first = 0;
        // SAFETY: `at` walks through the panel block by block and run by run, as many as make up k
        // inputs; of the rows, `first` stays below k, and a run lies within its block of 32.
        unsafe {
            while first < k {
                let head = at;
                at = at.add(layout.head);
                for _ in 0..layout.runs {
                    let mut whole = [[_mm512_setzero_si512(); 2]; ROWS];
                    let mut sums = [0; ROWS];
                    for row in 0..ROWS {
                        let place = row * (k / 16) + first / 16;
                        sums[row] = *a.sums.get_unchecked(place);
                        if layout.run == 32 {
                            sums[row] += *a.sums.get_unchecked(place + 1);
                        }
                        whole[row] = [_mm512_set1_epi32(-layout.zero * sums[row]); 2];
                    }
                    let words = at.add(LINE).cast::<__m512i>();
                    let x = |row: usize, word: usize| {
                        let word = *a.words.get_unchecked(row * (k / 4) + first / 4 + word);
                        _mm512_set1_epi32(word.cast_signed())
                    };
                    if layout.nibbles {
                        let low = _mm512_set1_epi8(15);
                        for word in 0..layout.run / 8 {
                            let both = [*words.add(2 * word), *words.add(2 * word + 1)];
                            let one =
                                [_mm512_and_si512(both[0], low), _mm512_and_si512(both[1], low)];
                            let upper =
                                [_mm512_srli_epi16::<4>(both[0]), _mm512_srli_epi16::<4>(both[1])];
                            let other =
                                [_mm512_and_si512(upper[0], low), _mm512_and_si512(upper[1], low)];
                            for row in 0..ROWS {
                                add(&mut whole[row], one, x(row, word));
                                add(&mut whole[row], other, x(row, layout.run / 8 + word));
                            }
                        }
                    } else {
                        for word in 0..layout.run / 4 {
                            let both = [*words.add(2 * word), *words.add(2 * word + 1)];
                            for row in 0..ROWS {
                                add(&mut whole[row], both, x(row, word));
                            }
                        }
                    }
                    for half in 0..2 {
                        let (d, e) = scales::<B>(head, at, half);
                        for row in 0..ROWS {
                            let c = *a.scales.get_unchecked(row * (k / 32) + first / 32);
                            let step = _mm512_mul_ps(d, _mm512_set1_ps(c));
                            let sum = _mm512_cvtepi32_ps(whole[row][half]);
                            y[row][half] = _mm512_fmadd_ps(sum, step, y[row][half]);
                            if let Some(e) = e {
                                let sum = _mm512_set1_ps(sums[row] as f32 * c);
                                y[row][half] = _mm512_fnmadd_ps(e, sum, y[row][half]);
                            }
                        }
                    }
                    for line in 0..layout.run_bytes() / LINE {
                        // Weights are read once a step, from memory: several rows of arithmetic on
                        // each hide from the processor what will be read next. May lie beyond them.
                        _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD + line * LINE).cast());
                    }
                    at = at.add(layout.run_bytes());
                    first += layout.run;
                }
            }
            for (row, y) in y.iter().enumerate() {
                out.as_mut_ptr().add(row * COLUMNS).cast::<[__m512; 2]>().write_unaligned(*y);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn add(sums: &mut [__m512i; 2], weights: [__m512i; 2], x: __m512i) {
        *sums = [
            _mm512_dpbusd_epi32(sums[0], weights[0], x),
            _mm512_dpbusd_epi32(sums[1], weights[1], x),
        ];
    }

    /// `d s` of sixteen columns, and `e m` where the format has it.
    ///
    /// # Safety
    /// `head` must point to a block, `run` to a run.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn scales<B: Blocks>(
        head: *const u8,
        run: *const u8,
        half: usize,
    ) -> (__m512, Option<__m512>) {
        // SAFETY: a run begins with 32 scales of 16 bits, or 32 of 8 bits and 32 minima; a block with
        // 32 f32, twice where there are minima.
        unsafe {
            if B::LAYOUT.head == 0 {
                return (_mm512_cvtph_ps(run.cast::<__m256i>().add(half).read_unaligned()), None);
            }
            let common = |at: usize| head.cast::<__m512>().add(2 * at + half).read_unaligned();
            let bytes = |at: usize| run.cast::<__m128i>().add(2 * at + half).read_unaligned();
            let s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes(0)));
            let d = _mm512_mul_ps(common(0), s);
            if B::LAYOUT.head == 4 * COLUMNS {
                return (d, None);
            }
            let m = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes(1)));
            (d, Some(_mm512_mul_ps(common(1), m)))
        }
    }
}
