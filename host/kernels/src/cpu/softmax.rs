//! Attention's weights of rows of scores, as pairs of bf16.

use super::Isa;

impl Isa {
    /// `2^(scale (x - most))` of each row's first `length` scores `x`, `most` being the largest, within 1.1e-4
    /// of itself, as pairs of bf16, ties to even; and one over each row's sum, before rounding. A row of
    /// `scores` has `stride` of them, a multiple of 32, one of `words` half as many, which are 0 beyond
    /// `length`. There are as many rows as `factors`.
    ///
    /// # Panics
    /// Where [`Isa::has_bf16`] is false, and when a slice is too short.
    pub(crate) fn weights(
        self,
        (scores, stride): (&[f32], usize),
        length: usize,
        scale: f32,
        words: &mut [u32],
        factors: &mut [f32],
    ) {
        assert!(self.has_bf16() && length <= stride && stride > 0 && stride.is_multiple_of(32));
        let all = factors.len().checked_mul(stride);
        assert!(all.is_some_and(|all| all <= scores.len() && all / 2 <= words.len()));
        #[cfg(target_arch = "x86_64")]
        for ((row, words), factor) in
            scores.chunks_exact(stride).zip(words.chunks_exact_mut(stride / 2)).zip(factors)
        {
            // SAFETY: `has_bf16` is true only where the machine was found to have the instructions.
            *factor = unsafe { avx512::weights(&row[..length], scale, words) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("{scale}, {words:?}");
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use crate::cpu::math::EXP2_ROUGH;

    /// Two vectors side by side.
    type Two = [__m512; 2];

    /// Of one row: `words` has `x.len().next_multiple_of(32) / 2` of them or more. Its factor.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn weights(x: &[f32], scale: f32, words: &mut [u32]) -> f32 {
        let (whole, tail) = x.as_chunks::<32>();
        let tail = load_tail(tail);
        let mut most = tail;
        for x in whole {
            let x = load(x);
            most = [_mm512_max_ps(most[0], x[0]), _mm512_max_ps(most[1], x[1])];
        }
        let most = _mm512_set1_ps(_mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1])));
        let scale = _mm512_set1_ps(scale);
        let mut sums = [_mm512_setzero_ps(); 2];
        let (places, _) = words.as_chunks_mut::<16>();
        for (x, place) in whole.iter().zip(&mut *places) {
            weigh(load(x), [most, scale], place, &mut sums);
        }
        if !x.len().is_multiple_of(32) {
            weigh(tail, [most, scale], &mut places[whole.len()], &mut sums);
        }
        1.0 / _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(x: &[f32; 32]) -> Two {
        // SAFETY: 32 numbers are two vectors; unaligned loads are allowed.
        unsafe { x.as_ptr().cast::<Two>().read_unaligned() }
    }

    /// Fewer than 32 numbers, and negative infinities.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load_tail(x: &[f32]) -> Two {
        let (mask, least) = ((1u32 << x.len()) - 1, _mm512_set1_ps(f32::NEG_INFINITY));
        // SAFETY: only the numbers of the masks are read, a bit a number.
        unsafe {
            let low = _mm512_mask_loadu_ps(least, mask as u16, x.as_ptr());
            let high = x.as_ptr().wrapping_add(16);
            [low, _mm512_mask_loadu_ps(least, (mask >> 16) as u16, high)]
        }
    }

    /// Puts weights in their place and adds them up.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn weigh(x: Two, [most, scale]: Two, place: &mut [u32; 16], sums: &mut Two) {
        let low = exp2(_mm512_mul_ps(_mm512_sub_ps(x[0], most), scale));
        let high = exp2(_mm512_mul_ps(_mm512_sub_ps(x[1], most), scale));
        *sums = [_mm512_add_ps(sums[0], low), _mm512_add_ps(sums[1], high)];
        // SAFETY: 16 words are a vector of 32 bf16, the first in the lowest half.
        unsafe {
            let both = _mm512_cvtne2ps_pbh(high, low);
            place.as_mut_ptr().cast::<__m512bh>().write_unaligned(both);
        }
    }

    /// As [`crate::cpu::exp2_rough`], by another way to the same polynomial.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn exp2(x: __m512) -> __m512 {
        let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        let r = _mm512_sub_ps(x, n);
        let [a, b, c, d] = EXP2_ROUGH;
        let p = _mm512_fmadd_ps(_mm512_set1_ps(a), r, _mm512_set1_ps(b));
        let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
        _mm512_scalef_ps(_mm512_fmadd_ps(p, r, _mm512_set1_ps(d)), n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Bf16, Number};

    /// One row's weights and factor.
    fn weights(x: &[f32], scale: f32) -> Option<(Vec<f32>, f32)> {
        let isa = Isa::detect();
        if !isa.has_bf16() {
            println!("skipped: no AVX-512 BF16");
            return None;
        }
        let stride = x.len().next_multiple_of(32) + 32;
        // What lies beyond a row must not be seen.
        let mut scores = vec![1e9; 2 * stride];
        scores[stride..][..x.len()].copy_from_slice(x);
        let (mut words, mut factors) = (vec![7; stride], [0.0; 2]);
        isa.weights((&scores, stride), x.len(), scale, &mut words, &mut factors);
        let numbers: &[Bf16] = bytemuck::cast_slice(&words[stride / 2..]);
        let (numbers, beyond) = numbers.split_at(x.len());
        let end = x.len().next_multiple_of(32) - x.len();
        assert!(beyond[..end].iter().all(|x| *x == Bf16::nearest(0.0)), "{}", x.len());
        Some((Bf16::widen(numbers).into_owned(), factors[1]))
    }

    #[test]
    fn weights_are_powers_of_the_distance_to_the_largest_score() {
        for length in [1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 100, 128, 257] {
            let x: Vec<f32> = crate::parity::numbers(length, 1).iter().map(|x| x * 40.0).collect();
            let Some((found, factor)) = weights(&x, 0.3) else { return };
            let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let exact = |x: &f32| (0.3f32 * (x - most)).exp2();
            for (found, x) in found.iter().zip(&x) {
                let error = (found / exact(x) - 1.0).abs();
                assert!(error < 1.0 / 256.0 + 1.2e-4, "{found} of {x}, {length} scores");
            }
            let sum: f32 = x.iter().map(exact).sum();
            assert!((factor * sum - 1.0).abs() < 1.2e-4, "{factor}, {sum}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_lost() {
        for bad in [f32::NAN, f32::INFINITY] {
            for at in [0, 20, 40, 49] {
                let mut x = vec![1.0; 50];
                x[at] = bad;
                let Some((_, factor)) = weights(&x, 1.0) else { return };
                assert!(factor.is_nan(), "{bad} at {at}");
            }
        }
        let Some((found, factor)) = weights(&[f32::NEG_INFINITY, 3.0, -1e30], 1.0) else { return };
        assert_eq!((&found[..], factor), (&[0.0, 1.0, 0.0][..], 1.0));
    }
}
