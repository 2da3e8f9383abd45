//! The naive attention, in f64.

use crate::Sequences;

/// `qkv` `[tokens, 3 hidden]` -> `[tokens, hidden]`.
pub fn attention(qkv: &[f32], sequences: &Sequences, heads: usize, hidden: usize) -> Vec<f64> {
    let d = hidden / heads;
    let at = |token: usize, part: usize, head: usize, i: usize| {
        f64::from(qkv[token * 3 * hidden + part * hidden + head * d + i])
    };
    let mut context = vec![0.0; sequences.tokens() * hidden];
    for rows in sequences.ranges() {
        for head in 0..heads {
            for query in rows.clone() {
                let score = |key: usize| {
                    let dot: f64 =
                        (0..d).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum();
                    dot / (d as f64).sqrt()
                };
                let scores: Vec<f64> = rows.clone().map(score).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in 0..d {
                    let values = rows.clone().map(|value| at(value, 2, head, i));
                    context[query * hidden + head * d + i] =
                        weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum;
                }
            }
        }
    }
    context
}
