//! Embeddings of tokens, in their file.

use std::io;
use std::ops::Range;

use trine_kernels::Format;

use super::file::WeightsFile;

/// A matrix `[n, k]` of which a few rows are wanted at a time. They are read from the file, of which the
/// system keeps in memory what is wanted often.
pub(crate) struct Table {
    pub(super) file: WeightsFile,
    /// Its bytes in the file.
    pub(super) bytes: Range<usize>,
    pub(super) format: Format,
    pub(super) rows: usize,
}

impl Table {
    /// The numbers of some rows, one after another.
    pub(crate) fn read(&self, rows: &[u32], numbers: &mut [f32]) -> io::Result<()> {
        let mut bytes = vec![0; self.bytes.len() / self.rows.max(1)];
        let width = numbers.len() / rows.len().max(1);
        for (&row, numbers) in rows.iter().zip(numbers.chunks_exact_mut(width.max(1))) {
            if row as usize >= self.rows {
                let reason = format!("row {row} of {}", self.rows);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            let at = self.bytes.start + row as usize * bytes.len();
            self.file.read(at, &mut bytes)?;
            self.format.read(&bytes, numbers);
        }
        Ok(())
    }
}
