//! Weights in the order in which products read them, in the numbers of their file.
//!
//! A panel is 32 outputs side by side. Plain numbers are `[k, 32]`. Of whole numbers a word holds four
//! that follow each other in k, and the words of a run of 32 or 16 inputs are `[words, 32]`; numbers
//! of 4 bits share their bytes, those of the run's first half the lower halves. Before each run lie
//! its scales, before the runs of a block of 256 what is common to them.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::format::{Codes, Format};
use crate::cpu::Arithmetic;
use crate::{KernelError, Shared};

/// Outputs of a panel.
pub(crate) const COLUMNS: usize = 32;

/// Panels are read by whole lines of a cache.
pub(crate) const LINE: usize = 64;

/// Bytes of a panel, aligned as the widest loads want them.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; LINE]);

/// A matrix `[n, k]` as a file has it.
#[derive(Clone, Debug)]
pub struct BlockMatrix {
    /// What its rows are made of.
    pub format: Format,
    /// `n` rows, one after another.
    pub bytes: Shared<u8>,
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    /// Where in the file an output's row lies.
    pub order: RowOrder,
}

/// How the rows of a file stand to a matrix's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// As they are.
    Plain,
    /// Within each head of so many rows the two halves alternate, as llama.cpp's converter has the
    /// queries and keys of Llama, whose rotation then pairs neighbours.
    Alternating(usize),
}

impl RowOrder {
    /// The file's row of output `j`.
    pub fn row(self, j: usize) -> usize {
        match self {
            RowOrder::Plain => j,
            RowOrder::Alternating(head) => {
                let (first, within) = (j / head * head, j % head);
                first + within % (head / 2) * 2 + within / (head / 2)
            }
        }
    }
}

impl BlockMatrix {
    /// Refuses sizes that the bytes are not of.
    pub(crate) fn check(&self) -> Result<(), KernelError> {
        let BlockMatrix { format, bytes, n, k, order } = self;
        let whole = format.row_bytes(*k).and_then(|row| row.checked_mul(*n));
        let ordered = match order {
            RowOrder::Plain => true,
            RowOrder::Alternating(head) => {
                *head > 0 && head.is_multiple_of(2) && n.is_multiple_of(*head)
            }
        };
        if *n == 0 || *k == 0 || whole != Some(bytes.len()) || !ordered {
            let reason =
                format!("{} bytes of {format:?} are no [{n}, {k}] in {order:?} rows", bytes.len());
            return Err(KernelError::shape("block_linear", reason));
        }
        Ok(())
    }

    /// The bytes of the row of output `j`.
    pub(crate) fn row(&self, j: usize) -> &[u8] {
        let size = self.bytes.len() / self.n;
        &self.bytes[self.order.row(j) * size..][..size]
    }

    /// The numbers of the row of output `j`.
    ///
    /// # Panics
    /// Beyond the last row.
    pub fn read(&self, j: usize, numbers: &mut [f32]) {
        self.format.read(self.row(j), numbers);
    }

    /// In panels.
    pub(crate) fn pack(&self) -> Vec<Line> {
        let size = panel_bytes(self.format, self.k);
        let mut lines = vec![Line::zeroed(); self.n.div_ceil(COLUMNS) * size / LINE];
        lines.par_chunks_exact_mut(size / LINE).enumerate().for_each(|(index, panel)| {
            let panel = bytemuck::cast_slice_mut(panel);
            for lane in 0..COLUMNS.min(self.n - index * COLUMNS) {
                let row = self.row(index * COLUMNS + lane);
                match self.format.block() {
                    1 => self.pack_floats(row, lane, panel),
                    _ => self.pack_codes(row, lane, panel),
                }
            }
        });
        lines
    }

    /// In panels of pairs of bf16, `[k / 2, 32]`, for arithmetic that has those.
    pub(crate) fn pack_pairs(&self, arithmetic: Arithmetic) -> Vec<Line> {
        let size = COLUMNS * arithmetic.words(self.k) * 4;
        let mut lines = vec![Line::zeroed(); self.n.div_ceil(COLUMNS) * size / LINE];
        lines.par_chunks_exact_mut(size / LINE).enumerate().for_each(|(index, panel)| {
            let first = index * COLUMNS;
            let filled = COLUMNS.min(self.n - first);
            let mut rows = vec![0.0; filled * self.k];
            for (lane, row) in rows.chunks_exact_mut(self.k).enumerate() {
                self.read(first + lane, row);
            }
            arithmetic.pack_columns(
                filled,
                self.k,
                (&rows[..], self.k),
                bytemuck::cast_slice_mut(panel),
            );
        });
        lines
    }

    fn pack_floats(&self, row: &[u8], lane: usize, panel: &mut [u8]) {
        let size = self.format.block_bytes();
        let places = panel.chunks_exact_mut(COLUMNS * size);
        for (place, bytes) in places.zip(row.chunks_exact(size)) {
            place[lane * size..][..size].copy_from_slice(bytes);
        }
    }

    fn pack_codes(&self, row: &[u8], lane: usize, panel: &mut [u8]) {
        let format = self.format;
        let layout = Layout::of(format);
        let blocks = row.chunks_exact(format.block_bytes());
        for (block, place) in blocks.zip(panel.chunks_exact_mut(layout.block_bytes())) {
            let codes = Codes::of(format, block);
            let (head, runs) = place.split_at_mut(layout.head);
            for (common, value) in head.chunks_exact_mut(4 * COLUMNS).zip([codes.d, codes.e]) {
                common[4 * lane..][..4].copy_from_slice(&value.to_le_bytes());
            }
            for (at, run) in runs.chunks_exact_mut(layout.run_bytes()).enumerate() {
                let (scales, words) = run.split_at_mut(LINE);
                if layout.head == 0 {
                    scales[2 * lane..][..2].copy_from_slice(&block[..2]);
                } else {
                    scales[lane] = codes.s[at].cast_unsigned();
                    scales[COLUMNS + lane] = codes.m[at];
                }
                for (i, q) in codes.q[at * layout.run..][..layout.run].iter().enumerate() {
                    let (word, shift) = match layout.nibbles {
                        true => (i / 4 % 4, i / 16 * 4),
                        false => (i / 4, 0),
                    };
                    words[(word * COLUMNS + lane) * 4 + i % 4] |= q << shift;
                }
            }
        }
    }
}

/// How a panel of a quantised format is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes that are common to a block's runs: `d`, and `e` where there is one, as f32 a column.
    pub(crate) head: usize,
    /// Runs of a block.
    pub(crate) runs: usize,
    /// Inputs of a run.
    pub(crate) run: usize,
    /// Whether two numbers share a byte.
    pub(crate) nibbles: bool,
    /// What stands for 0.
    pub(crate) zero: i32,
}

impl Layout {
    /// # Panics
    /// Of plain numbers.
    pub(crate) const fn of(format: Format) -> Layout {
        let (head, runs, run, nibbles, zero) = match format {
            Format::Q8_0 => (0, 1, 32, false, 128),
            Format::Q4_0 => (0, 1, 32, true, 8),
            Format::Q4K => (8 * COLUMNS, 8, 32, true, 0),
            Format::Q5K => (8 * COLUMNS, 8, 32, false, 0),
            Format::Q6K => (4 * COLUMNS, 16, 16, false, 32),
            Format::F32 | Format::F16 | Format::Bf16 => panic!("plain numbers have no blocks"),
        };
        Layout { head, runs, run, nibbles, zero }
    }

    /// Bytes of a run, its scales included.
    pub(crate) const fn run_bytes(self) -> usize {
        let words = if self.nibbles { self.run / 8 } else { self.run / 4 };
        LINE + words * COLUMNS * 4
    }

    pub(crate) const fn block_bytes(self) -> usize {
        self.head + self.runs * self.run_bytes()
    }
}

/// Bytes of a panel of `k` inputs.
pub(crate) fn panel_bytes(format: Format, k: usize) -> usize {
    match format.block() {
        1 => k * COLUMNS * format.block_bytes(),
        block => k / block * Layout::of(format).block_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_alternating_halves_are_put_back() {
        // transformers' rows 0..6 of a head of 6, as llama.cpp's converter writes them.
        let file = [0, 3, 1, 4, 2, 5];
        let order = RowOrder::Alternating(6);
        let back: Vec<usize> = (0..12).map(|j| file[order.row(j) % 6] + j / 6 * 6).collect();
        assert_eq!(back, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn sizes_that_the_bytes_are_not_of_are_refused() {
        let matrix = |format, bytes: usize, n, k, order| {
            BlockMatrix { format, bytes: vec![0u8; bytes].into(), n, k, order }.check()
        };
        assert!(matrix(Format::Q4_0, 36, 2, 32, RowOrder::Plain).is_ok());
        assert!(matrix(Format::Q4_0, 36, 2, 33, RowOrder::Plain).is_err());
        assert!(matrix(Format::Q4_0, 35, 2, 32, RowOrder::Plain).is_err());
        assert!(matrix(Format::Q4_0, 0, 0, 32, RowOrder::Plain).is_err());
        assert!(matrix(Format::F32, 0, usize::MAX, usize::MAX, RowOrder::Plain).is_err());
        for head in [0, 1, 4] {
            assert!(matrix(Format::Q4_0, 36, 2, 32, RowOrder::Alternating(head)).is_err());
        }
        assert!(matrix(Format::Q4_0, 36, 2, 32, RowOrder::Alternating(2)).is_ok());
    }
}
