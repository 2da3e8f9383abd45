//! Graphics processors as a device: WGSL kernels through wgpu.
//!
//! A shader lies beside the other halves of its kernel (`*/*.wgsl`); `build.rs` puts a prelude
//! before it, which says what matrices are stored in ([`Storage`]), and has naga check the whole.
//! Every sum is f32. Kernels are recorded and run when a result is asked for: a forward pass is
//! one command buffer and one submission.

mod adapter;
mod memory;
mod recorder;
pub(crate) mod shaders;

use std::fmt;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::device::{Device, EmbeddingTables, KernelError, LinearWeights, NormWeights};
use crate::{Epilogue, Pooling, Sequences};
use crate::{attention, embedding, layer_norm, linear, maxsim, pool};

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
    fn open(adapter: &Adapter, options: GpuOptions) -> Result<GpuDevice, KernelError> {
        let (storage, products) = choose(adapter, &options)?;
        let (device, queue) = request(adapter, storage, products)?;
        let info = adapter.raw.get_info();
        let folder = options.pipeline_cache.as_deref();
        let pipelines = shaders::Pipelines::new(device.clone(), &info, folder);
        let memory = Memory::new(device.clone(), options.memory);
        let mut limits = device.limits();
        if let Some(limit) = options.binding_limit {
            let least = limits.max_storage_buffer_binding_size.min(limit);
            limits.max_storage_buffer_binding_size = least;
        }
        let units =
            (products == Products::Cooperative).then(|| linear::Units::of(adapter)).flatten();
        let mut opened = GpuDevice {
            name: String::new(),
            storage,
            units,
            limits,
            memory,
            recorder: Recorder::new(device, queue, pipelines),
        };
        if opened.units.is_some() && !linear::units_hold(&opened)? {
            if options.products.is_some() {
                let reason = "its matrix units give wrong products through this driver";
                return Err(KernelError::Device(format!("{}: {reason}", adapter.name())));
            }
            tracing::warn!(adapter = adapter.name(), "matrix units fail their check; not used");
            opened.units = None;
        }
        opened.name = format!(
            "GPU, {} ({}), {storage}, {}",
            adapter.name(),
            adapter.backend(),
            opened.products()
        );
        Ok(opened)
    }

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

/// What `options` and the adapter make of each other.
fn choose(adapter: &Adapter, options: &GpuOptions) -> Result<(Storage, Products), KernelError> {
    let refuse = |what: &str| Err(KernelError::Device(format!("{} {what}", adapter.name())));
    let best = if adapter.has_f16() { Storage::F16 } else { Storage::F32 };
    let storage = options.storage.unwrap_or(best);
    if storage == Storage::F16 && best == Storage::F32 {
        return refuse("cannot store f16; store f32 (--gpu-storage f32)");
    }
    let units = storage == Storage::F16 && adapter.matrix_units().is_some();
    let best = if units { Products::Cooperative } else { Products::Tiled };
    let products = options.products.unwrap_or(best);
    if products == Products::Cooperative && !units {
        return refuse("lists no matrix units of f16 with f32 sums (8x8 or 16x16)");
    }
    Ok((storage, products))
}

fn request(
    adapter: &Adapter,
    storage: Storage,
    products: Products,
) -> Result<(wgpu::Device, wgpu::Queue), KernelError> {
    use wgpu::Features as F;
    let mut features = F::IMMEDIATES;
    features.set(F::SHADER_F16, storage == Storage::F16);
    features |= adapter.raw.features() & F::PIPELINE_CACHE;
    let mut experimental = wgpu::ExperimentalFeatures::disabled();
    if products == Products::Cooperative {
        features |= F::EXPERIMENTAL_COOPERATIVE_MATRIX;
        // SAFETY: what is experimental is the checking of cooperative-matrix operations. They
        // stand in one shader of ours, in uniform control flow, on memory that its own indices
        // keep to; `linear::units_hold` compares a product before any is used.
        experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    let missing = features - adapter.raw.features();
    if !missing.is_empty() {
        return Err(KernelError::Device(format!("{} lacks {missing:?}", adapter.name())));
    }
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("trine"),
        required_features: features,
        required_limits: adapter.raw.limits(),
        experimental_features: experimental,
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    };
    pollster::block_on(adapter.raw.request_device(&descriptor))
        .map_err(|e| KernelError::Device(format!("{}: {e}", adapter.name())))
}

impl Device for GpuDevice {
    type Buffer = GpuBuffer;
    type Ids = Vec<u32>;
    type Packing = GpuPacking;
    type Embedding = embedding::GpuTables;
    type Linear = linear::GpuWeights;
    type Norm = layer_norm::GpuNorm;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn prepare_embedding(&self, tables: EmbeddingTables) -> Result<Self::Embedding, KernelError> {
        embedding::GpuTables::new(self, tables)
    }

    fn prepare_linear(&self, weights: LinearWeights) -> Result<Self::Linear, KernelError> {
        linear::GpuWeights::new(self, weights)
    }

    fn prepare_norm(&self, weights: NormWeights) -> Result<Self::Norm, KernelError> {
        layer_norm::GpuNorm::new(self, weights)
    }

    fn upload(&self, rows: usize, columns: usize, data: &[f32]) -> Result<GpuBuffer, KernelError> {
        if rows.checked_mul(columns) != Some(data.len()) {
            let reason = format!("{} values cannot be [{rows}, {columns}]", data.len());
            return Err(KernelError::shape("upload", reason));
        }
        let block = match self.storage {
            Storage::F32 => self.send(bytemuck::cast_slice(data))?,
            Storage::F16 => self.send(bytemuck::cast_slice(&to_f16(data)))?,
        };
        Ok(GpuBuffer { block, rows, columns, storage: self.storage })
    }

    fn upload_ids(&self, ids: &[u32]) -> Result<Self::Ids, KernelError> {
        // They are checked against their tables, and sent, when they are used.
        Ok(ids.to_vec())
    }

    fn upload_sequences(&self, sequences: &Sequences) -> Result<GpuPacking, KernelError> {
        let blocks = attention::query_blocks(sequences);
        Ok(GpuPacking {
            sequences: sequences.clone(),
            starts: self.send(bytemuck::cast_slice(sequences.starts()))?,
            blocks: self.send(bytemuck::cast_slice(&blocks))?,
            block_count: blocks.len(),
        })
    }

    fn download(&self, buffer: &GpuBuffer) -> Result<Vec<f32>, KernelError> {
        Ok(self.download_all(&[buffer])?.pop().unwrap_or_default())
    }

    fn download_all(&self, buffers: &[&GpuBuffer]) -> Result<Vec<Vec<f32>>, KernelError> {
        let readback = |buffer: &&GpuBuffer| self.take(Use::Readback, buffer.bytes());
        let blocks = buffers.iter().map(readback).collect::<Result<Vec<_>, _>>()?;
        let copies: Vec<_> = buffers
            .iter()
            .zip(blocks)
            .map(|(&buffer, block)| (buffer.buffer(), block, buffer.bytes().max(4)))
            .collect();
        let views = self.recorder.finish(&self.memory, &copies)?;
        let read = views.iter().zip(buffers).map(|(bytes, buffer)| buffer.values(bytes)).collect();
        drop(views);
        copies.iter().for_each(|(_, block, _)| block.buffer().unmap());
        Ok(read)
    }

    fn rows_at_most(&self, columns: usize) -> usize {
        (self.binding_limit() / self.storage.size()) as usize / columns.max(1)
    }

    fn embedding(
        &self,
        tables: &Self::Embedding,
        words: &Self::Ids,
        positions: &Self::Ids,
        types: &Self::Ids,
    ) -> Result<GpuBuffer, KernelError> {
        tables.run(self, words, positions, types)
    }

    fn linear(
        &self,
        x: &GpuBuffer,
        weights: &Self::Linear,
        epilogue: Epilogue<&GpuBuffer>,
    ) -> Result<GpuBuffer, KernelError> {
        weights.run(self, x, epilogue)
    }

    fn head(&self, x: &GpuBuffer, weights: &Self::Linear) -> Result<GpuBuffer, KernelError> {
        weights.head(self, x)
    }

    fn attention(
        &self,
        qkv: &GpuBuffer,
        sequences: &GpuPacking,
        heads: usize,
    ) -> Result<GpuBuffer, KernelError> {
        attention::run_on_gpu(self, qkv, sequences, heads)
    }

    fn layer_norm(
        &self,
        x: &GpuBuffer,
        residual: Option<&GpuBuffer>,
        norm: &Self::Norm,
    ) -> Result<GpuBuffer, KernelError> {
        norm.run(self, x, residual)
    }

    fn pool(
        &self,
        x: &GpuBuffer,
        sequences: &GpuPacking,
        pooling: Pooling,
        normalize: bool,
    ) -> Result<GpuBuffer, KernelError> {
        pool::run_on_gpu(self, x, sequences, pooling, normalize)
    }

    fn maxsim(
        &self,
        x: &GpuBuffer,
        sequences: &GpuPacking,
        pairs: &[(u32, u32)],
    ) -> Result<GpuBuffer, KernelError> {
        maxsim::run_on_gpu(self, x, sequences, pairs)
    }
}
