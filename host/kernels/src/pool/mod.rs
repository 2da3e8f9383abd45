//! One vector a sequence: the mean of its tokens, or its first token.
//!
//! `x` `[tokens, h]` packed -> `[sequences, h]`. With `normalize`, each vector is divided by its
//! Euclidean length (at least 1e-12, as PyTorch's `normalize`). An empty sequence gives zeros.
//! Refused: sequences that do not cover `x`'s rows.

mod gpu;
pub mod reference;

use rayon::prelude::*;

use crate::cpu::{self, CpuBuffer, CpuDevice};
use crate::{KernelError, Sequences};

pub(crate) use gpu::run_on_gpu;

/// Which of a sequence's tokens make its vector (Reimers & Gurevych 2019, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all tokens.
    Mean,
    /// The first token, `[CLS]`.
    Cls,
}

pub(crate) fn run(
    device: &CpuDevice,
    x: &CpuBuffer,
    sequences: &Sequences,
    pooling: Pooling,
    normalize: bool,
) -> Result<CpuBuffer, KernelError> {
    covers("pool", sequences, x.rows())?;
    let width = x.columns();
    let mut y = device.take(sequences.len(), width);
    if width == 0 {
        return Ok(y);
    }
    let ranges: Vec<_> = sequences.ranges().collect();
    y.data_mut().par_chunks_mut(width).zip(ranges).for_each(|(y, rows)| {
        let used = match pooling {
            Pooling::Mean => rows,
            Pooling::Cls => rows.start..rows.end.min(rows.start + 1),
        };
        device.isa.each(
            #[inline(always)]
            || {
                let count = used.len();
                y.fill(0.0);
                for token in x.data()[used.start * width..used.end * width].chunks_exact(width) {
                    y.iter_mut().zip(token).for_each(|(y, x)| *y += x);
                }
                if count > 1 {
                    y.iter_mut().for_each(|y| *y /= count as f32);
                }
                if normalize {
                    let length = cpu::dot(y, y).sqrt().max(1e-12);
                    y.iter_mut().for_each(|y| *y /= length);
                }
            },
        );
    });
    Ok(y)
}

/// Checks that `sequences` end after `rows` rows.
pub(crate) fn covers(
    kernel: &'static str,
    sequences: &Sequences,
    rows: usize,
) -> Result<(), KernelError> {
    if sequences.tokens() != rows {
        let reason = format!("sequences of {} tokens, {rows} rows", sequences.tokens());
        return Err(KernelError::shape(kernel, reason));
    }
    Ok(())
}
