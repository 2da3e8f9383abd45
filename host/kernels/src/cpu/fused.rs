//! Kernels run one after another on rows that stay in a core's cache.
//!
//! The results are the same bits as those of the kernels one by one: a row's result depends on
//! nothing but the row and its sequence. With few rows the kernels one by one spread better over
//! the threads.

use rayon::prelude::*;

use super::{Bf16, CpuBuffer, CpuDevice, Number, Precision};
use crate::attention::{self, Queries};
use crate::device::{Device, KernelError};
use crate::linear::{self, BLOCK_ROWS};
use crate::{Epilogue, Sequences, layer_norm};

pub(super) fn linear_norm(
    device: &CpuDevice,
    x: &CpuBuffer,
    weights: &linear::Prepared,
    residual: &CpuBuffer,
    norm: &layer_norm::Prepared,
) -> Result<CpuBuffer, KernelError> {
    let (m, n) = (x.rows(), weights.outputs());
    if !linear::by_rows(device, m) || norm.width() != n {
        let sum = device.linear(x, weights, Epilogue::Residual(residual))?;
        return device.layer_norm(&sum, None, norm);
    }
    weights.fits(x, Epilogue::Residual(residual))?;
    let mut y = device.take(m, n);
    let blocks = y.data_mut().par_chunks_mut(BLOCK_ROWS * n);
    let x = x.data().par_chunks(BLOCK_ROWS * x.columns());
    let residual = residual.data().par_chunks(BLOCK_ROWS * n);
    blocks.zip(x).zip(residual).for_each(|((y, x), residual)| {
        weights.block(device, x, Epilogue::Residual(residual), y);
        norm.rows(device, y);
    });
    Ok(y)
}

pub(super) fn feed_forward(
    device: &CpuDevice,
    x: &CpuBuffer,
    up: &linear::Prepared,
    down: &linear::Prepared,
    norm: &layer_norm::Prepared,
) -> Result<CpuBuffer, KernelError> {
    let (m, h, wide) = (x.rows(), x.columns(), up.outputs());
    let fits = (up.inputs(), down.inputs(), down.outputs(), norm.width()) == (h, wide, h, h);
    if !linear::by_rows(device, m) || !fits {
        let wide = device.linear(x, up, Epilogue::Gelu)?;
        return linear_norm(device, &wide, down, x, norm);
    }
    let mut y = device.take(m, h);
    let blocks = y.data_mut().par_chunks_mut(BLOCK_ROWS * h);
    blocks.zip(x.data().par_chunks(BLOCK_ROWS * h)).for_each(|(y, x)| {
        // Whole numbers are found from f32, those of the other precisions are what they are.
        match device.precision() {
            Precision::Bf16 => widen_and_narrow::<Bf16>(device, x, up, down, y),
            Precision::F32 | Precision::Int8 => widen_and_narrow::<f32>(device, x, up, down, y),
        }
        norm.rows(device, y);
    });
    Ok(y)
}

/// `y = x + down(gelu(up(x)))`, what is between in numbers of type `T`.
fn widen_and_narrow<T: Number>(
    device: &CpuDevice,
    x: &[f32],
    up: &linear::Prepared,
    down: &linear::Prepared,
    y: &mut [f32],
) {
    let count = x.len() / up.inputs() * up.outputs();
    let mut between = device.take_numbers::<T>(count);
    let between = &mut between.numbers_mut::<T>()[..count];
    up.block(device, x, Epilogue::Gelu, between);
    down.block(device, between, Epilogue::Residual(x), y);
}

pub(super) fn self_attention(
    device: &CpuDevice,
    x: &CpuBuffer,
    query_key_value: &linear::Prepared,
    sequences: &Sequences,
    heads: usize,
    queries: Queries,
) -> Result<CpuBuffer, KernelError> {
    if device.share == 1 || sequences.len() >= 4 * device.share {
        let run = match device.precision() {
            Precision::F32 => attention::run_projected::<f32>,
            Precision::Bf16 | Precision::Int8 => attention::run_projected::<Bf16>,
        };
        return run(device, x, query_key_value, sequences, heads, queries);
    }
    let qkv = device.linear(x, query_key_value, Epilogue::None)?;
    attention::run(device, &qkv, sequences, heads, queries)
}
