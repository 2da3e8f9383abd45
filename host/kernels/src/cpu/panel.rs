//! Tiles of f32 rows times panels that keep their numbers as they are stored: f32, f16 or bf16, each
//! made an f32 in registers.
//!
//! Each element of the result is one chain of multiply-adds over k from 0 upwards, which may go on
//! where another tile's ended: whatever the tile's height, a row's result is the same bits.

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::Isa;

/// Elements of a panel's row.
pub(crate) const PANEL: usize = 32;
/// The tallest tile, in rows.
pub(crate) const PANEL_ROWS: usize = 12;

/// A number as it is stored.
pub(crate) trait Stored: Pod + Send + Sync {
    /// As f32, which is exact.
    fn widen(self) -> f32;
    /// The nearest number.
    fn nearest(x: f32) -> Self;
    /// The nearest numbers of as many.
    fn all_nearest(x: &[f32], numbers: &mut [Self]);
    /// Sixteen of them as f32.
    #[cfg(target_arch = "x86_64")]
    fn widen16(avx512: avx512::Here, x: &[Self; 16]) -> std::arch::x86_64::__m512;
}

/// A tile's operands. `a`: `rows` (1 to [`PANEL_ROWS`]) rows of `k` numbers, `a_stride` apart;
/// `panel`: `[k, 32]`; `out`: rows of 32 elements, `out_stride` apart, which the product is added to
/// where `add` says so. What is multiplied `next` is fetched meanwhile, a line at a time: the processor
/// sees by itself where it is read on, but not beyond a page of the system's.
pub(crate) struct Operands<'a, T> {
    pub(crate) rows: usize,
    pub(crate) a: &'a [f32],
    pub(crate) a_stride: usize,
    pub(crate) panel: &'a [T],
    pub(crate) next: &'a [T],
    pub(crate) out: &'a mut [f32],
    pub(crate) out_stride: usize,
    pub(crate) add: bool,
}

/// Has the processor fetch the line of memory that this lies in, for later.
#[inline(always)]
pub(crate) fn fetch<T>(place: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has it, and it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    let _ = place;
}

impl Isa {
    /// `out = a * panel`, or `out += a * panel`.
    ///
    /// # Panics
    /// When a slice is too short for these numbers, which no input can bring about.
    #[inline]
    pub(crate) fn multiply_stored<T: Stored>(self, operands: Operands<T>) {
        #[cfg(target_arch = "x86_64")]
        if self.has_avx512() {
            // SAFETY: `has_avx512` is true only where the machine was found to have AVX-512F.
            return unsafe { avx512::multiply(operands) };
        }
        self.each(
            #[inline(always)]
            || portable(operands),
        );
    }
}

#[inline(always)]
fn portable<T: Stored>(operands: Operands<T>) {
    let Operands { rows, a, a_stride, panel, out, out_stride, add, .. } = operands;
    let (panel, _) = panel.as_chunks::<PANEL>();
    for row in 0..rows {
        let a = &a[row * a_stride..][..panel.len()];
        let out = &mut out[row * out_stride..][..PANEL];
        let mut sums = [0.0; PANEL];
        if add {
            sums.copy_from_slice(out);
        }
        for (&a, numbers) in a.iter().zip(panel) {
            for lane in 0..PANEL {
                sums[lane] += a * numbers[lane].widen();
            }
        }
        out.copy_from_slice(&sums);
    }
}

impl Stored for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn nearest(x: f32) -> f32 {
        x
    }

    fn all_nearest(x: &[f32], numbers: &mut [f32]) {
        numbers.copy_from_slice(x);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn widen16(_: avx512::Here, x: &[f32; 16]) -> std::arch::x86_64::__m512 {
        // SAFETY: sixteen f32 are a vector's 64 bytes; unaligned loads are allowed.
        unsafe { x.as_ptr().cast::<std::arch::x86_64::__m512>().read_unaligned() }
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn nearest(x: f32) -> f16 {
        f16::from_f32(x)
    }

    fn all_nearest(x: &[f32], numbers: &mut [f16]) {
        numbers.convert_from_f32_slice(x);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn widen16(here: avx512::Here, x: &[f16; 16]) -> std::arch::x86_64::__m512 {
        here.halves(x)
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn nearest(x: f32) -> bf16 {
        bf16::from_f32(x)
    }

    fn all_nearest(x: &[f32], numbers: &mut [bf16]) {
        numbers.convert_from_f32_slice(x);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn widen16(here: avx512::Here, x: &[bf16; 16]) -> std::arch::x86_64::__m512 {
        here.upper_halves(x)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512 {
    use std::arch::x86_64::*;

    use half::{bf16, f16};

    use super::{Operands, PANEL, Stored, fetch};

    /// Says that the code around it was compiled for AVX-512F and runs where there is that.
    #[derive(Clone, Copy)]
    pub(crate) struct Here(());

    impl Here {
        #[inline(always)]
        pub(super) fn halves(self, x: &[f16; 16]) -> __m512 {
            // SAFETY: sixteen f16 are 32 bytes, and that the instruction is there, `self` says.
            unsafe { _mm512_cvtph_ps(x.as_ptr().cast::<__m256i>().read_unaligned()) }
        }

        #[inline(always)]
        pub(super) fn upper_halves(self, x: &[bf16; 16]) -> __m512 {
            // SAFETY: sixteen bf16 are 32 bytes, and that the instructions are there, `self` says.
            unsafe {
                let wide = _mm512_cvtepu16_epi32(x.as_ptr().cast::<__m256i>().read_unaligned());
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn multiply<T: Stored>(operands: Operands<T>) {
        match operands.rows {
            1 => tile::<T, 1>(operands),
            2 => tile::<T, 2>(operands),
            3 => tile::<T, 3>(operands),
            4 => tile::<T, 4>(operands),
            5 => tile::<T, 5>(operands),
            6 => tile::<T, 6>(operands),
            7 => tile::<T, 7>(operands),
            8 => tile::<T, 8>(operands),
            9 => tile::<T, 9>(operands),
            10 => tile::<T, 10>(operands),
            11 => tile::<T, 11>(operands),
            12 => tile::<T, 12>(operands),
            rows => unreachable!("a tile of {rows} rows"),
        }
    }

    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops unroll; iterators spill the sums"
    )]
    #[target_feature(enable = "avx512f")]
    fn tile<T: Stored, const ROWS: usize>(operands: Operands<T>) {
        let Operands { a, a_stride, panel, next, out, out_stride, add, .. } = operands;
        let next = if next.len() < panel.len() { panel } else { next };
        let ((panel, _), (next, _)) = (panel.as_chunks::<PANEL>(), next.as_chunks::<PANEL>());
        // Both are checked once, here; see `tile.rs`.
        let fits = |stride: usize, row: usize, length: usize| {
            let last = stride.checked_mul(ROWS - 1);
            last.and_then(|start| start.checked_add(row)).is_some_and(|end| end <= length)
        };
        assert!(panel.is_empty() || fits(a_stride, panel.len(), a.len()));
        assert!(fits(out_stride, PANEL, out.len()));
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        let out = out.as_mut_ptr();
        if add {
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row < ROWS, so the second assertion covers the 32 elements from here.
                *sums = unsafe { out.add(row * out_stride).cast::<[__m512; 2]>().read_unaligned() };
            }
        }
        for (at, (numbers, next)) in panel.iter().zip(next).enumerate() {
            let (halves, _) = numbers.as_chunks::<16>();
            fetch(next);
            let b = [T::widen16(Here(()), &halves[0]), T::widen16(Here(()), &halves[1])];
            for row in 0..ROWS {
                // SAFETY: row < ROWS and at < k, so the first assertion covers the index.
                let a = _mm512_set1_ps(unsafe { *a.get_unchecked(row * a_stride + at) });
                sums[row] = [
                    _mm512_fmadd_ps(a, b[0], sums[row][0]),
                    _mm512_fmadd_ps(a, b[1], sums[row][1]),
                ];
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            // SAFETY: as above.
            unsafe { out.add(row * out_stride).cast::<[__m512; 2]>().write_unaligned(*sums) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers, which every type holds and whose sums are exact.
    fn numbers(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 31 + seed) * 17 % 13) as f32 - 6.0).collect()
    }

    fn check<T: Stored>(isa: Isa) {
        for (rows, add) in (1..=PANEL_ROWS).flat_map(|rows| [(rows, false), (rows, true)]) {
            for k in [0, 1, 2, 7, 64] {
                let (a_stride, out_stride) = (k + 3, PANEL + 5);
                let (a, b) = (numbers(rows * a_stride, 1), numbers(k * PANEL, 2));
                let panel: Vec<T> = b.iter().map(|&x| T::nearest(x)).collect();
                let mut out = vec![7.0; (rows - 1) * out_stride + PANEL];
                let slice = &mut out[..];
                let panel = &panel[..];
                isa.multiply_stored(Operands {
                    rows,
                    a: &a,
                    a_stride,
                    panel,
                    next: &panel[..k / 2 * PANEL],
                    out: slice,
                    out_stride,
                    add,
                });
                for (at, &value) in out.iter().enumerate() {
                    let (row, column) = (at / out_stride, at % out_stride);
                    let product = |i: usize| a[row * a_stride + i] * b[i * PANEL + column];
                    let expected = match column < PANEL {
                        true => (0..k).map(product).sum::<f32>() + if add { 7.0 } else { 0.0 },
                        false => 7.0,
                    };
                    assert_eq!(value, expected, "{}, {rows} rows, {k}, {at}", isa.name());
                }
            }
        }
    }

    #[test]
    fn every_height_of_every_instruction_set_multiplies_what_is_stored() {
        for isa in Isa::available() {
            check::<f32>(isa);
            check::<f16>(isa);
            check::<bf16>(isa);
        }
    }
}
