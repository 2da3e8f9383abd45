//! Kernels run one after another on rows that stay in a core's cache.
//!
//! The results are the same bits as those of the kernels one by one: a row's result depends on
//! nothing but the row and its sequence. With few rows the kernels one by one spread better over
//! the threads.

use rayon::prelude::*;

use super::{Bf16, CpuBuffer, CpuDevice, Number, Precision};
use crate::attention::{self, Queries};
use crate::device::{Device, FeedForward, KernelError};
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

pub(super) fn attended(
    device: &CpuDevice,
    context: &CpuBuffer,
    x: &CpuBuffer,
    (output, norm): (&linear::Prepared, &layer_norm::Prepared),
    feed_forward: FeedForward<CpuDevice>,
) -> Result<CpuBuffer, KernelError> {
    let (m, h) = (x.rows(), output.outputs());
    if !linear::by_rows(device, m) || norm.width() != h || !fits(&feed_forward, h) {
        let x = linear_norm(device, context, output, x, norm)?;
        return self::feed_forward(device, &x, feed_forward);
    }
    output.fits(context, Epilogue::Residual(x))?;
    let mut y = device.take(m, h);
    let blocks = y.data_mut().par_chunks_mut(BLOCK_ROWS * h);
    let context = context.data().par_chunks(BLOCK_ROWS * context.columns());
    blocks.zip(context).zip(x.data().par_chunks(BLOCK_ROWS * h)).for_each(|((y, context), x)| {
        let mut between = device.take(1, y.len());
        let between = between.data_mut();
        output.block(device, context, Epilogue::Residual(x), between);
        norm.rows(device, between);
        feed_forward_block(device, between, &feed_forward, y);
    });
    Ok(y)
}

pub(super) fn feed_forward(
    device: &CpuDevice,
    x: &CpuBuffer,
    weights: FeedForward<CpuDevice>,
) -> Result<CpuBuffer, KernelError> {
    let (m, h) = (x.rows(), x.columns());
    if !linear::by_rows(device, m) || !fits(&weights, h) {
        let wide = device.linear(x, weights.up, Epilogue::Gelu)?;
        return linear_norm(device, &wide, weights.down, x, weights.norm);
    }
    let mut y = device.take(m, h);
    let blocks = y.data_mut().par_chunks_mut(BLOCK_ROWS * h);
    let x = x.data().par_chunks(BLOCK_ROWS * h);
    blocks.zip(x).for_each(|(y, x)| feed_forward_block(device, x, &weights, y));
    Ok(y)
}

/// Whether rows of `h` become such rows again.
fn fits(FeedForward { up, down, norm }: &FeedForward<CpuDevice>, h: usize) -> bool {
    (up.inputs(), up.outputs()) == (h, down.inputs()) && (down.outputs(), norm.width()) == (h, h)
}

fn feed_forward_block(
    device: &CpuDevice,
    x: &[f32],
    weights: &FeedForward<CpuDevice>,
    y: &mut [f32],
) {
    // Whole numbers are found from f32, those of the other precisions are what they are.
    match device.precision() {
        Precision::Bf16 => widen_and_narrow::<Bf16>(device, x, weights, y),
        Precision::F32 | Precision::Int8 => widen_and_narrow::<f32>(device, x, weights, y),
    }
    weights.norm.rows(device, y);
}

/// `y = x + down(gelu(up(x)))`, what is between in numbers of type `T`.
fn widen_and_narrow<T: Number>(
    device: &CpuDevice,
    x: &[f32],
    FeedForward { up, down, .. }: &FeedForward<CpuDevice>,
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
