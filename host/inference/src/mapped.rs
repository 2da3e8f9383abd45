//! Parts of files mapped into memory.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use bytemuck::AnyBitPattern;
use memmap2::Mmap;
use trine_kernels::Shared;

/// A file mapped whole, to be read only. Clones share the map.
#[derive(Clone)]
pub(crate) struct Mapped(Arc<Mmap>);

impl Mapped {
    /// Maps a file. Its pages are read when they are used, and belong to all processes that map it.
    pub(crate) fn new(file: &File) -> io::Result<Mapped> {
        // SAFETY: the map is read-only and outlives every slice of it, which `Numbers` sees to. What
        // is read are plain numbers, of which every bit pattern is one, and no number decides what
        // memory is read; so a file that another process writes to gives other numbers at worst.
        // One that is cut short ends this process when a missing page is read. Weights are replaced
        // by renaming, as every loader that maps them asks for, and a map then keeps the old file.
        let map = unsafe { Mmap::map(file)? };
        Ok(Mapped(Arc::new(map)))
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Some bytes as numbers. `None` where they do not lie in the file, or not as such numbers must.
    pub(crate) fn numbers<T: AnyBitPattern + Send + Sync>(
        &self,
        bytes: Range<usize>,
    ) -> Option<Shared<T>> {
        bytemuck::try_cast_slice::<u8, T>(self.bytes().get(bytes.clone())?).ok()?;
        Some(Shared::new(Numbers { map: self.clone(), bytes, of: PhantomData::<fn() -> T> }))
    }
}

/// Numbers in a map, which they keep.
struct Numbers<T> {
    map: Mapped,
    bytes: Range<usize>,
    of: PhantomData<fn() -> T>,
}

impl<T: AnyBitPattern> AsRef<[T]> for Numbers<T> {
    fn as_ref(&self) -> &[T] {
        // Both were checked when this was made.
        bytemuck::cast_slice(&self.map.bytes()[self.bytes.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outlive_the_map_and_a_file_that_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        std::fs::write(&path, [1, 0, 0, 0, 2, 0, 0, 0, 9]).unwrap();
        let map = Mapped::new(&File::open(&path).unwrap()).unwrap();
        let numbers = map.numbers::<u32>(0..8).unwrap();
        assert!(map.numbers::<u32>(1..9).is_none(), "not aligned");
        assert!(map.numbers::<u32>(0..9).is_none(), "no whole numbers");
        assert!(map.numbers::<u32>(8..12).is_none(), "beyond the end");
        drop(map);
        std::fs::write(folder.path().join("other"), [7; 4]).unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        assert_eq!(numbers[..], [1, 2]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(numbers.clone()[..], [1, 2]);
    }
}
