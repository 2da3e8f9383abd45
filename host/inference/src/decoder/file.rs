//! Files of weights, read when a device takes them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trine_kernels::Format;

use crate::ModelError;
use crate::mapped::Mapped;

/// An open file. Clones share it: what takes its place under its name is another. Of a file that was cut
/// short since, a map would end the process; here it is an error.
#[derive(Clone)]
pub(crate) struct WeightsFile {
    path: PathBuf,
    file: Arc<File>,
}

/// Where a tensor lies.
pub(crate) struct Place<'a> {
    pub(crate) file: &'a WeightsFile,
    pub(crate) bytes: Range<usize>,
    pub(crate) format: Format,
}

impl WeightsFile {
    pub(crate) fn open(path: PathBuf) -> Result<WeightsFile, ModelError> {
        match File::open(&path) {
            Ok(file) => Ok(WeightsFile { path, file: Arc::new(file) }),
            Err(e) => Err(ModelError::File { path, reason: e.to_string() }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file mapped, for its directory, which may be of any length.
    pub(crate) fn map(&self) -> Result<Mapped, ModelError> {
        Mapped::new(&self.file).map_err(|e| self.refuse(&e))
    }

    /// Fills `bytes` with what the file has from `at` on.
    pub(super) fn read(&self, at: usize, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, at as u64)
    }

    fn refuse(&self, error: &io::Error) -> ModelError {
        ModelError::File { path: self.path.clone(), reason: error.to_string() }
    }
}

impl Place<'_> {
    /// All bytes of the tensor.
    pub(super) fn read(&self) -> Result<Vec<u8>, ModelError> {
        let mut bytes = vec![0; self.bytes.len()];
        let read = self.file.read(self.bytes.start, &mut bytes);
        read.map(|()| bytes).map_err(|e| self.file.refuse(&e))
    }

    /// The `n` numbers of a tensor that has so many.
    pub(super) fn numbers(&self, n: usize) -> Result<Vec<f32>, ModelError> {
        let mut numbers = vec![0.0; n];
        self.format.read(&self.read()?, &mut numbers);
        Ok(numbers)
    }
}
