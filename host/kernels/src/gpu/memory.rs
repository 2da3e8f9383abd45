//! Buffers on the device: counted against a budget, used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Storage;
use crate::KernelError;

/// All of a device's memory that kernels use.
pub(crate) struct Memory {
    device: wgpu::Device,
    budget: Option<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes of all buffers, free ones included.
    allocated: u64,
    /// Waiting to be used again, by use.
    free: [Vec<wgpu::Buffer>; POOLS],
    /// Filled by the host for commands that have not been submitted: writing them again now would
    /// change what those commands read.
    retired: Vec<wgpu::Buffer>,
}

/// Uses whose buffers are kept.
const POOLS: usize = 3;

/// What a buffer is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Between kernels.
    Work = 0,
    /// From the host to a kernel.
    Upload = 1,
    /// From a kernel to the host.
    Readback = 2,
    /// A model's: given back when the model goes.
    Weights = 3,
}

impl Use {
    fn usages(self) -> wgpu::BufferUsages {
        use wgpu::BufferUsages as U;
        match self {
            Use::Work => U::STORAGE | U::COPY_SRC | U::COPY_DST,
            Use::Upload | Use::Weights => U::STORAGE | U::COPY_DST | U::COPY_SRC,
            Use::Readback => U::MAP_READ | U::COPY_DST,
        }
    }
}

/// A buffer that returns to where it came from when it is dropped.
pub(crate) struct Block {
    buffer: wgpu::Buffer,
    purpose: Use,
    home: Arc<Memory>,
}

impl Block {
    pub(crate) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut state = self.home.lock();
        match self.purpose {
            Use::Weights => state.allocated -= self.buffer.size(),
            Use::Upload => state.retired.push(self.buffer.clone()),
            purpose => state.free[purpose as usize].push(self.buffer.clone()),
        }
    }
}

impl Memory {
    pub(crate) fn new(device: wgpu::Device, budget: Option<u64>) -> Arc<Memory> {
        Arc::new(Memory { device, budget, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in buffers, free ones included.
    pub(crate) fn allocated(&self) -> u64 {
        self.lock().allocated
    }

    /// At least `bytes`, whatever they hold. Refuses what exceeds the budget or the driver's memory.
    pub(crate) fn take(self: &Arc<Memory>, purpose: Use, bytes: u64) -> Result<Block, KernelError> {
        let block = |buffer| Block { buffer, purpose, home: self.clone() };
        let size = size_class(bytes);
        let mut state = self.lock();
        if let Some(buffer) = state.reuse(purpose, size) {
            return Ok(block(buffer));
        }
        if let Some(budget) = self.budget
            && state.allocated.saturating_add(size) > budget
        {
            state.free_unused();
            if state.allocated.saturating_add(size) > budget {
                return Err(KernelError::Memory { needed: size, used: state.allocated, budget });
            }
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: purpose.usages(),
            mapped_at_creation: false,
        });
        if pollster::block_on(scope.pop()).is_some() {
            let used = state.allocated;
            return Err(KernelError::Memory { needed: size, used, budget: used });
        }
        state.allocated += size;
        Ok(block(buffer))
    }

    /// After a submission: what the host had filled may be filled anew.
    pub(crate) fn submitted(&self) {
        let mut state = self.lock();
        let State { free, retired, .. } = &mut *state;
        free[Use::Upload as usize].append(retired);
    }
}

impl State {
    /// The smallest free buffer that holds `size` and is not wasted on it.
    fn reuse(&mut self, purpose: Use, size: u64) -> Option<wgpu::Buffer> {
        let free = self.free.get_mut(purpose as usize)?;
        let fits = |buffer: &wgpu::Buffer| (size..=size * 2).contains(&buffer.size());
        let candidates = free.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let (at, _) = candidates.min_by_key(|(_, buffer)| buffer.size())?;
        Some(free.swap_remove(at))
    }

    fn free_unused(&mut self) {
        for buffer in self.free.iter_mut().flat_map(|free| free.drain(..)) {
            self.allocated -= buffer.size();
        }
    }
}

/// Sizes are rounded up to an eighth of their power of two, so that batches of about the same
/// size use the same buffers.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16))
}

/// A matrix `[rows, columns]` on the device.
pub struct GpuBuffer {
    pub(crate) block: Block,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// What its elements are.
    pub(crate) storage: Storage,
}

impl GpuBuffer {
    /// Bytes of its elements, rounded up to whole words.
    pub(crate) fn bytes(&self) -> u64 {
        (self.rows as u64 * self.columns as u64 * self.storage.size()).next_multiple_of(4)
    }

    pub(crate) fn buffer(&self) -> &wgpu::Buffer {
        self.block.buffer()
    }
}

impl GpuBuffer {
    /// The elements, of bytes that came from the device.
    pub(crate) fn values(&self, bytes: &[u8]) -> Vec<f32> {
        let count = self.rows * self.columns;
        match self.storage {
            // Unaligned reads: nobody promises how a mapping is aligned.
            Storage::F32 => {
                bytes.chunks_exact(4).take(count).map(bytemuck::pod_read_unaligned).collect()
            }
            Storage::F16 => {
                let halves: Vec<half::f16> =
                    bytes.chunks_exact(2).take(count).map(bytemuck::pod_read_unaligned).collect();
                let mut values = vec![0.0; count];
                half::slice::HalfFloatSliceExt::convert_to_f32_slice(&halves[..], &mut values);
                values
            }
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns
    }
}
