//! The naive pooling, in f64.

use crate::{Pooling, Sequences};

/// `x` `[tokens, width]` -> `[sequences, width]`.
pub fn pool(
    x: &[f32],
    width: usize,
    sequences: &Sequences,
    pooling: Pooling,
    normalize: bool,
) -> Vec<f64> {
    let mut y = Vec::new();
    for rows in sequences.ranges() {
        let used = match pooling {
            Pooling::Mean => rows.clone(),
            Pooling::Cls => rows.start..rows.end.min(rows.start + 1),
        };
        let count = used.len().max(1) as f64;
        let mut row: Vec<f64> = (0..width)
            .map(|i| used.clone().map(|t| f64::from(x[t * width + i])).sum::<f64>() / count)
            .collect();
        if normalize {
            let length = row.iter().map(|y| y * y).sum::<f64>().sqrt().max(1e-12);
            row.iter_mut().for_each(|y| *y /= length);
        }
        y.extend(row);
    }
    y
}
