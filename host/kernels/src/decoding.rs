//! What a decoder asks of a device besides: weights as their file has them, and a cache of keys and
//! values in pages.

use crate::block_linear::BlockMatrix;
use crate::paged_attention::{PagedSequences, PagesShape};
use crate::rotary::Heads;
use crate::{Device, KernelError};

/// A device that runs decoders. The numbers each kernel computes are stated in its own module.
pub trait DecoderDevice: Device {
    /// Prepared [`BlockMatrix`]es.
    type Blocks: Send + Sync;
    /// A prepared root-mean-square normalisation.
    type RmsNorm: Send + Sync;
    /// Keys and values of all layers.
    type Pages: Send;
    /// [`PagedSequences`] on the device.
    type Paged: Send + Sync;

    /// Gives the device up, as a driver's reset would: for tests of what follows. A CPU is never lost.
    fn destroy(&self) {}

    /// Runs `work` as [`Device::enter`] does, for kernels that follow each other without a pause.
    fn step<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.enter(work)
    }

    /// Prepares matrices of equal inputs whose outputs follow each other, with a bias of all outputs
    /// if there is one; refuses bytes and biases of other lengths.
    fn prepare_blocks(
        &self,
        parts: &[BlockMatrix],
        bias: Option<&[f32]>,
    ) -> Result<Self::Blocks, KernelError>;

    /// Prepares a normalisation with a scale `[h]`; refuses none.
    fn prepare_rms_norm(&self, scale: &[f32], epsilon: f32) -> Result<Self::RmsNorm, KernelError>;

    /// Pages of a cache of `shape` that `bytes` hold and the device's kernels can see.
    fn pages_within(&self, shape: PagesShape, bytes: usize) -> usize;

    /// Makes a cache, of which nothing is written yet; refuses what there is no memory for.
    fn prepare_pages(&self, shape: PagesShape) -> Result<Self::Pages, KernelError>;

    /// Uploads where sequences lie in the cache.
    fn upload_paged(&self, paged: &PagedSequences) -> Result<Self::Paged, KernelError>;

    /// Copies page `from` over page `to`, of all layers; refuses pages that there are not.
    fn copy_page(&self, pages: &mut Self::Pages, from: u32, to: u32) -> Result<(), KernelError>;

    /// See [`crate::block_linear`]: `x` `[m, k]`, residual `[m, n]` -> `[m, n]`.
    fn block_linear(
        &self,
        x: &Self::Buffer,
        weights: &Self::Blocks,
        residual: Option<&Self::Buffer>,
    ) -> Result<Self::Buffer, KernelError>;

    /// See [`crate::rms_norm`]: `[m, h]` -> `[m, h]`.
    fn rms_norm(&self, x: &Self::Buffer, norm: &Self::RmsNorm)
    -> Result<Self::Buffer, KernelError>;

    /// See [`crate::rotary`]: queries, keys and values `[t, columns of heads]`, `angles`
    /// `[t, width]` -> the same, turned.
    fn rotate(
        &self,
        qkv: Self::Buffer,
        angles: &Self::Buffer,
        heads: Heads,
        norms: Option<[&Self::RmsNorm; 2]>,
    ) -> Result<Self::Buffer, KernelError>;

    /// See [`crate::swiglu`]: `[m, 2 i]` -> `[m, i]`.
    fn swiglu(&self, x: &Self::Buffer) -> Result<Self::Buffer, KernelError>;

    /// See [`crate::paged_attention`]: queries, keys and values `[t, columns of heads]` ->
    /// `[t, queries * width]`, keys and values kept in `pages`.
    fn paged_attention(
        &self,
        qkv: &Self::Buffer,
        pages: &mut Self::Pages,
        layer: usize,
        paged: &Self::Paged,
        window: Option<u32>,
    ) -> Result<Self::Buffer, KernelError>;
}
