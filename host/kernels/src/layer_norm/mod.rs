//! Layer normalisation (Ba, Kiros & Hinton 2016), optionally of a sum.
//!
//! `x` `[m, h]` and, if given, `residual` `[m, h]` -> `[m, h]`: per row of `z = x + residual`,
//! `gamma (z - mean) / sqrt(variance + epsilon) + beta`, the variance over h, not h - 1.
//! Refused: operands of other shapes.

mod gpu;
pub mod reference;

use rayon::prelude::*;

use crate::cpu::{self, CpuBuffer, CpuDevice};
use crate::device::{KernelError, NormWeights};

pub use gpu::GpuNorm;

/// Weights of one normalisation.
pub struct Prepared {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    epsilon: f32,
}

impl Prepared {
    pub(crate) fn new(weights: NormWeights) -> Result<Prepared, KernelError> {
        check(weights)?;
        let NormWeights { gamma, beta, epsilon } = weights;
        Ok(Prepared { gamma: gamma.to_vec(), beta: beta.to_vec(), epsilon })
    }

    /// Elements of a row.
    pub(crate) fn width(&self) -> usize {
        self.gamma.len()
    }

    /// Normalises rows in place.
    pub(crate) fn rows(&self, device: &CpuDevice, rows: &mut [f32]) {
        device.isa.each(
            #[inline(always)]
            || {
                // A loop, not `for_each`, whose closure would not be compiled for these instructions.
                for row in rows.chunks_exact_mut(self.width()) {
                    self.row(row);
                }
            },
        );
    }

    /// Normalises one row in place.
    #[inline(always)]
    pub(crate) fn row(&self, z: &mut [f32]) {
        let width = z.len() as f32;
        let mean = cpu::sum(z) / width;
        z.iter_mut().for_each(|z| *z -= mean);
        // Two passes: the one-pass formula loses the variance where the mean is large.
        let variance = cpu::sum_of_squares(z) / width;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        for ((z, gamma), beta) in z.iter_mut().zip(&self.gamma).zip(&self.beta) {
            *z = *z * scale * gamma + beta;
        }
    }
}

/// Refuses scales and shifts of different widths.
fn check(weights: NormWeights) -> Result<(), KernelError> {
    let (scales, shifts) = (weights.gamma.len(), weights.beta.len());
    if scales == 0 || scales != shifts {
        return Err(KernelError::shape("layer_norm", format!("{scales} scales, {shifts} shifts")));
    }
    Ok(())
}

/// Refuses operands that are not `width` wide and alike; shapes are `[rows, columns]`.
fn fits(x: [usize; 2], residual: Option<[usize; 2]>, width: usize) -> Result<(), KernelError> {
    if x[1] != width || residual.is_some_and(|residual| residual != x) {
        let reason = format!("x {x:?}, residual {residual:?}, width {width}");
        return Err(KernelError::shape("layer_norm", reason));
    }
    Ok(())
}

/// Rows a task takes: enough to be worth handing over.
pub(crate) const BLOCK_ROWS: usize = 32;

pub(crate) fn run(
    device: &CpuDevice,
    x: &CpuBuffer,
    residual: Option<&CpuBuffer>,
    norm: &Prepared,
) -> Result<CpuBuffer, KernelError> {
    let (rows, width) = (x.rows(), norm.width());
    fits(x.shape(), residual.map(CpuBuffer::shape), width)?;
    let mut y = device.take(rows, width);
    let blocks = y.data_mut().par_chunks_mut(BLOCK_ROWS * width);
    blocks.zip(x.data().par_chunks(BLOCK_ROWS * width)).enumerate().for_each(|(block, (y, x))| {
        y.copy_from_slice(x);
        device.isa.each(
            #[inline(always)]
            || {
                if let Some(residual) = residual {
                    let residual = residual.data()[block * BLOCK_ROWS * width..].iter();
                    y.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
                }
                for row in y.chunks_exact_mut(width) {
                    norm.row(row);
                }
            },
        );
    });
    Ok(y)
}
