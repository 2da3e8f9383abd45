//! What follows a product: the bias, the epilogue, and the numbers in which the result is kept.

use super::Epilogue;
use crate::cpu::{self, Isa, Number, Places, WholeNumbers};

/// What is left to do with rows of a panel's product, all in one pass over them.
#[derive(Clone, Copy)]
pub(super) struct Last<'a> {
    /// What the elements stand for, if they are whole numbers.
    pub(super) whole: Option<WholeNumbers<'a>>,
    pub(super) bias: &'a [f32],
    /// A residual begins where the product does and has `n` elements a row.
    pub(super) epilogue: Epilogue<&'a [f32]>,
    pub(super) isa: Isa,
    /// Whether GELU need only be as exact as bf16.
    pub(super) rough: bool,
    pub(super) n: usize,
    /// Columns of the panel that the result has.
    pub(super) width: usize,
    /// Elements of the result's rows.
    pub(super) stride: usize,
}

impl Last<'_> {
    /// Adds the residual and the bias, applies the epilogue, writes to `out`. Where bf16 is asked for and the
    /// machine rounds to it, by way of `wide`.
    pub(super) fn finish<U: Number>(&self, product: &[f32], wide: &mut Vec<f32>, out: &mut [U]) {
        let columns = self.isa.tile().columns;
        let rounds = self.isa.has_bf16() && self.width == columns;
        match U::places(out) {
            Places::Bf16(out) if rounds => {
                wide.resize(product.len(), 0.0);
                let apart = Last { stride: columns, ..*self };
                apart.rows(product, wide);
                self.isa.round_rows(wide, out, self.stride);
            }
            _ => self.rows(product, out),
        }
    }

    fn rows<U: Number>(&self, product: &[f32], out: &mut [U]) {
        self.isa.each(
            #[inline(always)]
            || match self.isa.tile().columns {
                // Constants, so that the compiler makes whole vectors of them.
                32 => self.decoded::<32, U>(product, out),
                16 => self.decoded::<16, U>(product, out),
                _ => self.decoded::<8, U>(product, out),
            },
        );
    }

    #[inline(always)]
    fn decoded<const COLUMNS: usize, U: Number>(&self, product: &[f32], out: &mut [U]) {
        match self.whole {
            None => self.apply::<COLUMNS, U>(product, out, |_, _| {}),
            Some(whole) => self.apply::<COLUMNS, U>(product, out, whole.decode()),
        }
    }

    #[inline(always)]
    fn apply<const COLUMNS: usize, U: Number>(
        &self,
        product: &[f32],
        out: &mut [U],
        decode: impl Fn(usize, &mut [f32; COLUMNS]),
    ) {
        match self.epilogue {
            Epilogue::None | Epilogue::Residual(_) => self.each(product, out, decode, |_| {}),
            Epilogue::Gelu if self.rough => {
                self.each(product, out, decode, |y| cpu::gelu_rough(self.isa, y));
            }
            Epilogue::Gelu => self.each(product, out, decode, |y| {
                for y in y {
                    *y = cpu::gelu(*y);
                }
            }),
            Epilogue::Tanh => self.each(product, out, decode, |y| {
                for y in y {
                    *y = y.tanh();
                }
            }),
        }
    }

    /// A row at a time, in arrays of its own: slices that might overlap would be asked about that
    /// before every two vectors.
    #[inline(always)]
    fn each<const COLUMNS: usize, U: Number>(
        &self,
        product: &[f32],
        out: &mut [U],
        decode: impl Fn(usize, &mut [f32; COLUMNS]),
        function: impl Fn(&mut [f32; COLUMNS]),
    ) {
        let bias: [f32; COLUMNS] = cpu::first(self.bias);
        let rows = product.as_chunks::<COLUMNS>().0.iter().zip(out.chunks_mut(self.stride));
        for (row, (y, out)) in rows.enumerate() {
            let mut y = *y;
            decode(row, &mut y);
            if let Epilogue::Residual(residual) = self.epilogue {
                let residual: [f32; COLUMNS] = cpu::first(&residual[row * self.n..]);
                for i in 0..COLUMNS {
                    y[i] += residual[i];
                }
            }
            for i in 0..COLUMNS {
                y[i] += bias[i];
            }
            function(&mut y);
            let mut z = [U::zeroed(); COLUMNS];
            for i in 0..COLUMNS {
                z[i] = U::nearest(y[i]);
            }
            match out.first_chunk_mut::<COLUMNS>() {
                Some(out) if self.width == COLUMNS => *out = z,
                _ => out[..self.width].copy_from_slice(&z[..self.width]),
            }
        }
    }
}
