//! What a decoder asks of a GPU: each kernel's own `gpu.rs` does it.

use super::{GpuBuffer, GpuDevice};
use crate::KernelError;
use crate::block_linear::{BlockMatrix, GpuBlocks};
use crate::decoding::DecoderDevice;
use crate::paged_attention::{GpuPaged, GpuPages, PagedSequences, PagesShape};
use crate::rms_norm::GpuRmsNorm;
use crate::rotary::{self, Heads};
use crate::swiglu;

impl DecoderDevice for GpuDevice {
    type Blocks = GpuBlocks;
    type RmsNorm = GpuRmsNorm;
    type Pages = GpuPages;
    type Paged = GpuPaged;

    fn destroy(&self) {
        GpuDevice::destroy(self);
    }

    fn prepare_blocks(
        &self,
        parts: &[BlockMatrix],
        bias: Option<&[f32]>,
    ) -> Result<GpuBlocks, KernelError> {
        GpuBlocks::new(self, parts, bias)
    }

    fn prepare_rms_norm(&self, scale: &[f32], epsilon: f32) -> Result<GpuRmsNorm, KernelError> {
        GpuRmsNorm::new(self, scale, epsilon)
    }

    fn pages_within(&self, shape: PagesShape, bytes: usize) -> usize {
        GpuPages::within(self, shape, bytes)
    }

    fn prepare_pages(&self, shape: PagesShape) -> Result<GpuPages, KernelError> {
        GpuPages::new(self, shape)
    }

    fn upload_paged(&self, paged: &PagedSequences) -> Result<GpuPaged, KernelError> {
        GpuPaged::new(self, paged)
    }

    fn copy_page(&self, pages: &mut GpuPages, from: u32, to: u32) -> Result<(), KernelError> {
        pages.copy(self, from, to)
    }

    fn block_linear(
        &self,
        x: &GpuBuffer,
        weights: &GpuBlocks,
        residual: Option<&GpuBuffer>,
    ) -> Result<GpuBuffer, KernelError> {
        weights.run(self, x, residual)
    }

    fn rms_norm(&self, x: &GpuBuffer, norm: &GpuRmsNorm) -> Result<GpuBuffer, KernelError> {
        norm.run(self, x)
    }

    fn rotate(
        &self,
        qkv: GpuBuffer,
        angles: &GpuBuffer,
        heads: Heads,
        norms: Option<[&GpuRmsNorm; 2]>,
    ) -> Result<GpuBuffer, KernelError> {
        rotary::run_on_gpu(self, qkv, angles, heads, norms)
    }

    fn swiglu(&self, x: &GpuBuffer) -> Result<GpuBuffer, KernelError> {
        swiglu::run_on_gpu(self, x)
    }

    fn paged_attention(
        &self,
        qkv: &GpuBuffer,
        pages: &mut GpuPages,
        layer: usize,
        paged: &GpuPaged,
        window: Option<u32>,
    ) -> Result<GpuBuffer, KernelError> {
        pages.attend(self, qkv, layer, paged, window)
    }
}
