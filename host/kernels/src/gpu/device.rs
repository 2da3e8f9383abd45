//! The contract between models and hardware, as GPUs fulfil it: each kernel's own `gpu.rs` does it.

use super::{GpuBuffer, GpuDevice, GpuPacking, Storage, Use, to_f16};
use crate::device::{Device, EmbeddingTables, KernelError, LinearWeights, NormWeights};
use crate::{Epilogue, Pooling, Sequences};
use crate::{attention, embedding, layer_norm, linear, maxsim, pool};

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
