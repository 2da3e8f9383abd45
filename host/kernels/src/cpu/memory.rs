//! Matrices whose memory is used again: a forward pass takes and drops dozens of megabytes, and
//! fresh pages from the system would cost as much as the smaller kernels.

use std::sync::{Arc, Mutex, PoisonError};

/// Memory kept for later, in f32. More than this is given back to the system.
const KEEP: usize = 128 << 20;

/// Dropped matrices' memory.
#[derive(Default)]
pub(super) struct Memory {
    free: Mutex<Vec<Vec<f32>>>,
}

impl Memory {
    /// The smallest free block that holds `length` without waste of more than half of it.
    fn take(&self, length: usize) -> Vec<f32> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |block: &Vec<f32>| (length..=2 * length + 4096).contains(&block.capacity());
        let best = (0..free.len()).filter(|&i| fits(&free[i])).min_by_key(|&i| free[i].capacity());
        let Some(best) = best else {
            return vec![0.0; length];
        };
        let mut block = free.swap_remove(best);
        drop(free);
        block.resize(length, 0.0);
        block
    }

    fn give(&self, block: Vec<f32>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(block);
        // The oldest go first: they are of sizes that are no longer asked for.
        let mut kept: usize = free.iter().map(Vec::capacity).sum();
        while kept > KEEP && !free.is_empty() {
            kept -= free.remove(0).capacity();
        }
    }
}

/// An f32 matrix `[rows, columns]`, row-major, in the CPU's memory.
pub struct CpuBuffer {
    rows: usize,
    columns: usize,
    data: Vec<f32>,
    memory: Arc<Memory>,
}

impl CpuBuffer {
    pub(super) fn take(memory: &Arc<Memory>, rows: usize, columns: usize) -> CpuBuffer {
        CpuBuffer { rows, columns, data: memory.take(rows * columns), memory: memory.clone() }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// `[rows, columns]`.
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// All values, row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Exchanges all values for others, whose memory is then kept for later.
    pub(super) fn swap(&mut self, numbers: &mut Vec<f32>) {
        (self.rows, self.columns) = (1, numbers.len());
        std::mem::swap(&mut self.data, numbers);
    }

    /// The same memory for numbers of another type.
    pub(crate) fn numbers_mut<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.data)
    }

    /// The same memory for words of another meaning.
    pub(crate) fn words(&self) -> &[u32] {
        bytemuck::cast_slice(&self.data)
    }

    pub(crate) fn words_mut(&mut self) -> &mut [u32] {
        bytemuck::cast_slice_mut(&mut self.data)
    }
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        self.memory.give(std::mem::take(&mut self.data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_bounded() {
        let memory = Arc::<Memory>::default();
        let first = CpuBuffer::take(&memory, 100, 100);
        let at = first.data().as_ptr();
        drop(first);
        let second = CpuBuffer::take(&memory, 99, 100);
        assert_eq!((second.data().as_ptr(), second.data().len()), (at, 9900));
        drop(second);
        let mut third = CpuBuffer::take(&memory, 100, 100);
        third.data_mut().fill(3.0);
        let mut numbers = vec![1.0; 2];
        third.swap(&mut numbers);
        assert_eq!((third.shape(), numbers.len(), numbers[9999]), ([1, 2], 10_000, 3.0));
        drop(third);
        for _ in 0..8 {
            memory.give(Vec::with_capacity(KEEP / 4));
        }
        let free = memory.free.lock().unwrap();
        assert!(free.iter().map(Vec::capacity).sum::<usize>() <= KEEP);
        assert!(!free.is_empty());
    }
}
