//! Rows rounded to whole numbers: each 32 numbers `x` become `x ~ c r` with `r` in -127..=127, nearest.

use super::Isa;

/// Rows of `k` numbers in steps of their own, `k` a multiple of 32.
pub(crate) struct Steps {
    pub(super) k: usize,
    /// Four numbers of 8 bits each, `[rows, k / 4]`.
    words: Vec<u32>,
    /// The step of each 32, `[rows, k / 32]`.
    scales: Vec<f32>,
    /// The sum of each 16, `[rows, k / 16]`.
    sums: Vec<i32>,
}

impl Steps {
    /// Of `x` `[rows, k]`.
    pub(crate) fn of(isa: Isa, x: &[f32], k: usize) -> Steps {
        let (words, sums) = (vec![0; x.len() / 4], vec![0; x.len() / 16]);
        let mut all = Steps { k, words, scales: vec![0.0; x.len() / 32], sums };
        #[cfg(target_arch = "x86_64")]
        if isa.has_int8() {
            // SAFETY: `has_int8` is true only where the machine was found to have the instructions.
            all.fill(x, |x, r, sums| unsafe { avx512::steps(x, r, sums) });
            return all;
        }
        isa.each(
            #[inline(always)]
            || all.fill(x, steps),
        );
        all
    }

    #[inline(always)]
    fn fill(&mut self, x: &[f32], steps: impl Fn(&[f32; 32], &mut [i8; 32], &mut [i32; 2]) -> f32) {
        let places = self.words.as_chunks_mut::<8>().0.iter_mut();
        let places = places.zip(&mut self.scales).zip(self.sums.as_chunks_mut::<2>().0);
        for (x, ((words, scale), sums)) in x.as_chunks::<32>().0.iter().zip(places) {
            *scale = steps(x, bytemuck::cast_mut(words), sums);
        }
    }

    pub(super) fn rows(&self, top: usize) -> Rows<'_> {
        let Steps { k, words, scales, sums } = self;
        Rows {
            words: &words[top * k / 4..],
            scales: &scales[top * k / 32..],
            sums: &sums[top * k / 16..],
        }
    }
}

/// The size of a step of 32 numbers whose largest magnitude is `most`, and how many steps 1 is. An
/// infinity or NaN makes the step NaN.
#[inline(always)]
fn step(most: f32) -> (f32, f32) {
    let step = if most < f32::INFINITY { most / 127.0 } else { f32::NAN };
    (step, if step > 0.0 { 127.0 / most } else { 0.0 })
}

/// The size of a step of 32 numbers, how many steps each is, and the sums of both halves.
#[inline(always)]
fn steps(x: &[f32; 32], r: &mut [i8; 32], sums: &mut [i32; 2]) -> f32 {
    // 1.5 * 2^23: adding it leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // Without their signs, the bits of numbers are in the numbers' order, and NaN beyond infinity.
    let most = x.iter().fold(0, |most, x| most.max(x.abs().to_bits()));
    let (step, inverse) = step(f32::from_bits(most));
    for (r, x) in r.iter_mut().zip(x) {
        *r = (x * inverse + ROUND).to_bits() as i8;
    }
    let halves = r.as_chunks::<16>().0.iter().zip(sums);
    halves.for_each(|(half, sum)| *sum = half.iter().map(|&r| i32::from(r)).sum());
    step
}

/// Rows from one of them on.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) words: &'a [u32],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [i32],
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) fn steps(x: &[f32; 32], r: &mut [i8; 32], sums: &mut [i32; 2]) -> f32 {
        // SAFETY: sixteen f32 are a vector's 64 bytes; unaligned loads are allowed.
        let load = |half: &[f32; 16]| unsafe { half.as_ptr().cast::<__m512>().read_unaligned() };
        let x = x.as_chunks::<16>().0;
        let x = [load(&x[0]), load(&x[1])];
        let sizes = x.map(|x| _mm512_castps_si512(_mm512_abs_ps(x)));
        let most = _mm512_reduce_max_epu32(_mm512_max_epu32(sizes[0], sizes[1]));
        let (step, inverse) = super::step(f32::from_bits(most));
        let places = r.as_chunks_mut::<16>().0.iter_mut().zip(sums);
        for (x, (r, sum)) in x.into_iter().zip(places) {
            let whole = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)));
            let whole = _mm512_cvtepi32_epi8(whole);
            *sum = _mm512_reduce_add_epi32(_mm512_cvtepi8_epi32(whole));
            // SAFETY: sixteen bytes are half a vector's; unaligned stores are allowed.
            unsafe { r.as_mut_ptr().cast::<__m128i>().write_unaligned(whole) };
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rounded_to_the_nearest_step() {
        for isa in Isa::available() {
            let mut x: Vec<f32> = (0..64).map(|i| (i as f32 - 20.0) * 0.37).collect();
            x[5] = f32::NAN;
            let steps = Steps::of(isa, &x, 64);
            assert!(steps.scales[0].is_nan() && steps.scales[1].is_finite());
            let r: &[i8] = bytemuck::cast_slice(&steps.words);
            for (x, &r) in x[32..].iter().zip(&r[32..]) {
                assert!((x - f32::from(r) * steps.scales[1]).abs() <= 0.5001 * steps.scales[1]);
            }
            assert_eq!((r[63], steps.sums.len()), (127, 4));
            for (part, sum) in r.chunks(16).zip(&steps.sums) {
                assert_eq!(part.iter().map(|&r| i32::from(r)).sum::<i32>(), *sum);
            }
            assert_eq!(Steps::of(isa, &[0.0; 32], 32).scales, [0.0]);
            let other = Steps::of(Isa::available()[0], &x[32..], 32);
            assert_eq!(
                (r[32..].to_vec(), steps.sums[2..].to_vec()),
                (bytemuck::cast_slice(&other.words).to_vec(), other.sums)
            );
            x[7] = f32::INFINITY;
            x[5] = 0.0;
            assert!(Steps::of(isa, &x[..32], 32).scales[0].is_nan());
        }
    }
}
