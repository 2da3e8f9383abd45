//! A matrix packed once, to be multiplied by many rows.

use super::bf16::Number;
use super::{Arithmetic, CpuBuffer, CpuDevice, Finish, Precision, Rows, WholeNumbers, int8};
use crate::Shared;

/// A right operand `[k, n]` in the numbers of its device's precision.
pub(crate) struct Matrix {
    k: usize,
    numbers: Numbers,
}

enum Numbers {
    Float { arithmetic: Arithmetic, panels: Shared<u32> },
    Int8(int8::Matrix),
}

/// Rows to be multiplied by a matrix, in its numbers.
pub(crate) enum Left<'a> {
    Float(Rows<'a>),
    Int8(int8::Rows<'a>),
}

impl Matrix {
    /// `weight` is `[n, k]`, neither of them 0; `k` is at most [`int8::MOST_INPUTS`] where the
    /// device's precision is int8.
    pub(crate) fn new(device: &CpuDevice, weight: &[f32], n: usize, k: usize) -> Matrix {
        let numbers = if device.precision == Precision::Int8 {
            Numbers::Int8(int8::Matrix::new(device.isa, weight, n, k))
        } else {
            let arithmetic = device.arithmetic;
            let whole = n.next_multiple_of(arithmetic.tile().columns);
            let mut panels = vec![0; whole * arithmetic.words(k)];
            arithmetic.pack_columns(n, k, (weight, k), &mut panels);
            Numbers::Float { arithmetic, panels: panels.into() }
        };
        Matrix { k, numbers }
    }

    /// The matrix of [`Matrix::words`]. `None` where there are more or fewer words than it has.
    pub(crate) fn restore(
        device: &CpuDevice,
        words: Shared<u32>,
        n: usize,
        k: usize,
    ) -> Option<Matrix> {
        let numbers = if device.precision == Precision::Int8 {
            Numbers::Int8(int8::Matrix::restore(device.isa, words, n, k)?)
        } else {
            let arithmetic = device.arithmetic;
            let whole = n.checked_next_multiple_of(arithmetic.tile().columns)?;
            if whole.checked_mul(arithmetic.words(k)) != Some(words.len()) {
                return None;
            }
            Numbers::Float { arithmetic, panels: words }
        };
        Some(Matrix { k, numbers })
    }

    /// All that it is made of.
    pub(crate) fn words(&self) -> &[u32] {
        match &self.numbers {
            Numbers::Float { panels, .. } => panels,
            Numbers::Int8(matrix) => matrix.words(),
        }
    }

    /// Rows `[count, k]` in this matrix's numbers, held by `scratch` if they are not `x` itself.
    pub(crate) fn left<'a, T: Number>(
        &self,
        device: &CpuDevice,
        x: &'a [T],
        scratch: &'a mut Option<CpuBuffer>,
    ) -> Left<'a> {
        let count = x.len() / self.k;
        let words = match &self.numbers {
            Numbers::Float { arithmetic, .. } if arithmetic.is_f32() => 0,
            Numbers::Float { arithmetic, .. } => arithmetic.words(self.k),
            Numbers::Int8(_) => int8::words(device.isa, self.k),
        };
        let place = scratch.insert(device.take(count, words)).words_mut();
        match &self.numbers {
            Numbers::Float { arithmetic, .. } => {
                Left::Float(arithmetic.rows(x, self.k, (count, self.k), place))
            }
            Numbers::Int8(_) => {
                Left::Int8(int8::rows(device.isa, &T::widen(x), (count, self.k), place))
            }
        }
    }

    /// Whether there is [`Matrix::finish`].
    pub(crate) fn finishes(&self) -> bool {
        matches!(&self.numbers, Numbers::Float { arithmetic, .. } if arithmetic.is_pairs())
    }

    /// All `rows` of `left` times a panel, finished while they are in registers.
    ///
    /// # Panics
    /// Where [`Matrix::finishes`] is false.
    pub(crate) fn finish(&self, left: &Left, rows: usize, panel: usize, out: &mut Finish) {
        match (&self.numbers, left) {
            (Numbers::Float { arithmetic, panels }, Left::Float(left)) => {
                let panel = self.panel(*arithmetic, panels, panel);
                arithmetic.finish(*left, (0, rows), panel, out);
            }
            _ => unreachable!("whole numbers are not finished in registers"),
        }
    }

    fn panel<'a>(&self, arithmetic: Arithmetic, panels: &'a [u32], panel: usize) -> &'a [u32] {
        let size = arithmetic.tile().columns * arithmetic.words(self.k);
        &panels[panel * size..][..size]
    }

    /// Rows `top..top + height` times a panel into `tile`, whose rows follow each other. Where that gives whole numbers, also what they stand for.
    ///
    /// # Panics
    /// When `left` is of another matrix's numbers.
    pub(crate) fn multiply<'a>(
        &'a self,
        left: &'a Left,
        rows: (usize, usize),
        panel: usize,
        tile: &mut [f32],
    ) -> Option<WholeNumbers<'a>> {
        match (&self.numbers, left) {
            (Numbers::Float { arithmetic, panels }, Left::Float(left)) => {
                let columns = arithmetic.tile().columns;
                let panel = self.panel(*arithmetic, panels, panel);
                arithmetic.multiply(*left, rows, panel, tile, columns);
                None
            }
            (Numbers::Int8(matrix), Left::Int8(left)) => {
                Some(matrix.multiply(left, rows, panel, tile))
            }
            _ => unreachable!("operands of two precisions"),
        }
    }
}
