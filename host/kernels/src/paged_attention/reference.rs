//! The naive causal attention of whole sequences, in f64.

use std::ops::Range;

use crate::rotary::Heads;

/// `qkv` `[t, columns of heads]` of one whole sequence -> the rows asked for, `[rows, queries * width]`.
/// `kept` is what a number of keys and values becomes in the cache.
pub fn paged_attention(
    qkv: &[f32],
    heads: Heads,
    rows: Range<usize>,
    window: Option<u32>,
    kept: fn(f32) -> f32,
) -> Vec<f64> {
    let Heads { queries, keys, width } = heads;
    let columns = (queries + 2 * keys) * width;
    let at = |row: usize, head: usize, i: usize| qkv[row * columns + head * width + i];
    let mut y = Vec::new();
    for row in rows {
        for head in 0..queries {
            let key = queries + head / (queries / keys);
            let first = window.map_or(0, |window| (row + 1).saturating_sub(window as usize));
            let score = |other: usize| -> f64 {
                let products = (0..width)
                    .map(|i| f64::from(at(row, head, i)) * f64::from(kept(at(other, key, i))));
                products.sum::<f64>() / (width as f64).sqrt()
            };
            let scores: Vec<f64> = (first..=row).map(score).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for i in 0..width {
                let value = |other: usize| f64::from(kept(at(other, key + keys, i)));
                let weighted = weights.iter().zip(first..).map(|(w, other)| w * value(other));
                y.push(weighted.sum::<f64>() / sum);
            }
        }
    }
    y
}
