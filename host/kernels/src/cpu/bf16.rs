//! Numbers of 8 significant bits in f32's range: the upper half of an f32.

use std::borrow::Cow;

use bytemuck::{Pod, Zeroable};

use super::Places;

/// A bf16 in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Bf16(u16);

/// What a kernel may keep between its steps: f32, or bf16 where nothing but products of bf16
/// follows, which rounds the same numbers earlier and moves half the bytes.
pub(crate) trait Number: Pod + Sync + Send {
    /// The bits of the nearest bf16 as an f32.
    fn rounded(self) -> u32;
    /// The nearest number.
    fn nearest(x: f32) -> Self;
    /// As f32, which is exact.
    fn widen(x: &[Self]) -> Cow<'_, [f32]>;
    /// The same places, as those of the type that they are of.
    fn places(x: &mut [Self]) -> Places<'_>;
}

impl Number for f32 {
    #[inline(always)]
    fn rounded(self) -> u32 {
        round(self)
    }

    #[inline(always)]
    fn nearest(x: f32) -> f32 {
        x
    }

    fn widen(x: &[f32]) -> Cow<'_, [f32]> {
        Cow::Borrowed(x)
    }

    fn places(x: &mut [f32]) -> Places<'_> {
        Places::F32(x)
    }
}

impl Number for Bf16 {
    #[inline(always)]
    fn rounded(self) -> u32 {
        u32::from(self.0) << 16
    }

    #[inline(always)]
    fn nearest(x: f32) -> Bf16 {
        Bf16((round(x) >> 16) as u16)
    }

    fn widen(x: &[Bf16]) -> Cow<'_, [f32]> {
        Cow::Owned(x.iter().map(|x| f32::from_bits(x.rounded())).collect())
    }

    fn places(x: &mut [Bf16]) -> Places<'_> {
        Places::Bf16(x)
    }
}

/// The bits of the nearest bf16 as an f32, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn round(x: f32) -> u32 {
    const UPPER: u32 = 0xffff_0000;
    let bits = x.to_bits();
    let quiet = bits | 0x0040_0000;
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    (if x.is_nan() { quiet } else { rounded }) & UPPER
}

/// Two numbers in a word, the first in its lower half.
#[inline(always)]
pub(crate) fn pair<T: Number>(first: T, second: T) -> u32 {
    first.rounded() >> 16 | second.rounded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_nearest_ties_to_even() {
        let one = 1f32.to_bits();
        // An eighth bit more is 0x1_0000; half of that is a tie.
        for (above, rounded) in [
            (0, 0),
            (0x7fff, 0),
            (0x8000, 0),
            (0x8001, 0x1_0000),
            (0x1_7fff, 0x1_0000),
            (0x1_8000, 0x2_0000),
        ] {
            assert_eq!(round(f32::from_bits(one + above)), one + rounded, "{above:x}");
            let negative = f32::from_bits((one + above) | (1 << 31));
            assert_eq!(round(negative), (one + rounded) | (1 << 31), "-{above:x}");
        }
        for same in [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, -1.5, 3.0e38_f32.next_bf16()] {
            assert_eq!(round(same), same.to_bits(), "{same}");
        }
        assert_eq!(round(f32::MAX), f32::INFINITY.to_bits());
        for nan in [f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)] {
            assert!(f32::from_bits(round(nan)).is_nan());
        }
    }

    trait Below {
        fn next_bf16(self) -> f32;
    }

    impl Below for f32 {
        fn next_bf16(self) -> f32 {
            f32::from_bits(self.to_bits() & 0xffff_0000)
        }
    }

    #[test]
    fn a_pair_has_the_first_number_below() {
        assert_eq!(pair(1.0, -2.0), 0xc000_3f80);
        assert_eq!(pair(Bf16::nearest(1.001), Bf16::nearest(-2.0)), 0xc000_3f80);
        assert_eq!(Bf16::widen(&[Bf16::nearest(1.001), Bf16(0xc000)])[..], [1.0, -2.0]);
    }
}
