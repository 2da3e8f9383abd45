//! Elementary functions and sums that the compiler can vectorise.
//!
//! Plain operations only, in one fixed order: every instruction set gives the same bits, and a
//! sum depends on nothing but its own row.

use std::f32::consts::LOG2_E;

/// Lanes of a sum; 16 fills the widest vectors in use and leaves narrower ones independent chains.
const LANES: usize = 16;

/// `fold` over 16 interleaved lanes, then over the lanes, then over the tail.
#[inline(always)]
fn reduce<const N: usize>(
    rows: [&[f32]; N],
    start: f32,
    fold: impl Fn(f32, [f32; N]) -> f32,
    join: impl Fn([f32; LANES]) -> f32,
) -> f32 {
    let length = rows[0].len();
    let whole = length / LANES * LANES;
    let mut lanes = [start; LANES];
    for at in 0..length / LANES {
        let blocks = rows.map(|row| &row.as_chunks::<LANES>().0[at]);
        for lane in 0..LANES {
            lanes[lane] = fold(lanes[lane], blocks.map(|block| block[lane]));
        }
    }
    let joined = join(lanes);
    (whole..length).fold(joined, |value, at| fold(value, rows.map(|row| row[at])))
}

/// One value of all lanes, half of them onto the other half until one is left: a chain of them all would
/// wait for each of its steps. A function of its own, lest the compiler keep the lanes apart from the
/// beginning.
#[inline(never)]
fn halve(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

/// The first elements of a row, and zeros where it has fewer.
#[inline(always)]
pub(crate) fn first<T: Copy + Default, const N: usize>(row: &[T]) -> [T; N] {
    row.first_chunk().copied().unwrap_or_else(|| {
        let mut first = [T::default(); N];
        first.iter_mut().zip(row).for_each(|(place, x)| *place = *x);
        first
    })
}

#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    reduce([x], 0.0, |sum, [x]| sum + x, |lanes| halve(lanes, |a, b| a + b))
}

#[inline(always)]
pub(crate) fn sum_of_squares(x: &[f32]) -> f32 {
    reduce([x], 0.0, |sum, [x]| sum + x * x, |lanes| halve(lanes, |a, b| a + b))
}

/// Puts `f(x)` in the place of each `x`, and adds those up as [`sum`] does.
#[inline(always)]
pub(crate) fn map_and_sum(x: &mut [f32], f: impl Fn(f32) -> f32) -> f32 {
    map_and_join(x, f, |lanes| halve(lanes, |a, b| a + b))
}

/// [`map_and_sum`], one lane after another.
#[inline(always)]
pub(crate) fn map_and_sum_in_order(x: &mut [f32], f: impl Fn(f32) -> f32) -> f32 {
    map_and_join(x, f, |lanes| lanes.iter().sum())
}

#[inline(always)]
fn map_and_join(x: &mut [f32], f: impl Fn(f32) -> f32, join: impl Fn([f32; LANES]) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (blocks, tail) = x.as_chunks_mut::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            block[lane] = f(block[lane]);
            lanes[lane] += block[lane];
        }
    }
    let joined = join(lanes);
    tail.iter_mut().fold(joined, |sum, x| {
        *x = f(*x);
        sum + *x
    })
}

/// Of rows of equal length, one lane after another.
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    reduce([x, &y[..x.len()]], 0.0, |sum, [x, y]| sum + x * y, |lanes| lanes.iter().sum())
}

/// Negative infinity for an empty row.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    reduce([x], f32::NEG_INFINITY, |most, [x]| larger(most, x), |lanes| halve(lanes, larger))
}

/// The least of 0 and all elements, the largest of them, and 0, or NaN where an element is
/// infinite or NaN. In one pass: each alone would wait for its own last step.
#[inline(always)]
pub(crate) fn extent(x: &[f32]) -> (f32, f32, f32) {
    let smaller = |a: f32, b: f32| if b < a { b } else { a };
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (mut least, mut most, mut sums) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    let (blocks, tail) = x.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            least[lane] = smaller(least[lane], block[lane]);
            most[lane] = larger(most[lane], block[lane]);
            // 0 times an infinity or NaN is NaN.
            sums[lane] += block[lane] * 0.0;
        }
    }
    for (lane, &x) in tail.iter().enumerate() {
        least[lane] = smaller(least[lane], x);
        most[lane] = larger(most[lane], x);
        sums[lane] += x * 0.0;
    }
    (halve(least, smaller), halve(most, larger), halve(sums, |a, b| a + b))
}

/// e^x for x <= 0 within 2 ulp; 0 where the result would be subnormal. Cephes' `expf`
/// (Moshier 1992): 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2].
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // ln 2 in two parts, so that x - n ln 2 loses nothing.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    const LEAST: f32 = -87.336_54;
    let clamped = if x < LEAST { LEAST } else { x };
    let shifted = clamped * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let mantissa = p * r * r + r + 1.0;
    // The rounded n sits in the low bits of `shifted`; moved up it is a power of two's exponent.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < LEAST { 0.0 } else { mantissa * power }
}

/// The polynomial of least largest relative error to 2^x on [-1/2, 1/2] of those that are 1 at 0.
pub(super) const EXP2_ROUGH: [f32; 4] = [5.500_893e-2, 2.422_109_8e-1, 6.932_829e-1, 1.0];

/// [`exp`] of x ln 2, that is 2^x, for x <= 0, within 1.1e-4 of itself: for results that are rounded
/// to 8 bits, which is 20 times as much. 0 below 2^-126.
#[inline(always)]
pub(crate) fn exp2_rough(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LEAST: f32 = -126.0;
    let clamped = if x < LEAST { LEAST } else { x };
    let shifted = clamped + ROUND;
    let r = clamped - (shifted - ROUND);
    let [a, b, c, d] = EXP2_ROUGH;
    let p = ((a * r + b) * r + c) * r + d;
    let result = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x < LEAST { 0.0 } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for i in 0..4_000_000 {
            let x = i as f32 * -2.18e-5;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst:e}");
        assert_eq!((exp(0.0), exp(-100.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn rough_powers_are_exact_to_what_they_say() {
        let mut exp2 = 0.0f64;
        for i in 0..2_000_000 {
            let x = i as f32 * -6.3e-5;
            let exact = f64::from(x).exp2();
            exp2 = exp2.max((f64::from(exp2_rough(x)) - exact).abs() / exact);
        }
        assert!(exp2 < 1.1e-4, "{exp2:e}");
        assert_eq!((exp2_rough(0.0), exp2_rough(-200.0)), (1.0, 0.0));
        assert_eq!((exp2_rough(f32::NEG_INFINITY), exp2_rough(-1.0)), (0.0, 0.5));
    }

    #[test]
    fn reductions_take_every_element_once() {
        for length in [0, 1, 15, 16, 17, 31, 32, 100] {
            let x: Vec<f32> = (0..length).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
            assert_eq!(sum(&x), x.iter().sum::<f32>(), "{length}");
            assert_eq!(dot(&x, &x), sum_of_squares(&x), "{length}");
            assert_eq!(dot(&x, &x), x.iter().map(|x| x * x).sum::<f32>(), "{length}");
            assert_eq!(max(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max), "{length}");
            let (least, most, sum) = extent(&x);
            assert_eq!(least, x.iter().copied().fold(0.0, f32::min), "{length}");
            assert_eq!((most, sum), (x.iter().copied().fold(0.0, f32::max), 0.0), "{length}");
            let mut doubled = x.clone();
            assert_eq!(map_and_sum(&mut doubled, |x| 2.0 * x), 2.0 * super::sum(&x), "{length}");
            assert!(doubled.iter().zip(&x).all(|(double, x)| *double == 2.0 * x));
            assert_eq!(map_and_sum_in_order(&mut doubled, |x| x / 2.0), super::sum(&x), "{length}");
            for at in 0..length {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = x.clone();
                    x[at] = bad;
                    assert!(extent(&x).2.is_nan(), "{at} of {length}");
                }
            }
        }
    }
}
