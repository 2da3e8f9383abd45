//! Rotary position embedding (Su et al. 2021) of queries and keys, after each head's own
//! root-mean-square normalisation where a model has one (Qwen3).
//!
//! A row is queries, keys and values side by side, each heads of `d` columns. With a row's `angles`,
//! `d / 2` cosines `c` and `d / 2` sines `s`, column `i` of a head and column `i + d / 2` become
//! `x c - y s` and `y c + x s`. Values stay as they are. Refused: operands that do not fit, an odd `d`.

mod gpu;
pub mod reference;

use rayon::prelude::*;

use crate::KernelError;
use crate::cpu::{CpuBuffer, CpuDevice};
use crate::rms_norm;

pub(crate) use gpu::run_on_gpu;

/// How a row of queries, keys and values is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Heads of queries.
    pub queries: usize,
    /// Heads of keys, and of values; each serves as many heads of queries.
    pub keys: usize,
    /// Columns of a head.
    pub width: usize,
}

impl Heads {
    /// Columns of a row. `None` where that is none, or the queries' heads cannot share the keys'.
    pub fn columns(self) -> Option<usize> {
        let shared = self.queries > 0 && self.keys > 0 && self.queries.is_multiple_of(self.keys);
        let heads = self.keys.checked_mul(2).and_then(|keys| keys.checked_add(self.queries));
        heads?.checked_mul(self.width).filter(|columns| shared && *columns > 0)
    }
}

/// Refuses operands that do not fit; shapes are `[rows, columns]`.
fn fits(
    qkv: [usize; 2],
    angles: [usize; 2],
    heads: Heads,
    norms: Option<[usize; 2]>,
) -> Result<(), KernelError> {
    let even = heads.width.is_multiple_of(2);
    let normed = norms.is_none_or(|widths| widths == [heads.width; 2]);
    if heads.columns() != Some(qkv[1]) || angles != [qkv[0], heads.width] || !even || !normed {
        let reason = format!("{qkv:?} of {heads:?}, angles {angles:?}, norms {norms:?}");
        return Err(KernelError::shape("rotary", reason));
    }
    Ok(())
}

/// Rows a task takes.
const BLOCK_ROWS: usize = 16;

pub(crate) fn run(
    device: &CpuDevice,
    mut qkv: CpuBuffer,
    angles: &CpuBuffer,
    heads: Heads,
    norms: Option<[&rms_norm::Prepared; 2]>,
) -> Result<CpuBuffer, KernelError> {
    let widths = norms.map(|norms| norms.map(rms_norm::Prepared::width));
    fits(qkv.shape(), angles.shape(), heads, widths)?;
    let (rows, columns, d) = (qkv.rows(), qkv.columns(), heads.width);
    let block = |(qkv, angles): (&mut [f32], &[f32])| {
        device.isa.each(
            #[inline(always)]
            || {
                for (row, angles) in qkv.chunks_exact_mut(columns).zip(angles.chunks_exact(d)) {
                    let turned = &mut row[..(heads.queries + heads.keys) * d];
                    for (index, head) in turned.chunks_exact_mut(d).enumerate() {
                        if let Some([query, key]) = norms {
                            (if index < heads.queries { query } else { key }).row(head);
                        }
                        turn(head, angles);
                    }
                }
            },
        );
    };
    if rows <= BLOCK_ROWS {
        block((qkv.data_mut(), angles.data()));
    } else {
        let tasks = qkv.data_mut().par_chunks_mut(BLOCK_ROWS * columns);
        tasks.zip(angles.data().par_chunks(BLOCK_ROWS * d)).for_each(block);
    }
    Ok(qkv)
}

#[inline(always)]
fn turn(head: &mut [f32], angles: &[f32]) {
    let half = head.len() / 2;
    let (first, second) = head.split_at_mut(half);
    let (cosines, sines) = angles.split_at(half);
    for (((x, y), c), s) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
        (*x, *y) = (*x * c - *y * s, *y * c + *x * s);
    }
}
