//! The naive normalisation, in f64.

use crate::device::NormWeights;

/// `x + residual` `[m, h]`, each row normalised.
pub fn layer_norm(x: &[f32], residual: Option<&[f32]>, norm: NormWeights) -> Vec<f64> {
    let width = norm.gamma.len();
    let mut y: Vec<f64> = x.iter().copied().map(f64::from).collect();
    for (y, r) in y.iter_mut().zip(residual.unwrap_or_default()) {
        *y += f64::from(*r);
    }
    for row in y.chunks_exact_mut(width) {
        normalize(row, norm);
    }
    y
}

/// One row in place.
pub fn normalize(row: &mut [f64], norm: NormWeights) {
    let width = row.len() as f64;
    let mean = row.iter().sum::<f64>() / width;
    let variance = row.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / width;
    let deviation = (variance + f64::from(norm.epsilon)).sqrt();
    for ((z, gamma), beta) in row.iter_mut().zip(norm.gamma).zip(norm.beta) {
        *z = f64::from(*gamma) * (*z - mean) / deviation + f64::from(*beta);
    }
}
