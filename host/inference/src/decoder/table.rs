//! Embeddings of tokens, in their file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use trine_kernels::Format;

/// A matrix `[n, k]` of which a few rows are wanted at a time. They are read from the file, where the
/// system keeps what is wanted often: of a file that was cut short since, a map would end the process.
pub(crate) struct Table {
    pub(super) file: Arc<File>,
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
            self.file.read_exact_at(&mut bytes, at as u64)?;
            self.format.read(&bytes, numbers);
        }
        Ok(())
    }
}
