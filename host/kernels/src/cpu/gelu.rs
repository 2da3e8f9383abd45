//! The activation function of BERT's feed-forward network, exact and rough.

use std::f32::consts::FRAC_1_SQRT_2;

use super::{Isa, exp};

/// x Phi(x), the exact GELU (Hendrycks & Gimpel 2016), within 1e-6 for every x up to 10.
///
/// Written as max(x, 0) - |x| erfc(|x| / sqrt 2) / 2: the second term is what is approximated
/// (Abramowitz & Stegun 7.1.26, 1.5e-7), and it vanishes where x is large.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let t = x.abs() * FRAC_1_SQRT_2;
    let k = 1.0 / (1.0 + 0.327_591_1 * t);
    let mut p = 1.061_405_4;
    p = p * k - 1.453_152;
    p = p * k + 1.421_413_8;
    p = p * k - 0.284_496_74;
    p = p * k + 0.254_829_6;
    let erfc = p * k * exp(-t * t);
    let positive = if x > 0.0 { x } else { 0.0 };
    positive - 0.5 * x.abs() * erfc
}

/// Segments of |x|, as many as a vector of f32 has lanes: a table of them is looked up in one instruction.
const SEGMENTS: usize = 16;
/// Where the last segment begins, in which Phi counts as 0 or 1.
const MOST: f32 = 4.2;
/// Segments in a unit. The nearest whole number to `SCALE |x|` is a segment's, so that the first is half as
/// wide as the others.
const SCALE: f32 = (SEGMENTS as f32 - 1.5) / MOST;
/// 1.5 * 2^23: adding it leaves the nearest whole number in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Of each segment the polynomial `a + b |x| + c x^2` of least largest error to `gelu(x) - x / 2`, which
/// is even.
const A: [f32; SEGMENTS] = [
    0.0,
    -0.001_132_032_6,
    -0.018_126_901,
    -0.076_058_45,
    -0.180_745_59,
    -0.304_016_77,
    -0.398_908_62,
    -0.429_927_83,
    -0.392_193_23,
    -0.308_993_07,
    -0.213_048_31,
    -0.129_786_28,
    -0.070_348_6,
    -0.034_109_544,
    -0.014_855_622,
    0.0,
];
const B: [f32; SEGMENTS] = [
    1.3792407e-4,
    0.012_141_147,
    0.087_861_14,
    0.246_982_66,
    0.454_093_87,
    0.644_627_87,
    0.765_207_6,
    0.799_195_77,
    0.764_950_6,
    0.697_456_54,
    0.627_603_35,
    0.572_680_65,
    0.536_854,
    0.516_747_65,
    0.506_852_87,
    0.5,
];
const C: [f32; SEGMENTS] = [
    0.396_704_14,
    0.365_080_86,
    0.280_064_28,
    0.170_445_08,
    0.067_837_976,
    -0.005_858_179_6,
    -0.044_184_845,
    -0.053_491_425,
    -0.045_720_78,
    -0.032_028_8,
    -0.019_311_672,
    -0.010_252_78,
    -0.004_853_284_5,
    -0.002_064_081,
    -7.9270185e-4,
    0.0,
];

/// [`gelu`] of each element within 1e-4, for results that are rounded to 8 bits. Of an infinity NaN.
#[inline(always)]
pub(crate) fn gelu_rough(isa: Isa, x: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    let x = match isa.has_avx512() {
        true => {
            let (vectors, rest) = x.as_chunks_mut();
            for x in vectors {
                // SAFETY: `has_avx512` is true only where the machine was found to have AVX-512F.
                unsafe { avx512::gelu_rough(x) };
            }
            rest
        }
        false => x,
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = isa;
    x.iter_mut().for_each(|x| *x = in_segment(*x));
}

#[inline(always)]
fn in_segment(x: f32) -> f32 {
    const LAST: f32 = ROUND + (SEGMENTS - 1) as f32;
    let t = x.abs();
    let at = t * SCALE + ROUND;
    let at = if at < LAST { at } else { LAST };
    let at = at.to_bits() as usize % SEGMENTS;
    ((C[at] * t + B[at]) * t + A[at]) + x * 0.5
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    use std::arch::x86_64::*;

    use super::{A, B, C, ROUND, SCALE, SEGMENTS};

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn gelu_rough(place: &mut [f32; SEGMENTS]) {
        // SAFETY: sixteen f32 are a vector's 64 bytes; unaligned loads and stores are allowed.
        unsafe {
            let place = place.as_mut_ptr().cast::<__m512>();
            place.write_unaligned(rough(place.read_unaligned()));
        }
    }

    /// [`super::in_segment`] of each, the same operations in the same order.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in crate::cpu) fn rough(x: __m512) -> __m512 {
        // SAFETY: each of the three is sixteen f32, a vector's 64 bytes; unaligned loads are allowed.
        let [a, b, c] =
            [&A, &B, &C].map(|x| unsafe { x.as_ptr().cast::<__m512>().read_unaligned() });
        let t = _mm512_abs_ps(x);
        let at = _mm512_mul_ps(t, _mm512_set1_ps(SCALE));
        let at = _mm512_add_ps(at, _mm512_set1_ps(ROUND));
        let at = _mm512_min_ps(at, _mm512_set1_ps(ROUND + (SEGMENTS - 1) as f32));
        let at = _mm512_castps_si512(at);
        let of = |table| _mm512_permutexvar_ps(at, table);
        let y = _mm512_add_ps(_mm512_mul_ps(of(c), t), of(b));
        let y = _mm512_add_ps(_mm512_mul_ps(y, t), of(a));
        _mm512_add_ps(y, _mm512_mul_ps(x, _mm512_set1_ps(0.5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_exact_to_a_millionth() {
        let mut worst = 0.0f64;
        for i in -2_000_000..=2_000_000 {
            let x = i as f32 * 5e-6;
            let exact = 0.5 * f64::from(x) * (1.0 + libm::erf(f64::from(x) / 2f64.sqrt()));
            worst = worst.max((f64::from(gelu(x)) - exact).abs());
        }
        assert!(worst < 1e-6, "{worst:e}");
        assert_eq!((gelu(1e30), gelu(-1e30), gelu(-0.0)), (1e30, 0.0, 0.0));
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn rough_gelu_is_exact_to_what_it_says_and_the_same_bits_everywhere() {
        let mut x: Vec<f32> = (-2_000_000..=2_000_000).map(|i| i as f32 * 5e-6).collect();
        x.extend([0.0, -0.0, 1e4, 1e30, -1e30, f32::NAN, f32::INFINITY]);
        for isa in Isa::available() {
            let mut y = x.clone();
            gelu_rough(isa, &mut y);
            for (&x, &y) in x.iter().zip(&y) {
                assert_eq!(y.to_bits(), in_segment(x).to_bits(), "{} {x}", isa.name());
            }
            let (inner, [zero, minus_zero, many, most, least, bad @ ..]) =
                y.split_last_chunk::<7>().unwrap();
            let worst = inner.iter().zip(&x).map(|(y, &x)| (y - gelu(x)).abs());
            let worst = worst.fold(0.0, f32::max);
            assert!(worst < 1e-4, "{worst:e}");
            assert_eq!([*zero, *minus_zero, *many, *most, *least], [0.0, 0.0, 1e4, 1e30, 0.0]);
            assert!(bad.iter().all(|y| y.is_nan()));
        }
    }
}
