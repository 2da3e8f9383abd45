//! The naive gate, in f64.

/// `x` `[m, 2 width]` -> `[m, width]`.
pub fn swiglu(x: &[f32], width: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks_exact(2 * width) {
        for (gate, value) in row[..width].iter().zip(&row[width..]) {
            let gate = f64::from(*gate);
            y.push(gate / (1.0 + (-gate).exp()) * f64::from(*value));
        }
    }
    y
}
