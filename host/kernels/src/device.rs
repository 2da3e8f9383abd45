//! The contract between models and the hardware that runs them.

use crate::{Epilogue, Pooling, Precision, Sequences, Shared};

/// What a kernel or a device refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// Operands that do not fit together.
    #[error("{kernel}: {reason}")]
    Shape {
        /// The kernel that was called.
        kernel: &'static str,
        /// What did not fit, with the numbers.
        reason: String,
    },
    /// The device could not be started or has failed.
    #[error("device: {0}")]
    Device(String),
    /// The device's memory does not hold what was asked of it.
    #[error(
        "the device has no room for {} more: {} of {} are taken; use a smaller model, fewer \
         models, or another device", mib(*needed), mib(*used), mib(*budget)
    )]
    Memory {
        /// Bytes asked for.
        needed: u64,
        /// Bytes taken.
        used: u64,
        /// Bytes there are.
        budget: u64,
    },
    /// The driver has taken the device away; one opened anew may work.
    #[error("the device was lost: {0}")]
    Lost(String),
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

impl KernelError {
    /// Operands of `kernel` that do not fit together.
    pub fn shape(kernel: &'static str, reason: impl Into<String>) -> KernelError {
        KernelError::Shape { kernel, reason: reason.into() }
    }
}

/// A matrix product's weights on the host: `weight` is `[n, k]` row-major, as PyTorch's
/// `nn.Linear` stores it.
#[derive(Clone, Copy, Debug)]
pub struct LinearWeights<'a> {
    /// `[n, k]`.
    pub weight: &'a [f32],
    /// `[n]`.
    pub bias: &'a [f32],
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
}

/// Layer normalisation's weights on the host.
#[derive(Clone, Copy, Debug)]
pub struct NormWeights<'a> {
    /// Scale, `[h]`.
    pub gamma: &'a [f32],
    /// Shift, `[h]`.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// The three embedding tables of BERT on the host, each `[rows, h]` row-major.
#[derive(Clone, Debug)]
pub struct EmbeddingTables<'a> {
    /// `[vocabulary, h]`.
    pub words: Shared<f32>,
    /// `[positions, h]`.
    pub positions: Shared<f32>,
    /// `[token types, h]`.
    pub types: Shared<f32>,
    /// The layer normalisation of their sum; its length is `h`.
    pub norm: NormWeights<'a>,
}

/// A feed-forward network's weights on a device, and of the normalisation after it.
pub struct FeedForward<'a, D: Device + ?Sized> {
    /// `[wide, h]`.
    pub up: &'a D::Linear,
    /// `[h, wide]`.
    pub down: &'a D::Linear,
    /// `[h]`.
    pub norm: &'a D::Norm,
}

/// Something that holds matrices and runs kernels on them.
///
/// Weights are uploaded once, buffers stay on the device between kernels, and only
/// [`Device::download`] waits. All values are f32 at this boundary; a device may keep weights in
/// another type if its results stay within the tolerances of the parity tests. The numbers each
/// kernel computes are stated in the kernel's own module.
pub trait Device: Sync {
    /// An f32 matrix `[rows, columns]` on the device.
    type Buffer: Send + Sync;
    /// Token, position or segment ids on the device.
    type Ids: Send + Sync;
    /// [`Sequences`] on the device.
    type Packing: Send + Sync;
    /// Prepared [`EmbeddingTables`].
    type Embedding: Send + Sync;
    /// Prepared [`LinearWeights`].
    type Linear: Send + Sync;
    /// Prepared [`NormWeights`].
    type Norm: Send + Sync;

    /// The device in words, for logs.
    fn name(&self) -> String;

    /// Runs `work` where the device likes its callers to be: one call around a whole forward
    /// pass saves it a hand-over per kernel. Kernels called outside work too.
    fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// How many passes it likes to compute side by side, rather than one that is as large as all.
    fn lanes(&self) -> usize {
        1
    }

    /// Runs `run` on each part, each with the device as that part should use it.
    fn side_by_side<T: Send, R: Send>(
        &self,
        parts: Vec<T>,
        run: impl Fn(&Self, T) -> R + Sync,
    ) -> Vec<R> {
        parts.into_iter().map(|part| run(self, part)).collect()
    }

    /// The same device, multiplying in other numbers; `None` where it has no choice of them.
    fn multiplying_in(&self, _precision: Precision) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// How a prepared matrix lies in the host's memory, as a part of a file's name: another layout
    /// has another. `None` where it does not lie there.
    fn layout(&self) -> Option<String> {
        None
    }

    /// The words of a prepared matrix, for [`Device::restore_linear`] on a device of the same
    /// layout; none where there is no layout.
    fn words<'a>(&self, _weights: &'a Self::Linear) -> &'a [u32] {
        &[]
    }

    /// The matrix `[n, k]` that [`Device::words`] gave, with its bias `[n]`. Refuses another
    /// number of words or biases than such a matrix has.
    fn restore_linear(
        &self,
        _words: Shared<u32>,
        _bias: &[f32],
        _shape: [usize; 2],
    ) -> Result<Self::Linear, KernelError> {
        Err(KernelError::Device("it keeps no matrices on the host".to_owned()))
    }

    /// Prepares embedding tables; refuses tables that are not whole rows of `h`.
    fn prepare_embedding(&self, tables: EmbeddingTables) -> Result<Self::Embedding, KernelError>;
    /// Prepares a matrix; refuses lengths other than `n * k` and `n`.
    fn prepare_linear(&self, weights: LinearWeights) -> Result<Self::Linear, KernelError>;
    /// Prepares a normalisation; refuses `gamma` and `beta` of different lengths.
    fn prepare_norm(&self, weights: NormWeights) -> Result<Self::Norm, KernelError>;

    /// Uploads `[rows, columns]` row-major.
    fn upload(
        &self,
        rows: usize,
        columns: usize,
        data: &[f32],
    ) -> Result<Self::Buffer, KernelError>;
    /// Uploads ids.
    fn upload_ids(&self, ids: &[u32]) -> Result<Self::Ids, KernelError>;
    /// Uploads where sequences begin.
    fn upload_sequences(&self, sequences: &Sequences) -> Result<Self::Packing, KernelError>;
    /// Waits for a buffer and reads it, row-major.
    fn download(&self, buffer: &Self::Buffer) -> Result<Vec<f32>, KernelError>;
    /// Waits for a buffer and makes `numbers` what it holds, row-major. A device may take the memory that
    /// they had before for another buffer.
    fn take_out(&self, buffer: Self::Buffer, numbers: &mut Vec<f32>) -> Result<(), KernelError> {
        *numbers = self.download(&buffer)?;
        Ok(())
    }
    /// Waits once for several buffers and reads each.
    fn download_all(&self, buffers: &[&Self::Buffer]) -> Result<Vec<Vec<f32>>, KernelError> {
        buffers.iter().map(|buffer| self.download(buffer)).collect()
    }

    /// Rows of `columns` elements that one buffer holds at most.
    fn rows_at_most(&self, columns: usize) -> usize {
        usize::MAX / columns.max(1)
    }

    /// See [`crate::embedding`]: three ids a token -> `[tokens, h]`.
    fn embedding(
        &self,
        tables: &Self::Embedding,
        words: &Self::Ids,
        positions: &Self::Ids,
        types: &Self::Ids,
    ) -> Result<Self::Buffer, KernelError>;

    /// See [`crate::linear`]: `x` `[m, k]` -> `[m, n]`.
    fn linear(
        &self,
        x: &Self::Buffer,
        weights: &Self::Linear,
        epilogue: Epilogue<&Self::Buffer>,
    ) -> Result<Self::Buffer, KernelError>;

    /// A product of few outputs, such as a classifier's, that keeps f32 whatever matrices are
    /// stored in: `x` `[m, k]` -> `[m, n]`.
    fn head(&self, x: &Self::Buffer, weights: &Self::Linear) -> Result<Self::Buffer, KernelError> {
        self.linear(x, weights, Epilogue::None)
    }

    /// See [`crate::attention`]: `qkv` `[tokens, 3 h]` -> `[tokens, h]`.
    fn attention(
        &self,
        qkv: &Self::Buffer,
        sequences: &Self::Packing,
        heads: usize,
    ) -> Result<Self::Buffer, KernelError>;

    /// See [`crate::layer_norm`]: `[m, h]` -> `[m, h]`.
    fn layer_norm(
        &self,
        x: &Self::Buffer,
        residual: Option<&Self::Buffer>,
        norm: &Self::Norm,
    ) -> Result<Self::Buffer, KernelError>;

    /// See [`crate::pool`]: `[tokens, h]` -> `[sequences, h]`.
    fn pool(
        &self,
        x: &Self::Buffer,
        sequences: &Self::Packing,
        pooling: Pooling,
        normalize: bool,
    ) -> Result<Self::Buffer, KernelError>;

    /// See [`crate::maxsim`]: `(query sequence, passage sequence)` pairs -> `[pairs, 1]`.
    fn maxsim(
        &self,
        x: &Self::Buffer,
        sequences: &Self::Packing,
        pairs: &[(u32, u32)],
    ) -> Result<Self::Buffer, KernelError>;

    /// [`Device::linear`] of `x` `[m, k]` plus a residual `[m, n]`, then [`Device::layer_norm`]
    /// -> `[m, n]`. A device may do both at once; so for the others below.
    fn linear_norm(
        &self,
        x: &Self::Buffer,
        weights: &Self::Linear,
        residual: &Self::Buffer,
        norm: &Self::Norm,
    ) -> Result<Self::Buffer, KernelError> {
        let sum = self.linear(x, weights, Epilogue::Residual(residual))?;
        self.layer_norm(&sum, None, norm)
    }

    /// What follows attention in a transformer's layer (Vaswani et al. 2017, section 3.1):
    /// [`Device::linear_norm`] of its context `[m, h]` plus `x` `[m, h]`, then [`Device::feed_forward`]
    /// -> `[m, h]`.
    fn attended(
        &self,
        context: &Self::Buffer,
        x: &Self::Buffer,
        attention: (&Self::Linear, &Self::Norm),
        feed_forward: FeedForward<Self>,
    ) -> Result<Self::Buffer, KernelError> {
        let x = self.linear_norm(context, attention.0, x, attention.1)?;
        self.feed_forward(&x, feed_forward)
    }

    /// The feed-forward network of a transformer's layer (Vaswani et al. 2017, section 3.3), with
    /// GELU: `norm(x + down(gelu(up(x))))`, `[m, h]` -> `[m, h]`.
    fn feed_forward(
        &self,
        x: &Self::Buffer,
        weights: FeedForward<Self>,
    ) -> Result<Self::Buffer, KernelError> {
        let wide = self.linear(x, weights.up, Epilogue::Gelu)?;
        self.linear_norm(&wide, weights.down, x, weights.norm)
    }

    /// [`Device::linear`] to queries, keys and values, then [`Device::attention`]:
    /// `x` `[tokens, k]` -> `[tokens, h]`.
    fn self_attention(
        &self,
        x: &Self::Buffer,
        query_key_value: &Self::Linear,
        sequences: &Self::Packing,
        heads: usize,
    ) -> Result<Self::Buffer, KernelError> {
        let qkv = self.linear(x, query_key_value, Epilogue::None)?;
        self.attention(&qkv, sequences, heads)
    }

    /// The first row of each sequence of [`Device::self_attention`], for a last layer of which
    /// nothing else is wanted: `x` `[tokens, k]` -> `[sequences, h]`, zeros of an empty sequence.
    fn first_attention(
        &self,
        x: &Self::Buffer,
        query_key_value: &Self::Linear,
        sequences: &Self::Packing,
        heads: usize,
    ) -> Result<Self::Buffer, KernelError> {
        let context = self.self_attention(x, query_key_value, sequences, heads)?;
        self.pool(&context, sequences, Pooling::Cls, false)
    }
}
