//! The GPU's half: swiglu.wgsl.

use crate::KernelError;
use crate::gpu::{GpuBuffer, GpuDevice, shaders};

pub(crate) fn run_on_gpu(device: &GpuDevice, x: &GpuBuffer) -> Result<GpuBuffer, KernelError> {
    device.stored("swiglu", x)?;
    let width = super::width(x.columns)?;
    let y = device.matrix(x.rows, width)?;
    let lanes = shaders::SWIGLU_LANES as usize;
    device.run(
        &shaders::SWIGLU,
        &[],
        &[x.buffer(), y.buffer()],
        &[(x.rows * width) as u32, width as u32],
        device.groups((x.rows * width).div_ceil(lanes)),
    );
    Ok(y)
}
