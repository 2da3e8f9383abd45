//! The naive rotation, in f64.

use super::Heads;
use crate::rms_norm::reference::normalize;

/// Rows of queries, keys and values, turned by `angles` `[t, width]`; `norms` are the scales of queries
/// and keys, and epsilon.
pub fn rotary(
    qkv: &[f32],
    angles: &[f32],
    heads: Heads,
    norms: Option<([&[f32]; 2], f32)>,
) -> Vec<f64> {
    let Heads { queries, keys, width } = heads;
    let mut y: Vec<f64> = qkv.iter().copied().map(f64::from).collect();
    let columns = (queries + 2 * keys) * width;
    for (row, angles) in y.chunks_exact_mut(columns).zip(angles.chunks_exact(width)) {
        for (index, head) in row.chunks_exact_mut(width).enumerate().take(queries + keys) {
            if let Some((scales, epsilon)) = norms {
                normalize(head, scales[usize::from(index >= queries)], epsilon);
            }
            for i in 0..width / 2 {
                let (x, y) = (head[i], head[i + width / 2]);
                let (c, s) = (f64::from(angles[i]), f64::from(angles[i + width / 2]));
                (head[i], head[i + width / 2]) = (x * c - y * s, y * c + x * s);
            }
        }
    }
    y
}
