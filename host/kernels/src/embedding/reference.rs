//! The naive lookup, in f64.

use crate::device::EmbeddingTables;
use crate::layer_norm::reference::normalize;

/// `[tokens, h]` for one word, position and type id a token.
pub fn embedding(
    tables: &EmbeddingTables,
    words: &[u32],
    positions: &[u32],
    types: &[u32],
) -> Vec<f64> {
    let width = tables.norm.gamma.len();
    let at = |table: &[f32], id: u32, i: usize| f64::from(table[id as usize * width + i]);
    let mut y = Vec::new();
    for ((&word, &position), &kind) in words.iter().zip(positions).zip(types) {
        let mut row: Vec<f64> = (0..width)
            .map(|i| {
                at(&tables.words, word, i)
                    + at(&tables.positions, position, i)
                    + at(&tables.types, kind, i)
            })
            .collect();
        normalize(&mut row, tables.norm);
        y.extend(row);
    }
    y
}
