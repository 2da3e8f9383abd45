//! What a decoder asks of the CPU: each kernel's own module does it.

use super::CpuDevice;
use crate::block_linear::BlockMatrix;
use crate::decoding::DecoderDevice;
use crate::paged_attention::{CpuPages, PagedSequences, PagesShape};
use crate::rotary::Heads;
use crate::{Device, KernelError};
use crate::{block_linear, paged_attention, rms_norm, rotary, swiglu};

impl DecoderDevice for CpuDevice {
    type Blocks = block_linear::Prepared;
    type RmsNorm = rms_norm::Prepared;
    type Pages = CpuPages;
    type Paged = PagedSequences;

    fn prepare_blocks(
        &self,
        parts: &[BlockMatrix],
        bias: Option<&[f32]>,
    ) -> Result<Self::Blocks, KernelError> {
        self.enter(|| block_linear::Prepared::new(self, parts, bias))
    }

    fn prepare_rms_norm(&self, scale: &[f32], epsilon: f32) -> Result<Self::RmsNorm, KernelError> {
        rms_norm::Prepared::new(scale, epsilon)
    }

    fn pages_within(&self, shape: PagesShape, bytes: usize) -> usize {
        bytes / shape.page_bytes(shape.numbers.size()).max(1)
    }

    fn prepare_pages(&self, shape: PagesShape) -> Result<CpuPages, KernelError> {
        CpuPages::new(shape)
    }

    fn upload_paged(&self, paged: &PagedSequences) -> Result<PagedSequences, KernelError> {
        Ok(paged.clone())
    }

    fn copy_page(&self, pages: &mut CpuPages, from: u32, to: u32) -> Result<(), KernelError> {
        pages.copy(from, to)
    }

    fn block_linear(
        &self,
        x: &Self::Buffer,
        weights: &Self::Blocks,
        residual: Option<&Self::Buffer>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| block_linear::run(self, x, weights, residual))
    }

    fn rms_norm(
        &self,
        x: &Self::Buffer,
        norm: &Self::RmsNorm,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| rms_norm::run(self, x, norm))
    }

    fn rotate(
        &self,
        qkv: Self::Buffer,
        angles: &Self::Buffer,
        heads: Heads,
        norms: Option<[&Self::RmsNorm; 2]>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| rotary::run(self, qkv, angles, heads, norms))
    }

    fn swiglu(&self, x: &Self::Buffer) -> Result<Self::Buffer, KernelError> {
        self.enter(|| swiglu::run(self, x))
    }

    fn paged_attention(
        &self,
        qkv: &Self::Buffer,
        pages: &mut CpuPages,
        layer: usize,
        paged: &Self::Paged,
        window: Option<u32>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| paged_attention::run(self, qkv, pages, layer, paged, window))
    }
}
