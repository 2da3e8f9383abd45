//! BERT's input (Devlin et al. 2019, section 3): word, position and token-type embedding of each
//! token, added and normalised.
//!
//! Three ids a token -> `[tokens, h]`: row `i` is
//! `layer_norm(words[word i] + positions[position i] + types[type i])`.
//! Refused: id lists of different lengths, an id beyond its table.

mod gpu;
pub mod reference;

use rayon::prelude::*;

use crate::Shared;
use crate::cpu::{CpuBuffer, CpuDevice};
use crate::device::{EmbeddingTables, KernelError};
use crate::layer_norm::{self, BLOCK_ROWS};

pub use gpu::GpuTables;

/// The tables of one model.
pub struct Prepared {
    /// Of each table: words, positions, types.
    rows: [usize; 3],
    words: Shared<f32>,
    positions: Shared<f32>,
    types: Shared<f32>,
    norm: layer_norm::Prepared,
}

impl Prepared {
    pub(crate) fn new(tables: EmbeddingTables) -> Result<Prepared, KernelError> {
        let norm = layer_norm::Prepared::new(tables.norm)?;
        Ok(Prepared {
            rows: rows(&tables)?,
            words: tables.words,
            positions: tables.positions,
            types: tables.types,
            norm,
        })
    }
}

/// Rows of each table: words, positions, types. Refuses tables that are not whole rows.
fn rows(tables: &EmbeddingTables) -> Result<[usize; 3], KernelError> {
    let width = tables.norm.gamma.len().max(1);
    for (name, table) in
        [("words", &tables.words), ("positions", &tables.positions), ("types", &tables.types)]
    {
        if table.is_empty() || table.len() % width != 0 {
            let reason = format!("{name}: {} values, rows of {width}", table.len());
            return Err(KernelError::shape("embedding", reason));
        }
    }
    Ok([&tables.words, &tables.positions, &tables.types].map(|table| table.len() / width))
}

/// Refuses id lists of different lengths, and ids beyond their tables' rows.
fn check_ids(rows: [usize; 3], ids: [&[u32]; 3]) -> Result<(), KernelError> {
    let lengths = ids.map(<[u32]>::len);
    if lengths.iter().any(|&length| length != lengths[0]) {
        return Err(KernelError::shape("embedding", format!("{lengths:?} ids")));
    }
    for (name, (rows, ids)) in
        ["word", "position", "type"].into_iter().zip(rows.into_iter().zip(ids))
    {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
            let reason = format!("{name} id {id}, but the table has {rows} rows");
            return Err(KernelError::shape("embedding", reason));
        }
    }
    Ok(())
}

pub(crate) fn run(
    device: &CpuDevice,
    tables: &Prepared,
    words: &[u32],
    positions: &[u32],
    types: &[u32],
) -> Result<CpuBuffer, KernelError> {
    let width = tables.norm.width();
    check_ids(tables.rows, [words, positions, types])?;
    let mut y = device.take(words.len(), width);
    y.data_mut().par_chunks_mut(BLOCK_ROWS * width).enumerate().for_each(|(block, y)| {
        device.isa.each(
            #[inline(always)]
            || {
                for (row, y) in y.chunks_exact_mut(width).enumerate() {
                    let token = block * BLOCK_ROWS + row;
                    y.copy_from_slice(table_row(&tables.words, words[token], width));
                    for (table, id) in
                        [(&tables.types, types[token]), (&tables.positions, positions[token])]
                    {
                        let added = table_row(table, id, width).iter();
                        y.iter_mut().zip(added).for_each(|(y, x)| *y += x);
                    }
                    tables.norm.row(y);
                }
            },
        );
    });
    Ok(y)
}

#[inline(always)]
fn table_row(table: &[f32], id: u32, width: usize) -> &[f32] {
    &table[id as usize * width..][..width]
}
