//! A gated linear unit with SiLU (Shazeer 2020).
//!
//! `x` `[m, 2 i]`, a row being gate and value side by side -> `[m, i]`: `gate / (1 + exp(-gate)) *
//! value`. Refused: an odd number of columns.

mod gpu;
pub mod reference;

use rayon::prelude::*;

use crate::KernelError;
use crate::cpu::{self, CpuBuffer, CpuDevice};

pub(crate) use gpu::run_on_gpu;

/// Columns of the result.
fn width(columns: usize) -> Result<usize, KernelError> {
    match columns.is_multiple_of(2) && columns > 0 {
        true => Ok(columns / 2),
        false => Err(KernelError::shape("swiglu", format!("{columns} columns"))),
    }
}

/// Rows a task takes.
const BLOCK_ROWS: usize = 4;

pub(crate) fn run(device: &CpuDevice, x: &CpuBuffer) -> Result<CpuBuffer, KernelError> {
    let width = width(x.columns())?;
    let mut y = device.take(x.rows(), width);
    let block = |(y, x): (&mut [f32], &[f32])| {
        device.isa.each(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(2 * width)) {
                    let (gates, values) = x.split_at(width);
                    for ((y, gate), value) in y.iter_mut().zip(gates).zip(values) {
                        *y = silu(*gate) * value;
                    }
                }
            },
        );
    };
    if x.rows() <= BLOCK_ROWS {
        block((y.data_mut(), x.data()));
        return Ok(y);
    }
    let tasks = y.data_mut().par_chunks_mut(BLOCK_ROWS * width);
    tasks.zip(x.data().par_chunks(BLOCK_ROWS * 2 * width)).for_each(block);
    Ok(y)
}

/// `x / (1 + exp(-x))`, with an exponential of what is at most 0.
#[inline(always)]
fn silu(x: f32) -> f32 {
    let e = cpu::exp(-x.abs());
    let numerator = if x < 0.0 { x * e } else { x };
    numerator / (1.0 + e)
}
