//! Graphics processors as a device: WGSL kernels through wgpu.
//!
//! A shader lies beside the other halves of its kernel (`*/*.wgsl`); `build.rs` puts a prelude
//! before it, which says what matrices are stored in ([`Storage`]), and has naga check the whole.
//! Every sum is f32. Kernels are recorded and run when a result is asked for: a forward pass is
//! one command buffer and one submission.

mod adapter;
mod decoding;
mod device;
mod memory;
mod open;
mod recorder;
pub(crate) mod shaders;

use std::fmt;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::device::KernelError;
use crate::{Sequences, linear};

pub use adapter::{Adapter, GpuKind, GpuOptions};
pub use memory::GpuBuffer;
pub(crate) use memory::{Block, Memory, Use};
use recorder::Recorder;
pub(crate) use shaders::Kernel;

/// What matrices on the device are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 4 bytes an element.
    F32 = 0,
    /// 2 bytes an element, magnitudes up to 65504.
    F16 = 1,
}

impl Storage {
    /// Bytes of an element.
    pub fn size(self) -> u64 {
        match self {
            Storage::F32 => 4,
            Storage::F16 => 2,
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Storage::F32 => "f32",
            Storage::F16 => "f16",
        })
    }
}

/// How matrices are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// By each invocation's own arithmetic.
    Tiled,
    /// By a subgroup's matrix units ("tensor cores"), where a product's sizes allow it.
    Cooperative,
}

impl fmt::Display for Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Products::Tiled => "tiled",
            Products::Cooperative => "matrix units",
        })
    }
}

/// An opened adapter.
pub struct GpuDevice {
    name: String,
    pub(crate) storage: Storage,
    /// The matrix units, if they are used.
    pub(crate) units: Option<linear::Units>,
    pub(crate) limits: wgpu::Limits,
    pub(crate) memory: Arc<Memory>,
    pub(crate) recorder: Recorder,
}

/// Sequences on the device, and the blocks of queries that attention makes of them.
pub struct GpuPacking {
    pub(crate) sequences: Sequences,
    pub(crate) starts: Block,
    pub(crate) blocks: Block,
    pub(crate) block_count: usize,
}

impl GpuDevice {
    /// What matrices are stored in.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// How matrices are multiplied, sizes allowing.
    pub fn products(&self) -> Products {
        if self.units.is_some() { Products::Cooperative } else { Products::Tiled }
    }

    /// Bytes that weights and buffers take on the device, buffers waiting for use included.
    pub fn allocated(&self) -> u64 {
        self.memory.allocated()
    }

    /// Runs what is recorded and waits for it.
    pub fn wait(&self) -> Result<(), KernelError> {
        self.recorder.finish(&self.memory, &[]).map(drop)
    }

    /// Bytes a second that the device moves within its memory, read and written counted both, by
    /// `rounds` copies of `bytes` bytes.
    pub fn copy_bandwidth(&self, bytes: u64, rounds: u32) -> Result<f64, KernelError> {
        let bytes = bytes.min(self.binding_limit()) / 4 * 4;
        let (one, other) = (self.take(Use::Work, bytes)?, self.take(Use::Work, bytes)?);
        let copy = |rounds| {
            self.recorder.copy(one.buffer(), other.buffer(), bytes, rounds);
            self.wait()
        };
        copy(1)?;
        let started = std::time::Instant::now();
        copy(rounds)?;
        Ok(2.0 * bytes as f64 * f64::from(rounds) / started.elapsed().as_secs_f64())
    }

    /// Keeps compiled shaders for the next start, in the folder that [`GpuOptions`] named.
    pub fn save_pipelines(&self) {
        self.recorder.save_pipelines();
    }

    /// Gives the device up, as a driver's reset would: whatever follows is
    /// [`KernelError::Lost`].
    pub fn destroy(&self) {
        self.recorder.destroy();
    }

    /// An unwritten matrix of what this device stores.
    pub(crate) fn matrix(&self, rows: usize, columns: usize) -> Result<GpuBuffer, KernelError> {
        self.matrix_of(self.storage, rows, columns)
    }

    /// An unwritten matrix of `storage`. Refuses what is larger than a kernel can see.
    pub(crate) fn matrix_of(
        &self,
        storage: Storage,
        rows: usize,
        columns: usize,
    ) -> Result<GpuBuffer, KernelError> {
        let bytes = (rows as u64).saturating_mul(columns as u64).saturating_mul(storage.size());
        let limit = self.binding_limit();
        if bytes > limit || rows.saturating_mul(columns) > u32::MAX as usize {
            let reason = format!(
                "[{rows}, {columns}] of {storage} is beyond the {limit} bytes \
                 that the adapter lets a kernel see; send fewer tokens at once"
            );
            return Err(KernelError::Device(reason));
        }
        let block = self.take(Use::Work, bytes)?;
        Ok(GpuBuffer { block, rows, columns, storage })
    }

    pub(crate) fn binding_limit(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size)
    }

    fn take(&self, purpose: Use, bytes: u64) -> Result<Block, KernelError> {
        let taken = self.memory.take(purpose, bytes);
        let Err(KernelError::Memory { .. }) = taken else { return taken };
        // Bind groups of another batch's sizes may be what holds the room.
        self.recorder.forget_groups();
        self.memory.take(purpose, bytes)
    }

    /// Bytes for commands that are not submitted yet.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<Block, KernelError> {
        let block = self.take(Use::Upload, bytes.len() as u64)?;
        self.recorder.write(block.buffer(), bytes);
        Ok(block)
    }

    /// A model's numbers as f32.
    pub(crate) fn keep(&self, values: &[f32]) -> Result<Block, KernelError> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let block = self.take(Use::Weights, bytes.len() as u64)?;
        self.recorder.write(block.buffer(), bytes);
        Ok(block)
    }

    /// A model's words as they are.
    pub(crate) fn keep_bytes(&self, bytes: &[u8]) -> Result<Block, KernelError> {
        let block = self.take(Use::Weights, bytes.len() as u64)?;
        self.recorder.write(block.buffer(), bytes);
        Ok(block)
    }

    /// Memory for as long as a model is there.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<Block, KernelError> {
        self.take(Use::Weights, bytes)
    }

    /// A model's numbers as the device stores them. Refuses numbers beyond f16's, where it is
    /// that.
    pub(crate) fn keep_stored(&self, what: &str, values: &[f32]) -> Result<Block, KernelError> {
        if self.storage == Storage::F32 {
            return self.keep(values);
        }
        let largest = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        if largest > f16::MAX.to_f32() && largest.is_finite() {
            let reason =
                format!("{what} of {largest} does not fit f16; store f32 (--gpu-storage f32)");
            return Err(KernelError::Device(reason));
        }
        let halves = to_f16(values);
        let bytes: &[u8] = bytemuck::cast_slice(&halves);
        let block = self.take(Use::Weights, bytes.len() as u64)?;
        self.recorder.write(block.buffer(), bytes);
        Ok(block)
    }

    /// A kernel in this device's storage.
    pub(crate) fn run(
        &self,
        shader: &'static shaders::Shader,
        constants: &[(&'static str, u32)],
        buffers: &[&wgpu::Buffer],
        parameters: &[u32],
        groups: [u32; 2],
    ) {
        let kernel = Kernel { shader, source: self.storage as usize, constants };
        self.recorder.dispatch(kernel, buffers, parameters, groups);
    }

    /// A workgroup for each of `count`, in two dimensions where one does not hold them; the
    /// shaders stop beyond the last.
    pub(crate) fn groups(&self, count: usize) -> [u32; 2] {
        let most = self.limits.max_compute_workgroups_per_dimension as usize;
        let across = count.clamp(1, most);
        [across as u32, count.div_ceil(across) as u32]
    }

    /// Refuses a matrix that is not of what this device stores.
    pub(crate) fn stored(&self, kernel: &'static str, x: &GpuBuffer) -> Result<(), KernelError> {
        if x.storage != self.storage {
            let reason = format!("a matrix of {}, where {} is stored", x.storage, self.storage);
            return Err(KernelError::shape(kernel, reason));
        }
        Ok(())
    }
}

impl Drop for GpuDevice {
    fn drop(&mut self) {
        self.save_pipelines();
    }
}

fn to_f16(values: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    halves
}
