//! Root-mean-square normalisation (Zhang & Sennrich 2019).
//!
//! `x` `[m, h]` -> `[m, h]`: per row `scale x / sqrt(mean of x² + epsilon)`. Refused: rows of another
//! width than the scale.

mod gpu;
pub mod reference;

use rayon::prelude::*;

use crate::KernelError;
use crate::cpu::{self, CpuBuffer, CpuDevice};

pub use gpu::GpuRmsNorm;

/// Weights of one normalisation.
pub struct Prepared {
    scale: Vec<f32>,
    epsilon: f32,
}

impl Prepared {
    pub(crate) fn new(scale: &[f32], epsilon: f32) -> Result<Prepared, KernelError> {
        check(scale)?;
        Ok(Prepared { scale: scale.to_vec(), epsilon })
    }

    /// Elements of a row.
    pub(crate) fn width(&self) -> usize {
        self.scale.len()
    }

    /// One row in place.
    #[inline(always)]
    pub(crate) fn row(&self, x: &mut [f32]) {
        let mean = cpu::dot(x, x) / x.len() as f32;
        let factor = 1.0 / (mean + self.epsilon).sqrt();
        x.iter_mut().zip(&self.scale).for_each(|(x, scale)| *x = *x * factor * scale);
    }
}

fn check(scale: &[f32]) -> Result<(), KernelError> {
    match scale.is_empty() {
        true => Err(KernelError::shape("rms_norm", "a scale of no width")),
        false => Ok(()),
    }
}

fn fits(columns: usize, width: usize) -> Result<(), KernelError> {
    match columns == width {
        true => Ok(()),
        false => {
            Err(KernelError::shape("rms_norm", format!("rows of {columns}, scale of {width}")))
        }
    }
}

/// Rows a task takes: enough to be worth handing over.
const BLOCK_ROWS: usize = 32;

pub(crate) fn run(
    device: &CpuDevice,
    x: &CpuBuffer,
    norm: &Prepared,
) -> Result<CpuBuffer, KernelError> {
    let width = norm.width();
    fits(x.columns(), width)?;
    let mut y = device.take(x.rows(), width);
    let block = |(y, x): (&mut [f32], &[f32])| {
        y.copy_from_slice(x);
        device.isa.each(
            #[inline(always)]
            || {
                for row in y.chunks_exact_mut(width) {
                    norm.row(row);
                }
            },
        );
    };
    if x.rows() <= BLOCK_ROWS {
        block((y.data_mut(), x.data()));
        return Ok(y);
    }
    let size = BLOCK_ROWS * width;
    y.data_mut().par_chunks_mut(size).zip(x.data().par_chunks(size)).for_each(block);
    Ok(y)
}
