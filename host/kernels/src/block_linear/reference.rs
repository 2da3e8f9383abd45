//! The naive product, in f64.

use super::BlockMatrix;

/// `x` `[m, k]` times the matrices' rows, one matrix's outputs after another's, plus `bias` and
/// `residual` where they are given: `[m, n]`. `quantised` says whether rows of `x` are rounded where
/// they meet blocks of whole numbers, as [`super`] says.
pub fn block_linear(
    x: &[f32],
    parts: &[BlockMatrix],
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    quantised: bool,
) -> Vec<f64> {
    let (k, n) = (parts[0].k, parts.iter().map(|part| part.n).sum::<usize>());
    let mut y = Vec::new();
    for x in x.chunks_exact(k) {
        let rounded = rounded(x);
        for part in parts {
            let x = if quantised && part.format.is_quantised() { &rounded } else { x };
            for j in 0..part.n {
                let mut weight = vec![0.0; k];
                part.read(j, &mut weight);
                let product = |(x, w): (&f32, &f32)| f64::from(*x) * f64::from(*w);
                y.push(x.iter().zip(&weight).map(product).sum());
            }
        }
    }
    for (row, y) in y.chunks_exact_mut(n).enumerate() {
        for (column, y) in y.iter_mut().enumerate() {
            *y += f64::from(bias.map_or(0.0, |bias| bias[column]));
            *y += f64::from(residual.map_or(0.0, |residual| residual[row * n + column]));
        }
    }
    y
}

/// Each 32 numbers to the nearest of 255 steps between plus and minus their largest magnitude.
fn rounded(x: &[f32]) -> Vec<f32> {
    let round = |part: &[f32]| -> Vec<f32> {
        let most = part.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
        part.iter().map(|x| (x * inverse).round_ties_even() * (most / 127.0)).collect()
    };
    x.chunks(32).flat_map(round).collect()
}
