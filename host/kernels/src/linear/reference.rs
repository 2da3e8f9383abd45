//! The naive matrix product, in f64.

use crate::Epilogue;
use crate::device::LinearWeights;

/// `f(x Wᵀ + b)` for `x` `[m, k]`, row-major.
pub fn linear(x: &[f32], weights: LinearWeights, epilogue: Epilogue<&[f32]>) -> Vec<f64> {
    let LinearWeights { weight, bias, n, k } = weights;
    let mut y = Vec::new();
    for (row, x) in x.chunks_exact(k).enumerate() {
        for column in 0..n {
            let mut sum = f64::from(bias[column]);
            for i in 0..k {
                sum += f64::from(x[i]) * f64::from(weight[column * k + i]);
            }
            y.push(match epilogue {
                Epilogue::None => sum,
                Epilogue::Gelu => 0.5 * sum * (1.0 + libm::erf(sum / 2f64.sqrt())),
                Epilogue::Tanh => sum.tanh(),
                Epilogue::Residual(residual) => sum + f64::from(residual[row * n + column]),
            });
        }
    }
    y
}
