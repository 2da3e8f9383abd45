//! GGUF, the file of llama.cpp: metadata, then tensors (ggml's `docs/gguf.md`, versions 2 and 3).
//!
//! Its directory is read from a map, its tensors out of the file when they are wanted. Every count and length that it states is
//! checked against what is left of it before anything is made of it, so a hostile file costs no more
//! memory than its own size.

mod reader;
mod value;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use trine_kernels::Format;

use crate::ModelError;
use crate::decoder::file::{Place, WeightsFile};
use reader::Reader;
pub use value::{Array, Value};

/// A tensor of more dimensions is refused.
const MOST_DIMENSIONS: usize = 4;

/// A file, its directory read and checked.
pub struct Gguf {
    file: WeightsFile,
    directory: Directory,
}

/// What stands before the tensors' bytes.
struct Directory {
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Clone, Debug, PartialEq)]
struct Tensor {
    /// The fastest first, as the file has them.
    dimensions: Vec<usize>,
    format: Format,
    /// In the file.
    bytes: Range<usize>,
}

impl Gguf {
    /// Opens a file and reads its directory. Fails, naming the key or tensor, where it is cut short,
    /// not GGUF, or says what cannot be.
    pub fn open(path: impl AsRef<Path>) -> Result<Gguf, ModelError> {
        let file = WeightsFile::open(path.as_ref().to_owned())?;
        let directory = Directory::read(file.map()?.bytes())
            .map_err(|reason| ModelError::Format { path: file.path().to_owned(), reason })?;
        Ok(Gguf { file, directory })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.directory.metadata.get(key)
    }

    /// The names of all tensors.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.directory.tensors.keys().map(String::as_str)
    }

    /// The format of each tensor and its bytes.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (Format, usize)> {
        self.directory.tensors.values().map(|tensor| (tensor.format, tensor.bytes.len()))
    }

    /// Where a matrix `[n, k]` lies, or a vector `[n]` as `[1, n]`. Fails where there is no such tensor,
    /// or one of another shape.
    pub(crate) fn place(&self, name: &str, [n, k]: [usize; 2]) -> Result<Place<'_>, ModelError> {
        let missing = || ModelError::MissingTensor { name: name.to_owned() };
        let tensor = self.directory.tensors.get(name).ok_or_else(missing)?;
        let mut found: Vec<usize> = tensor.dimensions.iter().rev().copied().collect();
        if found.len() == 1 {
            found.insert(0, 1);
        }
        if found != [n, k] {
            let (name, expected) = (name.to_owned(), vec![n, k]);
            return Err(ModelError::TensorShape { name, found, expected });
        }
        Ok(Place { file: &self.file, bytes: tensor.bytes.clone(), format: tensor.format })
    }
}

impl Directory {
    /// Fails with the reason, in words.
    fn read(bytes: &[u8]) -> Result<Directory, String> {
        let mut reader = Reader::new(bytes);
        if reader.take(4, "the file's first bytes")? != b"GGUF" {
            return Err("it does not begin with GGUF".to_owned());
        }
        let version = reader.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(format!("GGUF version {version}; versions 2 and 3 are read"));
        }
        // A tensor takes 24 bytes at least, a key 13.
        let tensors = reader.count("the number of tensors", 24)?;
        let keys = reader.count("the number of keys", 13)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..keys {
            let key = reader.string("a key")?;
            let value = Value::read(&mut reader, &key)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(format!("key `{key}` is there twice"));
            }
        }
        let mut heads = BTreeMap::new();
        for _ in 0..tensors {
            let name = reader.string("a tensor's name")?;
            let head = Head::read(&mut reader, &name)?;
            if heads.insert(name.clone(), head).is_some() {
                return Err(format!("tensor `{name}` is there twice"));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(value) => match value.as_usize() {
                Some(alignment) if alignment.is_power_of_two() && alignment <= 1 << 20 => alignment,
                _ => return Err(format!("key `general.alignment` is {value:?}")),
            },
        };
        let start = reader.at().next_multiple_of(alignment);
        let place = |(name, head): (String, Head)| {
            let tensor = head.place(&name, start, alignment, bytes.len())?;
            Ok((name, tensor))
        };
        let tensors = heads.into_iter().map(place).collect::<Result<_, String>>()?;
        Ok(Directory { metadata, tensors })
    }
}

/// A tensor as the directory has it.
struct Head {
    dimensions: Vec<usize>,
    kind: u32,
    offset: u64,
}

impl Head {
    fn read(reader: &mut Reader, name: &str) -> Result<Head, String> {
        let what = format!("tensor `{name}`");
        let count = reader.u32(&what)? as usize;
        if !(1..=MOST_DIMENSIONS).contains(&count) {
            return Err(format!("{what} has {count} dimensions"));
        }
        let dimension = |_| {
            let size = reader.u64(&what)?;
            usize::try_from(size).map_err(|_| format!("{what} has a dimension of {size}"))
        };
        let dimensions = (0..count).map(dimension).collect::<Result<_, String>>()?;
        Ok(Head { dimensions, kind: reader.u32(&what)?, offset: reader.u64(&what)? })
    }

    /// Where its bytes lie, in a file of `size` bytes whose tensors begin at `start`.
    fn place(
        self,
        name: &str,
        start: usize,
        alignment: usize,
        size: usize,
    ) -> Result<Tensor, String> {
        let Head { dimensions, kind, offset } = self;
        let format = format(kind).ok_or_else(|| {
            format!("tensor `{name}` is of type {kind}; F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K and Q6_K are read")
        })?;
        let wrong = || {
            format!("tensor `{name}`, {dimensions:?} of {format:?} at {offset}, is not in the file")
        };
        let rows = dimensions[1..].iter().try_fold(1usize, |rows, &size| rows.checked_mul(size));
        let length = format.row_bytes(dimensions[0]).zip(rows);
        let length = length.and_then(|(row, rows)| row.checked_mul(rows)).ok_or_else(wrong)?;
        let first = usize::try_from(offset).ok().and_then(|offset| start.checked_add(offset));
        let end = first.and_then(|first| first.checked_add(length));
        match first.zip(end) {
            Some((first, end)) if end <= size && first.is_multiple_of(alignment) => {
                Ok(Tensor { dimensions, format, bytes: first..end })
            }
            _ => Err(wrong()),
        }
    }
}

/// The types of ggml that kernels know.
fn format(kind: u32) -> Option<Format> {
    Some(match kind {
        0 => Format::F32,
        1 => Format::F16,
        2 => Format::Q4_0,
        8 => Format::Q8_0,
        12 => Format::Q4K,
        13 => Format::Q5K,
        14 => Format::Q6K,
        30 => Format::Bf16,
        _ => return None,
    })
}

/// Reads the directory of any bytes, for fuzzers: fails with the reason, in words.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    Directory::read(bytes).map(drop)
}

#[cfg(test)]
mod tests;
