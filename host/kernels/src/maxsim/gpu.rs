//! The GPU's half: maxsim.wgsl.

use crate::KernelError;
use crate::gpu::{GpuBuffer, GpuDevice, GpuPacking, Storage, shaders};
use crate::pool::covers;

pub(crate) fn run_on_gpu(
    device: &GpuDevice,
    x: &GpuBuffer,
    packing: &GpuPacking,
    pairs: &[(u32, u32)],
) -> Result<GpuBuffer, KernelError> {
    covers("maxsim", &packing.sequences, x.rows)?;
    device.stored("maxsim", x)?;
    super::find(&packing.sequences, pairs)?;
    let flat: Vec<u32> = pairs.iter().flat_map(|&(query, passage)| [query, passage]).collect();
    let sent = device.send(bytemuck::cast_slice(&flat))?;
    let scores = device.matrix_of(Storage::F32, pairs.len(), 1)?;
    device.run(
        &shaders::MAXSIM,
        &[],
        &[x.buffer(), packing.starts.buffer(), sent.buffer(), scores.buffer()],
        &[pairs.len() as u32, x.columns as u32],
        device.groups(pairs.len()),
    );
    Ok(scores)
}
