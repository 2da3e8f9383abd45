//! Products of a query and rows of the table.
//!
//! Each is written once in plain Rust. What the walk spends its time in is written again for the
//! vector instructions of x86-64, chosen at run time, and of wasm. Whole numbers add up to the
//! same sum in any order, and the order in which floats are added is written down: no result
//! depends on the machine.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use simd128::touch;

/// Numbers in a block, the unit that rows are padded to: a cache line of codes.
pub(crate) const BLOCK: usize = 64;

/// Codes that share a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Codes(pub(crate) [i8; BLOCK]);

/// A query's numbers for as many codes.
pub(crate) type Factors = [i16; BLOCK];

/// Independent sums a product of floats is spread over, so that the compiler can keep them in
/// vector registers (four of SIMD128's, one of AVX-512's) without reordering additions.
const LANES: usize = 16;

/// Sets `dots` to the products of `query` and each of `rows`, numbers of rows in `codes`,
/// `query.len()` blocks a row. The sums must fit 31 bits.
///
/// # Panics
/// Where a row lies beyond `codes`.
#[inline]
pub(crate) fn dots(query: &[Factors], codes: &[Codes], rows: &[u32], dots: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: the machine was just found to have the instructions.
            return unsafe { avx512(query, codes, rows, dots) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { avx2(query, codes, rows, dots) };
        }
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    {
        return simd128::dots(query, codes, rows, dots);
    }
    #[allow(unreachable_code)]
    plain(query, codes, rows, dots);
}

/// Nothing: where rows are multiplied by native code, the machine looks far enough ahead.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline]
pub(crate) fn touch(_: usize, _: &[Codes], _: &[f32], _: &[u32]) {}

/// Defines a function like [`dots`]: `$block` adds the products of a block to the lanes of a
/// vector, `$sum` adds the lanes.
macro_rules! dots {
    ($(#[$attribute:meta])* $name:ident, $zero:expr, $block:expr, $sum:expr) => {
        $(#[$attribute])*
        fn $name(query: &[Factors], codes: &[Codes], rows: &[u32], dots: &mut [i32]) {
            for (&row, dot) in rows.iter().zip(dots) {
                let row = &codes[row as usize * query.len()..][..query.len()];
                let mut sums = $zero;
                for (factors, codes) in query.iter().zip(row) {
                    sums = $block(sums, factors, codes);
                }
                *dot = $sum(sums);
            }
        }
    };
}

dots!(
    plain,
    0,
    |sum, factors: &Factors, codes: &Codes| {
        let products = factors.iter().zip(&codes.0).map(|(&f, &c)| i32::from(f) * i32::from(c));
        sum + products.sum::<i32>()
    },
    |sum| sum
);

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
dots!(
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    avx512,
    _mm512_setzero_si512(),
    |mut sums, factors: &Factors, codes: &Codes| {
        for half in 0..2 {
            // SAFETY: a block is two vectors of 32 codes, and of 32 factors.
            let (codes, factors) = unsafe {
                let codes = codes.0.as_ptr().cast::<__m256i>().add(half).read_unaligned();
                (codes, factors.as_ptr().cast::<__m512i>().add(half).read_unaligned())
            };
            sums = _mm512_dpwssd_epi32(sums, _mm512_cvtepi8_epi16(codes), factors);
        }
        sums
    },
    |sums| _mm512_reduce_add_epi32(sums)
);

#[cfg(target_arch = "x86_64")]
dots!(
    #[target_feature(enable = "avx2")]
    avx2,
    _mm256_setzero_si256(),
    |mut sums, factors: &Factors, codes: &Codes| {
        for quarter in 0..4 {
            // SAFETY: a block is four vectors of 16 codes, and of 16 factors.
            let (codes, factors) = unsafe {
                let codes = codes.0.as_ptr().cast::<__m128i>().add(quarter).read_unaligned();
                (codes, factors.as_ptr().cast::<__m256i>().add(quarter).read_unaligned())
            };
            let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(codes), factors);
            sums = _mm256_add_epi32(sums, products);
        }
        sums
    },
    |sums| {
        let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b01_00_11_10>(sums));
        let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b10_11_00_01>(sums));
        _mm_cvtsi128_si32(sums)
    }
);

/// Defines a function that runs the best of three compilations of `$plain`.
macro_rules! dispatch {
    ($(#[$doc:meta])* $name:ident = $plain:ident($($arg:ident: $type:ty),*) -> $result:ty) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name($($arg: $type),*) -> $result {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw")]
                fn avx512($($arg: $type),*) -> $result {
                    $plain($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) -> $result {
                    $plain($($arg),*)
                }
                if is_x86_feature_detected!("avx512bw") {
                    // SAFETY: the machine was just found to have the instructions.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $plain($($arg),*)
        }
    };
}

dispatch! {
    /// The product of `query` with a row of 24-bit numbers, `high * 2^16 + low`.
    exact = plain_exact(query: &[[f32; BLOCK]], high: &[Codes], low: &[[i16; BLOCK]]) -> f32
}

dispatch! {
    /// The same of 16-bit numbers, `high * 2^16 + low * 2^8`.
    halves = plain_halves(query: &[[f32; BLOCK]], high: &[Codes], low: &[[i8; BLOCK]]) -> f32
}

dispatch! {
    /// The same of 8-bit numbers, `high * 2^16`.
    bytes = plain_bytes(query: &[[f32; BLOCK]], high: &[Codes]) -> f32
}

#[inline(always)]
fn plain_exact(query: &[[f32; BLOCK]], high: &[Codes], low: &[[i16; BLOCK]]) -> f32 {
    sum(query, high, low, |low| i32::from(*low))
}

#[inline(always)]
fn plain_halves(query: &[[f32; BLOCK]], high: &[Codes], low: &[[i8; BLOCK]]) -> f32 {
    sum(query, high, low, |low| i32::from(*low) << 8)
}

#[inline(always)]
fn plain_bytes(query: &[[f32; BLOCK]], high: &[Codes]) -> f32 {
    let mut sums = [0f32; LANES];
    for (query, high) in query.iter().zip(high) {
        for (query, high) in query.as_chunks::<LANES>().0.iter().zip(high.0.as_chunks::<LANES>().0)
        {
            for lane in 0..LANES {
                sums[lane] += query[lane] * f32::from(high[lane]);
            }
        }
    }
    sums.iter().sum::<f32>() * 65536.0
}

#[inline(always)]
fn sum<L>(
    query: &[[f32; BLOCK]],
    high: &[Codes],
    low: &[[L; BLOCK]],
    widened: impl Fn(&L) -> i32,
) -> f32 {
    let mut sums = [0f32; LANES];
    for ((query, high), low) in query.iter().zip(high).zip(low) {
        let lanes = query.as_chunks::<LANES>().0.iter();
        let lanes = lanes.zip(high.0.as_chunks::<LANES>().0).zip(low.as_chunks::<LANES>().0);
        for ((query, high), low) in lanes {
            for lane in 0..LANES {
                // 24 bits fit a float's significand: the conversion is exact.
                let whole = (i32::from(high[lane]) << 16) + widened(&low[lane]);
                sums[lane] += query[lane] * whole as f32;
            }
        }
    }
    sums.iter().sum()
}

dispatch! {
    /// The product of two rows of floats.
    floats = plain_floats(a: &[f32], b: &[f32]) -> f32
}

#[inline(always)]
fn plain_floats(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (x, y) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, up to `greatest` either way, and often as great as that.
    fn numbers(count: usize, greatest: i32, seed: u64) -> Vec<i32> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as i32
        };
        let drawn = (0..count).map(|_| match next() % 4 {
            0 => greatest,
            1 => -greatest,
            _ => next() % (greatest + 1) * [1, -1][next() as usize % 2],
        });
        drawn.collect()
    }

    fn codes(count: usize, seed: u64) -> Vec<Codes> {
        let numbers = numbers(count * BLOCK, 127, seed);
        let block = |block: &[i32; BLOCK]| Codes(block.map(|number| number as i8));
        numbers.as_chunks().0.iter().map(block).collect()
    }

    fn blocks<T>(numbers: &[i32], of: fn(i32) -> T) -> Vec<[T; BLOCK]> {
        numbers.as_chunks::<BLOCK>().0.iter().map(|block| block.map(of)).collect()
    }

    type Dots = unsafe fn(&[Factors], &[Codes], &[u32], &mut [i32]);

    /// Every implementation that this machine can run.
    fn implementations() -> Vec<Dots> {
        let mut all: Vec<Dots> = vec![plain, dots];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") {
                all.push(avx512);
            }
            if is_x86_feature_detected!("avx2") {
                all.push(avx2);
            }
        }
        all
    }

    #[test]
    fn every_implementation_multiplies_whole_numbers_exactly() {
        for length in 0..8 {
            let factors = numbers(length * BLOCK, 1 << 14, 1);
            let factors = blocks(&factors, |number| number as i16);
            let codes = codes(length * 5, 2);
            let rows = [4, 0, 3, 3, 1];
            let product = |&row: &u32| {
                let row = codes[row as usize * length..][..length].iter().flat_map(|c| c.0);
                let factors = factors.as_flattened().iter();
                factors.zip(row).map(|(&f, c)| i64::from(f) * i64::from(c)).sum::<i64>()
            };
            let expected: Vec<i64> = rows.iter().map(product).collect();
            for dots in implementations() {
                let mut found = [0; 5];
                // SAFETY: the machine was found to have the instructions.
                unsafe { dots(&factors, &codes, &rows, &mut found) };
                assert_eq!(found.map(i64::from)[..], expected, "{length} blocks");
            }
        }
    }

    #[test]
    #[should_panic(expected = "range")]
    fn a_row_beyond_the_codes_is_refused() {
        dots(&[[1; BLOCK]; 2], &codes(4, 3), &[0, 2], &mut [0; 2]);
    }

    #[test]
    fn floats_have_the_same_bits_however_they_are_compiled() {
        for length in 0..7 {
            let floats = |seed| numbers(length * BLOCK, 1 << 20, seed);
            let query = blocks(&floats(1), |number| number as f32 / 7e5);
            let (high, low) = (codes(length, 2), blocks(&floats(3), |number| number as i16));
            let found = exact(&query, &high, &low);
            assert_eq!(found.to_bits(), plain_exact(&query, &high, &low).to_bits());
            let eight: Vec<_> = low.iter().map(|low| low.map(|low| (low >> 8) as i8)).collect();
            let found_halves = halves(&query, &high, &eight);
            assert_eq!(found_halves.to_bits(), plain_halves(&query, &high, &eight).to_bits());
            let cut: Vec<_> = low.iter().map(|low| low.map(|low| low >> 8 << 8)).collect();
            assert_eq!(found_halves.to_bits(), plain_exact(&query, &high, &cut).to_bits());
            let nothing = vec![[0; BLOCK]; length];
            assert_eq!(bytes(&query, &high).to_bits(), plain_bytes(&query, &high).to_bits());
            let all = plain_exact(&query, &high, &nothing);
            assert!((bytes(&query, &high) - all).abs() <= 1e-6 * all.abs().max(1e6), "{all}");
            let whole = high.iter().flat_map(|c| c.0).zip(low.as_flattened());
            let terms = query.as_flattened().iter().zip(whole);
            let terms = terms
                .map(|(&q, (h, &l))| f64::from(q) * f64::from((i32::from(h) << 16) + i32::from(l)));
            let (sum, size) = terms.fold((0.0, 1.0), |(sum, size), x| (sum + x, size + x.abs()));
            assert!((f64::from(found) - sum).abs() <= 1e-6 * size, "{found} {sum}");

            for cut in 0..LANES.min(length * BLOCK) {
                let (a, b) = (query.as_flattened(), floats(4));
                let b: Vec<f32> = b.iter().map(|&number| number as f32 / 3e5).collect();
                let (a, b) = (&a[cut..], &b[cut..]);
                assert_eq!(super::floats(a, b).to_bits(), plain_floats(a, b).to_bits());
            }
        }
    }
}
