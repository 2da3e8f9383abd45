//! The GPU's half: layer_norm.wgsl.

use crate::device::{KernelError, NormWeights};
use crate::gpu::{Block, GpuBuffer, GpuDevice, shaders};

/// A normalisation on the device.
pub struct GpuNorm {
    pub(crate) gamma: Block,
    pub(crate) beta: Block,
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
}

impl GpuNorm {
    pub(crate) fn new(device: &GpuDevice, weights: NormWeights) -> Result<GpuNorm, KernelError> {
        super::check(weights)?;
        Ok(GpuNorm {
            gamma: device.keep(weights.gamma)?,
            beta: device.keep(weights.beta)?,
            width: weights.gamma.len(),
            epsilon: weights.epsilon,
        })
    }

    pub(crate) fn run(
        &self,
        device: &GpuDevice,
        x: &GpuBuffer,
        residual: Option<&GpuBuffer>,
    ) -> Result<GpuBuffer, KernelError> {
        let shape = [x.rows, x.columns];
        super::fits(shape, residual.map(|r| [r.rows, r.columns]), self.width)?;
        device.stored("layer_norm", x)?;
        residual.map_or(Ok(()), |r| device.stored("layer_norm", r))?;
        let y = device.matrix(x.rows, self.width)?;
        device.run(
            &shaders::LAYER_NORM,
            &[("ADD_RESIDUAL", residual.is_some().into())],
            &[
                x.buffer(),
                residual.unwrap_or(x).buffer(),
                self.gamma.buffer(),
                self.beta.buffer(),
                y.buffer(),
            ],
            &[x.rows as u32, self.width as u32, self.epsilon.to_bits()],
            device.groups(x.rows),
        );
        Ok(y)
    }
}
