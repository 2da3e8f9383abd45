//! What follows a product of bf16, done to each tile of it while that is in registers.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "nothing else has tiles of it"))]

use super::Bf16;

/// Elements across a tile.
const COLUMNS: usize = 32;

/// Where a product goes, and what becomes of it on the way.
pub(crate) struct Finish<'a> {
    pub(crate) step: Step<'a>,
    pub(crate) out: Places<'a>,
    /// Places from one row of the result to the next.
    pub(crate) stride: usize,
}

/// What becomes of a product's rows.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    /// Nothing.
    None,
    /// Plus a residual, if there is one, whose rows are so far apart; then plus a bias.
    Add { residual: Option<(&'a [f32], usize)>, bias: &'a [f32; COLUMNS] },
    /// Plus a bias, then [`super::gelu_rough`].
    Gelu { bias: &'a [f32; COLUMNS] },
    /// Times a factor of each row's own.
    Scale(&'a [f32]),
}

/// The numbers in which a result is kept: as they are, or rounded, ties to even, where those below 1.2e-38
/// count as 0.
pub(crate) enum Places<'a> {
    F32(&'a mut [f32]),
    Bf16(&'a mut [Bf16]),
}

impl<'a> Finish<'a> {
    /// The product as it is.
    pub(crate) fn none(out: &'a mut [f32], stride: usize) -> Finish<'a> {
        Finish { step: Step::None, out: Places::F32(out), stride }
    }

    /// Has what the last step of some rows reads brought near, while their product is computed.
    #[inline(always)]
    pub(super) fn fetch(&self, top: usize, rows: usize) {
        if let Step::Add { residual: Some((residual, stride)), .. } = self.step {
            for row in residual.chunks(stride).skip(top).take(rows) {
                row.iter().step_by(16).take(COLUMNS / 16).for_each(super::fetch);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{COLUMNS, Finish, Places, Step};
    use crate::cpu::dot::avx512::fits;
    use crate::cpu::gelu;

    /// A row of a tile.
    type Row = [__m512; 2];

    impl Finish<'_> {
        /// Finishes the tile whose first row is `top`.
        ///
        /// # Panics
        /// When a slice is too short for it.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bf16")]
        pub(in crate::cpu) fn store<const ROWS: usize>(
            &mut self,
            top: usize,
            sums: [[__m512i; 2]; ROWS],
        ) {
            let (stride, first) = (self.stride, top * self.stride);
            let out = match &mut self.out {
                Places::F32(out) => Places::F32(&mut out[first..]),
                Places::Bf16(out) => Places::Bf16(&mut out[first..]),
            };
            match self.step {
                Step::None => each(sums, out, stride, |_, y| y),
                Step::Add { residual: None, bias } => {
                    let bias = load(bias);
                    each(sums, out, stride, |_, y| add(y, bias));
                }
                Step::Add { residual: Some((residual, apart)), bias } => {
                    let (residual, bias) = (&residual[top * apart..], load(bias));
                    assert!(fits::<ROWS>(apart, COLUMNS, residual.len()));
                    each(sums, out, stride, |row, y| {
                        // SAFETY: row < ROWS, so the assertion covers the 32 elements from here.
                        let residual = unsafe { &*residual.as_ptr().add(row * apart).cast() };
                        add(add(y, load(residual)), bias)
                    });
                }
                Step::Gelu { bias } => {
                    let bias = load(bias);
                    each(sums, out, stride, |_, y| {
                        let [low, high] = add(y, bias);
                        [gelu::avx512::rough(low), gelu::avx512::rough(high)]
                    });
                }
                Step::Scale(factors) => {
                    let factors: &[f32; ROWS] = factors[top..].first_chunk().expect("one a row");
                    each(sums, out, stride, |row, [low, high]| {
                        let factor = _mm512_set1_ps(factors[row]);
                        [_mm512_mul_ps(low, factor), _mm512_mul_ps(high, factor)]
                    });
                }
            }
        }
    }

    /// Some work on each row, written out: a loop that is not unrolled would keep the sums in memory, from
    /// the product's first step on.
    macro_rules! each_row {
        ($row:ident => $work:expr) => {
            each_row!($row => $work; 0 1 2 3 4 5 6 7 8 9 10 11)
        };
        ($row:ident => $work:expr; $($at:literal)*) => {
            $(if $at < ROWS {
                let $row = $at;
                $work
            })*
        };
    }

    /// `f(row, sums)` of each row to its place.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn each<const ROWS: usize>(
        sums: [[__m512i; 2]; ROWS],
        out: Places,
        stride: usize,
        f: impl Fn(usize, Row) -> Row,
    ) {
        match out {
            Places::F32(out) => {
                assert!(fits::<ROWS>(stride, COLUMNS, out.len()));
                let out = out.as_mut_ptr();
                each_row!(row => {
                    let y = f(row, floats(sums[row]));
                    // SAFETY: row < ROWS, so the assertion covers the 32 elements from here.
                    unsafe { out.add(row * stride).cast::<Row>().write_unaligned(y) };
                });
            }
            Places::Bf16(out) => {
                assert!(fits::<ROWS>(stride, COLUMNS, out.len()));
                let out = out.as_mut_ptr();
                each_row!(row => {
                    let [low, high] = f(row, floats(sums[row]));
                    let both = _mm512_cvtne2ps_pbh(high, low);
                    // SAFETY: as above; 32 bf16 are a vector.
                    unsafe { out.add(row * stride).cast::<__m512bh>().write_unaligned(both) };
                });
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn floats(sums: [__m512i; 2]) -> Row {
        [_mm512_castsi512_ps(sums[0]), _mm512_castsi512_ps(sums[1])]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(a: Row, b: Row) -> Row {
        [_mm512_add_ps(a[0], b[0]), _mm512_add_ps(a[1], b[1])]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(x: &[f32; COLUMNS]) -> Row {
        // SAFETY: 32 numbers are two vectors; unaligned loads are allowed.
        unsafe { x.as_ptr().cast::<Row>().read_unaligned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::dot::Operands;
    use crate::cpu::{Isa, Number, bf16, gelu_rough};

    const K: usize = 6;
    const STRIDE: usize = 37;

    /// Small whole numbers, so that sums are exact.
    fn numbers(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 31 + seed) * 17 % 13) as f32 - 6.0).collect()
    }

    /// Every height of a product, finished, beside the same element by element.
    fn check(step: Step, expected: impl Fn(f32, usize, usize) -> f32) {
        let isa = Isa::detect();
        if !isa.has_bf16() {
            return println!("skipped: no AVX-512 BF16");
        }
        for rows in 1..=30 {
            let (a, panel) = (numbers(rows * K, 1), numbers(K * COLUMNS, 2));
            let a_words: Vec<u32> = a.chunks(2).map(|x| bf16::pair(x[0], x[1])).collect();
            let word = |at: usize| {
                let first = at / COLUMNS * 2 * COLUMNS + at % COLUMNS;
                bf16::pair(panel[first], panel[first + COLUMNS])
            };
            let panel_words: Vec<u32> = (0..K / 2 * COLUMNS).map(word).collect();
            let run = |out| {
                let out = &mut Finish { step, out, stride: STRIDE };
                let (a, panel) = (&a_words[..], &panel_words[..]);
                isa.multiply_bf16(Operands { rows, a, a_stride: K / 2, panel, out });
            };
            let length = (rows - 1) * STRIDE + COLUMNS;
            let (mut wide, mut narrow) = (vec![7.0; length], vec![Bf16::nearest(7.0); length]);
            run(Places::F32(&mut wide));
            run(Places::Bf16(&mut narrow));
            for (at, (wide, narrow)) in wide.into_iter().zip(narrow).enumerate() {
                let (row, column) = (at / STRIDE, at % STRIDE);
                let product = |i: usize| a[row * K + i] * panel[i * COLUMNS + column];
                let expected = match column < COLUMNS {
                    true => expected((0..K).map(product).sum(), row, column),
                    false => 7.0,
                };
                assert_eq!(wide.to_bits(), expected.to_bits(), "{rows} rows, {at}");
                assert_eq!(narrow, Bf16::nearest(expected), "{rows} rows, {at}");
            }
        }
    }

    #[test]
    fn every_height_is_finished_as_its_elements_are() {
        let bias: [f32; COLUMNS] = std::array::from_fn(|i| i as f32 / 16.0 - 1.03);
        let (residual, stride) = (crate::parity::numbers(30 * 40, 3), 40);
        let factors = crate::parity::numbers(30, 4);
        let gelu = |x: f32| {
            let mut x = [x];
            gelu_rough(Isa::detect(), &mut x);
            x[0]
        };
        check(Step::None, |sum, _, _| sum);
        check(Step::Add { residual: None, bias: &bias }, |sum, _, column| sum + bias[column]);
        let step = Step::Add { residual: Some((&residual, stride)), bias: &bias };
        check(step, |sum, row, column| sum + residual[row * stride + column] + bias[column]);
        check(Step::Gelu { bias: &bias }, |sum, _, column| gelu(sum + bias[column]));
        check(Step::Scale(&factors), |sum, row, _| sum * factors[row]);
    }

    #[test]
    #[should_panic(expected = "fits")]
    fn places_that_are_too_few_are_refused() {
        let isa = Isa::detect();
        assert!(isa.has_bf16(), "skipped: no AVX-512 BF16; nothing fits");
        let (a, panel, mut out) = ([0; 3], [0; COLUMNS], [0.0; 2 * COLUMNS]);
        let out = &mut Finish::none(&mut out, COLUMNS);
        isa.multiply_bf16(Operands { rows: 3, a: &a, a_stride: 1, panel: &panel, out });
    }
}
