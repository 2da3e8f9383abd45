//! The GPU's half: tiled.wgsl, cooperative.wgsl for matrix units, head.wgsl for few outputs.

use super::{Epilogue, check};
use crate::Device;
use crate::device::{KernelError, LinearWeights};
use crate::gpu::{Adapter, Block, GpuBuffer, GpuDevice, Kernel, Storage, shaders};

/// Rows and columns of a workgroup's tile in tiled.wgsl.
const TILE: usize = shaders::LINEAR_TILE as usize;

/// Weights on the device.
pub struct GpuWeights {
    n: usize,
    k: usize,
    /// The first output of each part, the outputs in it, and the part: one, unless the whole is
    /// more than a kernel can see.
    parts: Vec<(usize, usize, Block)>,
    bias: Block,
}

/// A product's sizes as the shaders know them.
struct Product<'a> {
    x: &'a GpuBuffer,
    y: &'a GpuBuffer,
    residual: &'a GpuBuffer,
    activation: u32,
}

impl GpuWeights {
    pub(crate) fn new(
        device: &GpuDevice,
        weights: LinearWeights,
    ) -> Result<GpuWeights, KernelError> {
        check(weights)?;
        let LinearWeights { weight, bias, n, k } = weights;
        // Whole fours of outputs, as the matrix units' shader writes them.
        let outputs = (device.binding_limit() / device.storage().size()) as usize / k / 4 * 4;
        if outputs == 0 {
            let reason = format!("rows of {k} weights are more than the adapter can bind");
            return Err(KernelError::Device(reason));
        }
        let mut parts = Vec::new();
        for (index, part) in weight.chunks(outputs * k).enumerate() {
            let block = device.keep_stored("a weight", part)?;
            parts.push((index * outputs, part.len() / k, block));
        }
        let mut bias = bias.to_vec();
        bias.resize(n.next_multiple_of(4), 0.0);
        Ok(GpuWeights { n, k, parts, bias: device.keep(&bias)? })
    }

    pub(crate) fn run(
        &self,
        device: &GpuDevice,
        x: &GpuBuffer,
        epilogue: Epilogue<&GpuBuffer>,
    ) -> Result<GpuBuffer, KernelError> {
        device.stored("linear", x)?;
        let residual = match epilogue {
            Epilogue::Residual(residual) => Some([residual.rows, residual.columns]),
            _ => None,
        };
        super::fits([x.rows, x.columns], residual, self.n, self.k)?;
        let y = device.matrix(x.rows, self.n)?;
        // As activation.wgsl numbers them; 0 is none of them.
        let (activation, residual) = match epilogue {
            Epilogue::None => (0, x),
            Epilogue::Gelu => (shaders::LINEAR_GELU, x),
            Epilogue::Tanh => (shaders::LINEAR_TANH, x),
            Epilogue::Residual(residual) => {
                device.stored("linear", residual)?;
                (shaders::LINEAR_RESIDUAL, residual)
            }
        };
        let product = Product { x, y: &y, residual, activation };
        let units = device.units.filter(|units| units.take(self.n, self.k));
        match units {
            Some(units) => self.cooperative(device, &product, units, units.down(x.rows, self.n)),
            None => self.tiled(device, &product),
        }
        Ok(y)
    }

    fn tiled(&self, device: &GpuDevice, product: &Product) {
        // Two tiles of fours of f32, a four wider than they are.
        let bytes = |depth: u32| 2 * depth * (TILE as u32 / 4 + 1) * 16;
        let memory = device.limits.max_compute_workgroup_storage_size;
        let depth = if bytes(32) <= memory { 32 } else { 16 };
        let kernel = Kernel {
            shader: &shaders::LINEAR,
            source: device.storage() as usize,
            constants: &[("ACTIVATION", product.activation), ("DEPTH", depth)],
        };
        self.parts(device, kernel, product, TILE);
    }

    /// `down`: subgroups down a workgroup's tile.
    fn cooperative(&self, device: &GpuDevice, product: &Product, units: Units, down: u32) {
        let kernel = Kernel {
            shader: &shaders::LINEAR_COOPERATIVE,
            source: units.source,
            constants: &[
                ("ACTIVATION", product.activation),
                ("SUBGROUP", units.subgroup),
                ("DOWN", down),
            ],
        };
        self.parts(device, kernel, product, units.tile(down) as usize);
    }

    /// One dispatch for each part of the weights, a workgroup for each `tile` by `tile` of y.
    fn parts(&self, device: &GpuDevice, kernel: Kernel, product: &Product, tile: usize) {
        let Product { x, y, residual, .. } = product;
        for (first, outputs, part) in &self.parts {
            let sizes = [x.rows, *outputs, self.k, self.n, *first].map(|size| size as u32);
            device.recorder.dispatch(
                kernel,
                &[x.buffer(), part.buffer(), self.bias.buffer(), residual.buffer(), y.buffer()],
                &sizes,
                [outputs.div_ceil(tile) as u32, x.rows.div_ceil(tile) as u32],
            );
        }
    }

    /// The product in f32. Refuses weights in parts: few outputs make one.
    pub(crate) fn head(&self, device: &GpuDevice, x: &GpuBuffer) -> Result<GpuBuffer, KernelError> {
        device.stored("head", x)?;
        super::fits([x.rows, x.columns], None, self.n, self.k)?;
        let [(_, _, weight)] = &self.parts[..] else {
            let reason = format!("{} outputs are too many for a head", self.n);
            return Err(KernelError::shape("head", reason));
        };
        let y = device.matrix_of(Storage::F32, x.rows, self.n)?;
        device.run(
            &shaders::HEAD,
            &[],
            &[x.buffer(), weight.buffer(), self.bias.buffer(), y.buffer()],
            &[x.rows, self.n, self.k].map(|size| size as u32),
            device.groups(x.rows),
        );
        Ok(y)
    }
}

/// An adapter's matrix units, and the tiles that cooperative.wgsl makes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Units {
    /// Rows and columns of a matrix tile.
    pub(crate) edge: u32,
    /// Which of the shaders' sources is for that edge.
    pub(crate) source: usize,
    /// Invocations of a subgroup.
    pub(crate) subgroup: u32,
    /// Subgroups down the largest tile that is used.
    pub(crate) most_down: u32,
}

impl Units {
    /// `None` where the adapter has none, or its limits leave no room for the smallest tile.
    pub(crate) fn of(adapter: &Adapter) -> Option<Units> {
        let edge = adapter.matrix_units()?;
        let (_, subgroup) = adapter.subgroup_sizes();
        let source = usize::from(edge == 16);
        let units = Units { edge, source, subgroup, most_down: 0 };
        let limits = adapter.raw.limits();
        let fits = |&down: &u32| {
            units.lanes(down) <= limits.max_compute_invocations_per_workgroup
                && units.workgroup_bytes(down) <= limits.max_compute_workgroup_storage_size
                && units.depth(down).is_multiple_of(edge)
        };
        let most_down = [2, 1].into_iter().find(fits)?;
        Some(Units { most_down, ..units })
    }

    /// Whether a product with weights `[n, k]` is one for the units.
    fn take(self, n: usize, k: usize) -> bool {
        n.is_multiple_of(4) && k.is_multiple_of(self.depth(self.most_down) as usize)
    }

    /// Whether attention with heads of `head` columns is for the units: what cooperative.wgsl of
    /// attention asks for.
    pub(crate) fn attend(self, head: usize, limits: &wgpu::Limits) -> bool {
        let (edge, head) = (self.edge as usize, head);
        let (queries, keys, pitch) = (4 * edge, 2 * edge, head / 4 + 2);
        let bytes = 8 * (queries + 2 * keys) * pitch
            + 4 * queries * keys
            + 8 * queries * (keys / 4 + 2)
            + 2 * 4 * 4 * self.subgroup as usize;
        head.is_multiple_of(edge)
            && head <= 4 * edge
            && self.subgroup.is_multiple_of(self.edge)
            && bytes <= limits.max_compute_workgroup_storage_size as usize
    }

    /// Large tiles read less, small ones keep more of the device busy: large ones when there are
    /// enough of them for the largest devices, twice the 132 multiprocessors of an H200.
    fn down(self, m: usize, n: usize) -> u32 {
        let tile = self.tile(self.most_down) as usize;
        if m.div_ceil(tile) * n.div_ceil(tile) >= 264 { self.most_down } else { 1 }
    }

    /// Rows and columns of a workgroup's tile. These four say what cooperative.wgsl says.
    fn tile(self, down: u32) -> u32 {
        down * 4 * self.edge
    }

    fn lanes(self, down: u32) -> u32 {
        self.subgroup * down * 2 * down
    }

    fn depth(self, down: u32) -> u32 {
        16 * self.lanes(down) / self.tile(down)
    }

    fn workgroup_bytes(self, down: u32) -> u32 {
        let pitch = self.depth(down) / 4 + 2;
        2 * 2 * self.tile(down) * pitch * 8 + down * 2 * down * self.edge * self.edge * 4
    }
}

/// Whether the units' products with tiles of `down` are right through this driver: whole numbers,
/// whose sums are exact.
pub(crate) fn units_multiply(
    device: &GpuDevice,
    units: Units,
    down: u32,
) -> Result<bool, KernelError> {
    let whole = |count: usize, step: usize| -> Vec<f32> {
        (0..count).map(|i| (i * step % 7) as f32 - 3.0).collect()
    };
    let k = 2 * units.depth(units.most_down) as usize;
    let (m, n) = (units.tile(down) as usize + 3, units.tile(down) as usize + 4);
    let (x, weight, bias) = (whole(m * k, 5), whole(n * k, 3), whole(n, 1));
    let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
    let on_device = GpuWeights::new(device, weights)?;
    let (x_d, y) = (device.upload(m, k, &x)?, device.matrix(m, n)?);
    let product = Product { x: &x_d, y: &y, residual: &x_d, activation: 0 };
    on_device.cooperative(device, &product, units, down);
    let found = device.download(&y)?;
    let expected = super::reference::linear(&x, weights, Epilogue::None);
    Ok(found.iter().zip(&expected).all(|(found, expected)| f64::from(*found) == *expected))
}
