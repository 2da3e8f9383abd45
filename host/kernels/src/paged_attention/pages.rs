//! A cache of keys and values in pages, in the CPU's memory.

use half::f16;

use super::PAGE;
use crate::KernelError;
use crate::cpu::{PANEL, Stored};
use crate::rotary::Heads;

/// The numbers that keys and values are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageNumbers {
    /// Nothing is rounded.
    F32,
    /// Rounded to half precision: half the memory, 11 bits.
    F16,
}

impl PageNumbers {
    /// Bytes of a number.
    pub(crate) fn size(self) -> usize {
        match self {
            PageNumbers::F32 => 4,
            PageNumbers::F16 => 2,
        }
    }
}

/// A cache's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagesShape {
    /// Layers, each with keys and values of its own.
    pub layers: usize,
    /// Pages of [`PAGE`] tokens.
    pub pages: usize,
    /// Heads of keys and queries.
    pub heads: Heads,
    /// What a CPU keeps; a GPU keeps what its matrices are stored in.
    pub numbers: PageNumbers,
}

impl PagesShape {
    /// Numbers of a head's keys in a page, and of its keys and values. Keys are `[width, PAGE]`, so
    /// that a page of them is a panel; values are panels too, `[PAGE, 32]` each.
    pub(super) fn page_numbers(self) -> (usize, usize) {
        let keys = self.heads.width * PAGE;
        (keys, keys + self.heads.width.next_multiple_of(PANEL) * PAGE)
    }

    /// Bytes of a page in all layers, where a number has `size`; saturates.
    pub fn page_bytes(self, size: usize) -> usize {
        let a_head = self.page_numbers().1.saturating_mul(size);
        a_head.saturating_mul(self.heads.keys).saturating_mul(self.layers)
    }

    /// Refuses a cache of nothing, and one that no machine could hold.
    pub(super) fn check(self) -> Result<(), KernelError> {
        let sizes = [self.layers, self.pages, self.heads.columns().unwrap_or(0)];
        let bytes = self.page_bytes(4).checked_mul(self.pages);
        if sizes.contains(&0) || bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(KernelError::shape("paged_attention", format!("a cache of {self:?}")));
        }
        Ok(())
    }
}

/// Keys and values of all layers: each layer is `[heads, pages, keys and values of a page]`.
pub struct CpuPages {
    pub(super) shape: PagesShape,
    pub(super) layers: Layers,
}

pub(super) enum Layers {
    F32(Vec<Vec<f32>>),
    F16(Vec<Vec<f16>>),
}

impl CpuPages {
    pub(crate) fn new(shape: PagesShape) -> Result<CpuPages, KernelError> {
        shape.check()?;
        let layers = match shape.numbers {
            PageNumbers::F32 => Layers::F32(layers(shape)?),
            PageNumbers::F16 => Layers::F16(layers(shape)?),
        };
        Ok(CpuPages { shape, layers })
    }

    pub(crate) fn copy(&mut self, from: u32, to: u32) -> Result<(), KernelError> {
        let (shape, pages) = (self.shape, [from as usize, to as usize]);
        if pages.iter().any(|&page| page >= shape.pages) {
            let reason = format!("page {from} to {to} of {}", shape.pages);
            return Err(KernelError::shape("paged_attention", reason));
        }
        match &mut self.layers {
            Layers::F32(layers) => layers.iter_mut().for_each(|l| copy(shape, l, pages)),
            Layers::F16(layers) => layers.iter_mut().for_each(|l| copy(shape, l, pages)),
        }
        Ok(())
    }
}

/// Zeros, of which the system gives pages of memory as they are written.
fn layers<T: Stored>(shape: PagesShape) -> Result<Vec<Vec<T>>, KernelError> {
    let count = shape.heads.keys * shape.pages * shape.page_numbers().1;
    let layer = |_| bytemuck::allocation::try_zeroed_vec(count);
    let layers: Result<_, ()> = (0..shape.layers).map(layer).collect();
    let needed = (count * size_of::<T>()).saturating_mul(shape.layers) as u64;
    layers.map_err(|()| KernelError::Memory { needed, used: 0, budget: 0 })
}

fn copy<T: Stored>(shape: PagesShape, layer: &mut [T], [from, to]: [usize; 2]) {
    let size = shape.page_numbers().1;
    for head in layer.chunks_exact_mut(shape.pages * size) {
        head.copy_within(from * size..(from + 1) * size, to * size);
    }
}
