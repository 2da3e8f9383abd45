//! The GPU's half: pool.wgsl.

use super::{Pooling, covers};
use crate::KernelError;
use crate::gpu::{GpuBuffer, GpuDevice, GpuPacking, shaders};

pub(crate) fn run_on_gpu(
    device: &GpuDevice,
    x: &GpuBuffer,
    packing: &GpuPacking,
    pooling: Pooling,
    normalize: bool,
) -> Result<GpuBuffer, KernelError> {
    covers("pool", &packing.sequences, x.rows)?;
    device.stored("pool", x)?;
    let count = packing.sequences.len();
    let y = device.matrix(count, x.columns)?;
    device.run(
        &shaders::POOL,
        &[("FIRST_ONLY", (pooling == Pooling::Cls).into()), ("NORMALIZE", normalize.into())],
        &[x.buffer(), packing.starts.buffer(), y.buffer()],
        &[count as u32, x.columns as u32],
        device.groups(count),
    );
    Ok(y)
}
