//! The CPU as a device: rayon, whatever vector instructions the machine has, and a [`Precision`].

mod arithmetic;
mod bf16;
mod blocks;
mod decoding;
mod dot;
mod finish;
mod fused;
mod gelu;
mod int8;
mod isa;
mod math;
mod matrix;
mod memory;
mod panel;
mod precision;
mod softmax;
mod steps;
mod tile;
mod turn;

use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::attention::Queries;
use crate::device::{
    Device, EmbeddingTables, FeedForward, KernelError, LinearWeights, NormWeights,
};
use crate::{Epilogue, Pooling, Sequences, Shared};
use crate::{attention, embedding, layer_norm, linear, maxsim, pool};

pub(crate) use arithmetic::{Arithmetic, Rows};
pub(crate) use bf16::{Bf16, Number};
pub(crate) use blocks::BLOCK_TILE_ROWS;
pub(crate) use finish::{Finish, Places, Step};
pub(crate) use gelu::{gelu, gelu_rough};
pub(crate) use int8::{MOST_INPUTS, WholeNumbers};
pub use isa::Isa;
pub(crate) use math::{
    dot, exp, exp2_rough, first, map_and_sum, map_and_sum_in_order, max, sum, sum_of_squares,
};
pub(crate) use matrix::{Left, Matrix};
pub use memory::CpuBuffer;
pub(crate) use panel::{Operands, PANEL, PANEL_ROWS, Stored, fetch};
pub use precision::Precision;
pub(crate) use steps::Steps;
pub(crate) use tile::{TILE_COLUMNS_MAX, TILE_ROWS_MAX, Tile, pack_panels, tiles};

/// Counted up whenever prepared matrices come to lie otherwise.
const LAYOUT: u32 = 1;

/// A pool of threads with its own memory. Clones share both.
#[derive(Clone)]
pub struct CpuDevice {
    pub(crate) isa: Isa,
    pub(crate) precision: Precision,
    /// Of everything that is not whole numbers.
    pub(crate) arithmetic: Arithmetic,
    threads: Arc<ThreadPool>,
    /// How many of the threads a kernel may count on; the others are busy beside it.
    pub(crate) share: usize,
    memory: Arc<memory::Memory>,
}

impl CpuDevice {
    /// A device of `threads` threads that computes in f32; 0 takes as many as the machine runs at once.
    /// Refuses when the system gives no threads.
    pub fn new(threads: usize) -> Result<CpuDevice, KernelError> {
        CpuDevice::with_isa(threads, Isa::detect())
    }

    /// As [`CpuDevice::new`], with vector instructions other than the best; tests compare them.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<CpuDevice, KernelError> {
        let threads = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("trine-cpu-{index}"))
            .build()
            .map_err(|e| KernelError::Device(format!("cannot start threads: {e}")))?;
        let precision = Precision::F32;
        let arithmetic = Arithmetic::new(isa, precision);
        let share = threads.current_num_threads();
        Ok(CpuDevice {
            isa,
            precision,
            arithmetic,
            share,
            threads: Arc::new(threads),
            memory: Arc::default(),
        })
    }

    /// As [`CpuDevice::new`], multiplying in other numbers.
    pub fn with_precision(threads: usize, precision: Precision) -> Result<CpuDevice, KernelError> {
        Ok(CpuDevice::new(threads)?.at(precision))
    }

    /// The same device, multiplying in other numbers. Matrices prepared before keep theirs.
    pub fn at(self, precision: Precision) -> CpuDevice {
        let arithmetic = Arithmetic::new(self.isa, precision);
        CpuDevice { precision, arithmetic, ..self }
    }

    /// The numbers in which it multiplies.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// A matrix to be overwritten whole: what it holds is unspecified.
    pub(crate) fn take(&self, rows: usize, columns: usize) -> CpuBuffer {
        CpuBuffer::take(&self.memory, rows, columns)
    }

    /// Memory for `count` numbers, to be overwritten whole.
    pub(crate) fn take_numbers<T: Number>(&self, count: usize) -> CpuBuffer {
        self.take(1, (count * size_of::<T>()).div_ceil(size_of::<f32>()))
    }
}

impl Device for CpuDevice {
    type Buffer = CpuBuffer;
    type Ids = Vec<u32>;
    type Packing = Sequences;
    type Embedding = embedding::Prepared;
    type Linear = linear::Prepared;
    type Norm = layer_norm::Prepared;

    fn name(&self) -> String {
        let (threads, precision) = (self.threads(), self.precision.name());
        format!("CPU, {threads} threads, {}, {precision}", self.isa.name())
    }

    fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.install(work)
    }

    /// A thread a lane: whole passes side by side meet once, kernels spread over the threads at
    /// the end of each.
    fn lanes(&self) -> usize {
        self.threads()
    }

    fn side_by_side<T: Send, R: Send>(
        &self,
        parts: Vec<T>,
        run: impl Fn(&Self, T) -> R + Sync,
    ) -> Vec<R> {
        let share = (self.share / parts.len().max(1)).max(1);
        let lane = CpuDevice { share, ..self.clone() };
        let run = |part| run(&lane, part);
        self.enter(|| parts.into_par_iter().with_max_len(1).map(run).collect())
    }

    fn multiplying_in(&self, precision: Precision) -> Option<CpuDevice> {
        Some(self.clone().at(precision))
    }

    fn layout(&self) -> Option<String> {
        let columns = self.isa.tile().columns;
        let numbers = match self.precision {
            Precision::Int8 => int8::layout(self.isa),
            Precision::F32 | Precision::Bf16 => self.arithmetic.layout(),
        };
        Some(format!("{LAYOUT}-{numbers}-{columns}"))
    }

    fn words<'a>(&self, weights: &'a Self::Linear) -> &'a [u32] {
        weights.words()
    }

    fn restore_linear(
        &self,
        words: Shared<u32>,
        bias: &[f32],
        shape: [usize; 2],
    ) -> Result<Self::Linear, KernelError> {
        linear::Prepared::restore(self, words, bias, shape)
    }

    fn prepare_embedding(&self, tables: EmbeddingTables) -> Result<Self::Embedding, KernelError> {
        embedding::Prepared::new(tables)
    }

    fn prepare_linear(&self, weights: LinearWeights) -> Result<Self::Linear, KernelError> {
        linear::Prepared::new(self, weights)
    }

    fn prepare_norm(&self, weights: NormWeights) -> Result<Self::Norm, KernelError> {
        layer_norm::Prepared::new(weights)
    }

    fn upload(
        &self,
        rows: usize,
        columns: usize,
        data: &[f32],
    ) -> Result<Self::Buffer, KernelError> {
        if rows.checked_mul(columns) != Some(data.len()) {
            let reason = format!("{} values cannot be [{rows}, {columns}]", data.len());
            return Err(KernelError::shape("upload", reason));
        }
        let mut buffer = self.take(rows, columns);
        buffer.data_mut().copy_from_slice(data);
        Ok(buffer)
    }

    fn upload_ids(&self, ids: &[u32]) -> Result<Self::Ids, KernelError> {
        Ok(ids.to_vec())
    }

    fn upload_sequences(&self, sequences: &Sequences) -> Result<Self::Packing, KernelError> {
        Ok(sequences.clone())
    }

    fn download(&self, buffer: &Self::Buffer) -> Result<Vec<f32>, KernelError> {
        Ok(buffer.data().to_vec())
    }

    fn take_out(
        &self,
        mut buffer: Self::Buffer,
        numbers: &mut Vec<f32>,
    ) -> Result<(), KernelError> {
        buffer.swap(numbers);
        Ok(())
    }

    fn embedding(
        &self,
        tables: &Self::Embedding,
        words: &Self::Ids,
        positions: &Self::Ids,
        types: &Self::Ids,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| embedding::run(self, tables, words, positions, types))
    }

    fn linear(
        &self,
        x: &Self::Buffer,
        weights: &Self::Linear,
        epilogue: Epilogue<&Self::Buffer>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| linear::run(self, x, weights, epilogue))
    }

    fn attention(
        &self,
        qkv: &Self::Buffer,
        sequences: &Self::Packing,
        heads: usize,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| attention::run(self, qkv, sequences, heads, Queries::All))
    }

    fn layer_norm(
        &self,
        x: &Self::Buffer,
        residual: Option<&Self::Buffer>,
        norm: &Self::Norm,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| layer_norm::run(self, x, residual, norm))
    }

    fn pool(
        &self,
        x: &Self::Buffer,
        sequences: &Self::Packing,
        pooling: Pooling,
        normalize: bool,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| pool::run(self, x, sequences, pooling, normalize))
    }

    fn maxsim(
        &self,
        x: &Self::Buffer,
        sequences: &Self::Packing,
        pairs: &[(u32, u32)],
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| maxsim::run(self, x, sequences, pairs))
    }

    fn linear_norm(
        &self,
        x: &Self::Buffer,
        weights: &Self::Linear,
        residual: &Self::Buffer,
        norm: &Self::Norm,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| fused::linear_norm(self, x, weights, residual, norm))
    }

    fn attended(
        &self,
        context: &Self::Buffer,
        x: &Self::Buffer,
        attention: (&Self::Linear, &Self::Norm),
        feed_forward: FeedForward<Self>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| fused::attended(self, context, x, attention, feed_forward))
    }

    fn feed_forward(
        &self,
        x: &Self::Buffer,
        weights: FeedForward<Self>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| fused::feed_forward(self, x, weights))
    }

    fn self_attention(
        &self,
        x: &Self::Buffer,
        query_key_value: &Self::Linear,
        sequences: &Self::Packing,
        heads: usize,
    ) -> Result<Self::Buffer, KernelError> {
        let queries = Queries::All;
        self.enter(|| fused::self_attention(self, x, query_key_value, sequences, heads, queries))
    }

    fn first_attention(
        &self,
        x: &Self::Buffer,
        query_key_value: &Self::Linear,
        sequences: &Self::Packing,
        heads: usize,
    ) -> Result<Self::Buffer, KernelError> {
        let queries = Queries::First;
        self.enter(|| fused::self_attention(self, x, query_key_value, sequences, heads, queries))
    }
}
