//! The GPU's half: keep.wgsl writes new keys and values, attend.wgsl reads them, copy.wgsl copies a
//! page.

use super::{PAGE, PagedSequences, PagesShape, fits};
use crate::KernelError;
use crate::gpu::{Block, GpuBuffer, GpuDevice, shaders};

/// Columns of a head for which the shader has room.
const HEAD_MOST: usize = shaders::PAGED_ATTEND_HEAD_MOST as usize;
const _: () = assert!(shaders::PAGED_ATTEND_PAGE as usize == PAGE);
const _: () = assert!(shaders::PAGED_KEEP_PAGE as usize == PAGE);

/// Keys and values of all layers on the device: each layer is `[pages, heads, 2, ..]`, keys
/// `[width, PAGE]`, values `[PAGE, width]`.
pub struct GpuPages {
    shape: PagesShape,
    layers: Vec<Block>,
}

/// Sequences and their pages on the device.
pub struct GpuPaged {
    paged: PagedSequences,
    /// Of each new token its position and where its sequence's pages begin.
    tokens: Block,
    tables: Block,
}

impl GpuPaged {
    pub(crate) fn new(device: &GpuDevice, paged: &PagedSequences) -> Result<GpuPaged, KernelError> {
        let starts = paged.sequences.ranges().zip(&paged.starts);
        let starts = starts.flat_map(|(rows, &start)| rows.map(move |_| start as u32));
        let tokens: Vec<[u32; 2]> =
            paged.positions().zip(starts).map(|(position, start)| [position, start]).collect();
        Ok(GpuPaged {
            paged: paged.clone(),
            tokens: device.send(bytemuck::cast_slice(&tokens))?,
            tables: device.send(bytemuck::cast_slice(&paged.tables))?,
        })
    }
}

impl GpuPages {
    pub(crate) fn new(device: &GpuDevice, shape: PagesShape) -> Result<GpuPages, KernelError> {
        shape.check()?;
        let bytes = GpuPages::page(shape) as u64 * shape.pages as u64 * device.storage().size();
        let limit = device.binding_limit();
        if bytes > limit || shape.heads.width > HEAD_MOST {
            let reason = format!(
                "a layer of {shape:?} is {bytes} bytes, of which a kernel sees {limit}; heads have at \
                 most {HEAD_MOST} columns"
            );
            return Err(KernelError::Device(reason));
        }
        let layers = (0..shape.layers).map(|_| device.reserve(bytes)).collect::<Result<_, _>>()?;
        Ok(GpuPages { shape, layers })
    }

    /// Pages that `bytes` hold, of which a kernel sees one layer.
    pub(crate) fn within(device: &GpuDevice, shape: PagesShape, bytes: usize) -> usize {
        let page = (GpuPages::page(shape) * device.storage().size() as usize).max(1);
        (bytes / page / shape.layers.max(1)).min(device.binding_limit() as usize / page)
    }

    /// Numbers of a layer's page.
    fn page(shape: PagesShape) -> usize {
        2 * PAGE * shape.heads.width * shape.heads.keys
    }

    pub(crate) fn copy(
        &mut self,
        device: &GpuDevice,
        from: u32,
        to: u32,
    ) -> Result<(), KernelError> {
        if [from, to].iter().any(|&page| page as usize >= self.shape.pages) {
            let reason = format!("page {from} to {to} of {}", self.shape.pages);
            return Err(KernelError::shape("paged_attention", reason));
        }
        let size = GpuPages::page(self.shape);
        let lanes = shaders::PAGED_COPY_LANES as usize;
        for layer in &self.layers {
            let groups = device.groups(size.div_ceil(lanes));
            let sizes = [from, to, size as u32];
            device.run(&shaders::PAGED_COPY, &[], &[layer.buffer()], &sizes, groups);
        }
        Ok(())
    }

    pub(crate) fn attend(
        &mut self,
        device: &GpuDevice,
        qkv: &GpuBuffer,
        layer: usize,
        paged: &GpuPaged,
        window: Option<u32>,
    ) -> Result<GpuBuffer, KernelError> {
        device.stored("paged_attention", qkv)?;
        fits(self.shape, [qkv.rows, qkv.columns], layer, &paged.paged)?;
        let heads = self.shape.heads;
        let pages = &self.layers[layer];
        let sizes = [qkv.rows, heads.queries, heads.keys, heads.width].map(|size| size as u32);
        let lanes = shaders::PAGED_KEEP_LANES as usize;
        device.run(
            &shaders::PAGED_KEEP,
            &[],
            &[qkv.buffer(), paged.tokens.buffer(), paged.tables.buffer(), pages.buffer()],
            &sizes,
            device.groups((qkv.rows * heads.keys * heads.width).div_ceil(lanes)),
        );
        let y = device.matrix(qkv.rows, heads.queries * heads.width)?;
        let scale = 1.0 / (heads.width as f32).sqrt();
        let [tokens, queries, keys, width] = sizes;
        device.run(
            &shaders::PAGED_ATTEND,
            &[],
            &[
                qkv.buffer(),
                paged.tokens.buffer(),
                paged.tables.buffer(),
                pages.buffer(),
                y.buffer(),
            ],
            &[tokens, queries, keys, width, window.unwrap_or(u32::MAX), scale.to_bits()],
            device.groups(qkv.rows * heads.queries),
        );
        Ok(y)
    }
}
