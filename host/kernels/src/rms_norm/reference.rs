//! The naive normalisation, in f64.

/// `x` `[m, h]`, each row normalised and scaled.
pub fn rms_norm(x: &[f32], scale: &[f32], epsilon: f32) -> Vec<f64> {
    let mut y: Vec<f64> = x.iter().copied().map(f64::from).collect();
    y.chunks_exact_mut(scale.len()).for_each(|row| normalize(row, scale, epsilon));
    y
}

/// One row in place.
pub fn normalize(row: &mut [f64], scale: &[f32], epsilon: f32) {
    let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
    let root = (mean + f64::from(epsilon)).sqrt();
    row.iter_mut().zip(scale).for_each(|(x, scale)| *x *= f64::from(*scale) / root);
}
