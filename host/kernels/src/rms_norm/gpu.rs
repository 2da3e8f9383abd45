//! The GPU's half: rms_norm.wgsl.

use crate::KernelError;
use crate::gpu::{Block, GpuBuffer, GpuDevice, shaders};

/// A normalisation on the device.
pub struct GpuRmsNorm {
    pub(crate) scale: Block,
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
}

impl GpuRmsNorm {
    pub(crate) fn new(
        device: &GpuDevice,
        scale: &[f32],
        epsilon: f32,
    ) -> Result<GpuRmsNorm, KernelError> {
        super::check(scale)?;
        Ok(GpuRmsNorm { scale: device.keep(scale)?, width: scale.len(), epsilon })
    }

    pub(crate) fn run(&self, device: &GpuDevice, x: &GpuBuffer) -> Result<GpuBuffer, KernelError> {
        device.stored("rms_norm", x)?;
        super::fits(x.columns, self.width)?;
        let y = device.matrix(x.rows, self.width)?;
        device.run(
            &shaders::RMS_NORM,
            &[],
            &[x.buffer(), self.scale.buffer(), y.buffer()],
            &[x.rows as u32, self.width as u32, self.epsilon.to_bits()],
            device.groups(x.rows),
        );
        Ok(y)
    }
}
