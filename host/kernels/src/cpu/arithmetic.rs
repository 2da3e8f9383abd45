//! How the operands of a product lie in memory, and the product of a tile of them.
//!
//! Both are words of 32 bits, of which a word holds one or two numbers that follow each other in
//! k. The left operand is rows of words; the right one panels `[words, Tile::columns]`.

use super::bf16::{self, Number};
use super::dot::Operands;
use super::{Finish, Isa, Precision, Tile, tiles};

/// f32 or bf16 products by the instructions there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arithmetic {
    isa: Isa,
    numbers: Numbers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// An f32 a word.
    F32,
    /// A bf16 a word, widened to f32: for machines without products of pairs.
    Widened,
    /// Two bf16 a word.
    Pairs,
}

/// Some rows of a left operand.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) words: &'a [u32],
    /// Words from one row to the next.
    pub(crate) stride: usize,
}

impl Arithmetic {
    /// What multiplies at a precision; int8's whole numbers are [`super::int8`]'s, and what is not
    /// done in those is done in bf16.
    pub(crate) fn new(isa: Isa, precision: Precision) -> Arithmetic {
        let numbers = match precision {
            Precision::F32 => Numbers::F32,
            Precision::Bf16 | Precision::Int8 if isa.has_bf16() => Numbers::Pairs,
            Precision::Bf16 | Precision::Int8 => Numbers::Widened,
        };
        Arithmetic { isa, numbers }
    }

    pub(crate) fn tile(self) -> Tile {
        self.isa.tile()
    }

    /// Whether a left operand is the f32 rows themselves.
    pub(crate) fn is_f32(self) -> bool {
        self.numbers == Numbers::F32
    }

    /// Whether a word is two bf16, and an instruction multiplies both.
    pub(crate) fn is_pairs(self) -> bool {
        self.numbers == Numbers::Pairs
    }

    /// What its words hold, as a part of a file's name.
    pub(crate) fn layout(self) -> &'static str {
        match self.numbers {
            Numbers::F32 => "f32",
            Numbers::Widened => "bf16-widened",
            Numbers::Pairs => "bf16",
        }
    }

    /// Words that hold `k` numbers.
    pub(crate) fn words(self, k: usize) -> usize {
        if self.numbers == Numbers::Pairs { k.div_ceil(2) } else { k }
    }

    /// `count` rows of `k` numbers, `stride` apart, as a left operand. What is not already one is
    /// written to `scratch`, which must hold `count * words(k)` words.
    pub(crate) fn rows<'a, T: Number>(
        self,
        x: &'a [T],
        stride: usize,
        (count, k): (usize, usize),
        scratch: &'a mut [u32],
    ) -> Rows<'a> {
        let width = self.words(k);
        if count == 0 || k == 0 {
            return Rows { words: &[], stride: 0 };
        }
        if let Some((words, stride)) = self.as_words(x, stride, k) {
            return Rows { words, stride };
        }
        let rows = x.chunks(stride).map(|row| &row[..k]);
        let places = scratch[..count * width].chunks_exact_mut(width);
        self.isa.each(
            #[inline(always)]
            || {
                for (row, words) in rows.zip(places) {
                    self.convert(row, words);
                }
            },
        );
        Rows { words: &scratch[..count * width], stride: width }
    }

    /// Rows that hold the same bits as their words: of f32 for products of f32, of an even number
    /// of bf16 for those of pairs.
    fn as_words<T: Number>(self, x: &[T], stride: usize, k: usize) -> Option<(&[u32], usize)> {
        let per_word = size_of::<u32>() / size_of::<T>();
        let same = match self.numbers {
            Numbers::F32 => per_word == 1,
            Numbers::Widened => false,
            Numbers::Pairs => per_word == 2,
        };
        if !same || !k.is_multiple_of(per_word) || !stride.is_multiple_of(per_word) {
            return None;
        }
        // The last row may end in the middle of a word after its k numbers.
        let whole = &x[..x.len() / per_word * per_word];
        Some((bytemuck::try_cast_slice(whole).ok()?, stride / per_word))
    }

    /// A matrix `[k, n]`, given as columns of length `k` that are `stride` apart, as panels; the last one is
    /// filled up with zeros.
    pub(crate) fn pack_columns<T: Number>(
        self,
        n: usize,
        k: usize,
        (x, stride): (&[T], usize),
        panels: &mut [u32],
    ) {
        if k == 0 {
            return;
        }
        let (columns, width) = (self.tile().columns, self.words(k));
        // Rounded along k, where numbers that share a word are neighbours, then turned.
        let mut words = vec![0; columns * width];
        for (index, panel) in panels.chunks_exact_mut(width * columns).enumerate() {
            let first = index * columns;
            let filled = columns.min(n.saturating_sub(first));
            let x = x.get(first * stride..).unwrap_or_default();
            let rows = self.rows(x, stride, (filled, k), &mut words);
            self.isa.turn((rows.words, rows.stride), (filled, width), panel, columns);
        }
    }

    /// Consecutive numbers of k to words, of which the last is filled up with a zero.
    #[inline(always)]
    fn convert<T: Number>(self, x: &[T], words: &mut [u32]) {
        if self.numbers == Numbers::Pairs {
            let f32s = size_of::<T>() == size_of::<f32>();
            let done = if f32s { self.isa.pair_up(bytemuck::cast_slice(x), words) } else { 0 };
            let (x, words) = (&x[2 * done..], &mut words[done..]);
            let (pairs, last) = x.as_chunks::<2>();
            words.iter_mut().zip(pairs).for_each(|(w, &[a, b])| *w = bf16::pair(a, b));
            if let (&[last], Some(word)) = (last, words.last_mut()) {
                *word = bf16::pair(last, T::zeroed());
            }
        } else {
            self.convert_singly(x, words);
        }
    }

    /// Numbers to a word each.
    #[inline(always)]
    fn convert_singly<T: Number>(self, x: &[T], words: &mut [u32]) {
        if self.is_f32()
            && let Ok(x) = bytemuck::try_cast_slice(x)
        {
            words.copy_from_slice(x);
        } else {
            words.iter_mut().zip(x).for_each(|(w, &x)| *w = x.rounded());
        }
    }

    /// A matrix `[k, n]`, given as rows of length `n` that are `stride` apart, as panels; the last one is
    /// filled up with zeros.
    pub(crate) fn pack_rows<T: Number>(
        self,
        n: usize,
        k: usize,
        (x, stride): (&[T], usize),
        panels: &mut [u32],
    ) {
        if self.is_pairs() {
            let mut words = Vec::new();
            if self.as_words(x, stride, n).is_none() {
                words.resize(k * self.words(n), 0);
            }
            let rows = self.rows(x, stride, (k, n), &mut words);
            return self.isa.interleave((rows.words, rows.stride), (k, n), panels);
        }
        let columns = self.tile().columns;
        self.isa.each(
            #[inline(always)]
            || {
                for (index, panel) in panels.chunks_exact_mut(self.words(k) * columns).enumerate() {
                    let first = index * columns;
                    let filled = columns.min(n - first);
                    for (x, words) in x.chunks(stride).zip(panel.chunks_exact_mut(columns)) {
                        let (words, rest) = words.split_at_mut(filled);
                        self.convert_singly(&x[first..][..filled], words);
                        rest.fill(0);
                    }
                }
            },
        );
    }

    /// `out = a * panel`: the rows `top..top + height` times a panel; the result's rows are `out_stride`
    /// apart.
    ///
    /// # Panics
    /// When a slice is too short for these numbers, which no input can bring about.
    #[inline]
    pub(crate) fn multiply(
        self,
        a: Rows,
        (top, height): (usize, usize),
        panel: &[u32],
        out: &mut [f32],
        out_stride: usize,
    ) {
        if self.is_pairs() {
            self.finish(a, (top, height), panel, &mut Finish::none(out, out_stride));
        } else {
            let (words, a_stride) = (&a.words[top * a.stride..], a.stride);
            let (a, panel): (&[f32], _) =
                (bytemuck::cast_slice(words), bytemuck::cast_slice(panel));
            for (top, height) in tiles(height, self.tile().rows) {
                let (a, out) = (&a[top * a_stride..], &mut out[top * out_stride..]);
                self.isa.multiply(height, a, a_stride, panel, out, out_stride);
            }
        }
    }

    /// `out = f(a * panel)` of the rows `top..top + height`.
    ///
    /// # Panics
    /// Where [`Arithmetic::is_pairs`] is false, and when a slice is too short.
    pub(crate) fn finish(
        self,
        a: Rows,
        (top, rows): (usize, usize),
        panel: &[u32],
        out: &mut Finish,
    ) {
        let (a, a_stride) = (&a.words[top * a.stride..], a.stride);
        self.isa.multiply_bf16(Operands { rows, a, a_stride, panel, out });
    }
}
