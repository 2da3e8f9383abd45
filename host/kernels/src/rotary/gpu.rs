//! The GPU's half: rotary.wgsl.

use super::{Heads, fits};
use crate::KernelError;
use crate::gpu::{GpuBuffer, GpuDevice, shaders};
use crate::rms_norm::GpuRmsNorm;

pub(crate) fn run_on_gpu(
    device: &GpuDevice,
    qkv: GpuBuffer,
    angles: &GpuBuffer,
    heads: Heads,
    norms: Option<[&GpuRmsNorm; 2]>,
) -> Result<GpuBuffer, KernelError> {
    device.stored("rotary", &qkv)?;
    device.stored("rotary", angles)?;
    let widths = norms.map(|norms| norms.map(|norm| norm.width));
    fits([qkv.rows, qkv.columns], [angles.rows, angles.columns], heads, widths)?;
    // Where there are no scales, the shader reads none of what it is given in their place.
    let nothing = device.send(&[0; 4])?;
    let [query, key] = match norms {
        Some(norms) => norms.map(|norm| norm.scale.buffer()),
        None => [nothing.buffer(); 2],
    };
    let epsilon = norms.map_or(0.0, |[norm, _]| norm.epsilon);
    let turned = heads.queries + heads.keys;
    device.run(
        &shaders::ROTARY,
        &[("NORMALIZE", norms.is_some().into())],
        &[angles.buffer(), query, key, qkv.buffer()],
        &[
            qkv.rows as u32,
            qkv.columns as u32,
            heads.queries as u32,
            turned as u32,
            heads.width as u32,
            epsilon.to_bits(),
        ],
        device.groups(qkv.rows * turned),
    );
    Ok(qkv)
}
