//! What each kernel is put to.

use super::{Bench, ParityError};
use crate::device::{EmbeddingTables, LinearWeights, NormWeights};
use crate::{Device, Epilogue, Pooling, Sequences};
use crate::{attention, embedding, layer_norm, linear, maxsim, pool};

type Outcome = Result<(), ParityError>;

/// Lengths below, at and off the tiles' rows and columns, empty ones first, last and between.
const LENGTHS: [u32; 14] = [0, 1, 2, 0, 0, 5, 12, 13, 31, 32, 33, 49, 100, 0];

/// Rounding of k products of size 1 in a chain: about sqrt(k) half-units of sqrt(k), four times
/// over for the worst element; GELU adds 1e-6.
fn chain(k: usize) -> f64 {
    1e-6 + 4.0 * k as f64 * f64::from(f32::EPSILON) / 2.0
}

/// [`chain`], and rounded factors, whose errors add up at random: thousands of sums come to four
/// deviations, of few and uneven terms to some more.
fn product<D: Device>(bench: &Bench<D>, k: usize) -> f64 {
    bench.exactness.tolerance(chain(k), 6.0 * bench.exactness.terms * (k as f64).sqrt())
}

pub(super) fn linear<D: Device>(bench: &mut Bench<D>) -> Outcome {
    let all_epilogues = [(1, 1), (33, 65), (96, 384), (132, 64)];
    for m in [0, 1, 2, 5, 6, 7, 11, 12, 13, 47, 48, 49, 63, 64, 65, 128, 191, 193, 250] {
        for (n, k) in
            [(1, 1), (2, 8), (15, 3), (16, 16), (31, 64), (32, 32), (33, 65), (96, 384), (132, 64)]
        {
            let mut names = vec!["no epilogue", "GELU"];
            if all_epilogues.contains(&(n, k)) {
                names.extend(["tanh", "residual"]);
            }
            names.into_iter().try_for_each(|name| linear_of(bench, (m, n, k), name))?;
        }
    }
    Ok(())
}

/// The epilogues by the names that [`linear_of`] takes.
pub(super) const EPILOGUES: [&str; 4] = ["no epilogue", "GELU", "tanh", "residual"];

/// A product `[m, k]` times `[k, n]`, with one of [`EPILOGUES`].
pub(super) fn linear_of<D: Device>(
    bench: &mut Bench<D>,
    (m, n, k): (usize, usize, usize),
    name: &str,
) -> Outcome {
    let device = bench.device;
    let (x, weight) = (bench.numbers(m * k, 1, 1.0), bench.numbers(n * k, 2, 1.0));
    let (bias, residual) = (bench.numbers(n, 3, 1.0), bench.numbers(m * n, 4, 1.0));
    let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
    let prepared = device.prepare_linear(weights)?;
    let (x_d, r_d) = (device.upload(m, k, &x)?, device.upload(m, n, &residual)?);
    let sum = product(bench, k);
    let (on_device, epilogue, tolerance) = match name {
        // At most 1.13 times as steep as its argument.
        "GELU" => {
            let gelu = bench.exactness.tolerance(1.13 * sum, bench.exactness.gelu);
            (Epilogue::Gelu, Epilogue::Gelu, gelu)
        }
        "tanh" => (Epilogue::Tanh, Epilogue::Tanh, sum),
        "residual" => (Epilogue::Residual(&r_d), Epilogue::Residual(&residual[..]), sum),
        _ => (Epilogue::None, Epilogue::None, sum),
    };
    let y = device.linear(&x_d, &prepared, on_device)?;
    let expected = linear::reference::linear(&x, weights, epilogue);
    bench.compare("linear", format!("m {m}, n {n}, k {k}, {name}"), &y, &expected, tolerance)
}

/// Sums that pass 65504, f16's largest number, on their way to a small one.
pub(super) fn sums_beyond_f16<D: Device>(bench: &mut Bench<D>) -> Outcome {
    let (m, n, k) = (67, 68, 384);
    let x = vec![100.0; m * k];
    let weight: Vec<f32> = (0..n * k).map(|i| if i % k < k / 2 { 100.0 } else { -100.0 }).collect();
    let bias: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
    let prepared = bench.device.prepare_linear(weights)?;
    let y = bench.device.linear(&bench.device.upload(m, k, &x)?, &prepared, Epilogue::None)?;
    let expected = linear::reference::linear(&x, weights, Epilogue::None);
    bench.compare("linear", "sums beyond f16".to_owned(), &y, &expected, 1e-6)
}

pub(super) fn head<D: Device>(bench: &mut Bench<D>) -> Outcome {
    let device = bench.device;
    for (m, n, k) in [(0, 1, 8), (1, 1, 1), (3, 2, 63), (5, 1, 64), (2, 3, 65), (70, 1, 384)] {
        let (x, weight) = (bench.numbers(m * k, 1, 1.0), bench.numbers(n * k, 2, 1.0));
        let bias = bench.numbers(n, 3, 1.0);
        let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
        let y = device.head(&device.upload(m, k, &x)?, &device.prepare_linear(weights)?)?;
        let expected = linear::reference::linear(&x, weights, Epilogue::None);
        let tolerance = product(bench, k);
        bench.compare("head", format!("m {m}, n {n}, k {k}"), &y, &expected, tolerance)?;
    }
    Ok(())
}

pub(super) fn embedding<D: Device>(bench: &mut Bench<D>) -> Outcome {
    let device = bench.device;
    for (tokens, h) in
        [(0, 8), (1, 1), (1, 384), (31, 32), (32, 33), (33, 63), (34, 64), (35, 65), (97, 384)]
    {
        let (words, positions) = (bench.numbers(50 * h, 1, 1.0), bench.numbers(20 * h, 2, 1.0));
        let types = bench.numbers(2 * h, 3, 1.0);
        let (gamma, beta) = (bench.numbers(h, 4, 1.0), bench.numbers(h, 5, 1.0));
        let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-6 };
        let shared = |table: &[f32]| table.to_vec().into();
        let tables = EmbeddingTables {
            words: shared(&words),
            positions: shared(&positions),
            types: shared(&types),
            norm,
        };
        let ids = |rows: u32, step: u32| -> Vec<u32> {
            (0..tokens).map(|i| (i * step + 3) % rows).collect()
        };
        let (w, p, t) = (ids(50, 7), ids(20, 1), ids(2, 1));
        let y = device.embedding(
            &device.prepare_embedding(tables.clone())?,
            &device.upload_ids(&w)?,
            &device.upload_ids(&p)?,
            &device.upload_ids(&t)?,
        )?;
        // Values of a few units, divided by a deviation near 1: some units of 1e-7. A width of 1
        // divides a difference of exactly 0 by sqrt(epsilon).
        let expected = embedding::reference::embedding(&tables, &w, &p, &t);
        bench.compare("embedding", format!("{tokens} tokens of {h}"), &y, &expected, 4e-6)?;
    }
    Ok(())
}

pub(super) fn layer_norm<D: Device>(bench: &mut Bench<D>) -> Outcome {
    let device = bench.device;
    for (m, h) in [(0, 16), (1, 2), (1, 384), (5, 15), (32, 16), (33, 63), (64, 64), (65, 384)] {
        let (gamma, beta) = (bench.numbers(h, 1, 1.0), bench.numbers(h, 2, 1.0));
        let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
        // A mean far from 0: the variance must not be lost in it.
        let stored = bench.exactness.stored;
        let x: Vec<f32> = bench.numbers(m * h, 3, 1.0).iter().map(|x| stored(x + 50.0)).collect();
        let residual = bench.numbers(m * h, 4, 1.0);
        let prepared = device.prepare_norm(norm)?;
        let (x_d, r_d) = (device.upload(m, h, &x)?, device.upload(m, h, &residual)?);
        for with_residual in [false, true] {
            let y = device.layer_norm(&x_d, with_residual.then_some(&r_d), &prepared)?;
            let residual = with_residual.then_some(&residual[..]);
            let expected = layer_norm::reference::layer_norm(&x, residual, norm);
            // Inputs near 50 are exact to 4e-6; two values may lie 0.1 apart, so 20 times that.
            let case = format!("[{m}, {h}], residual {with_residual}");
            bench.compare("layer_norm", case, &y, &expected, 1e-4)?;
        }
    }
    Ok(())
}

pub(super) fn attention<D: Device>(bench: &mut Bench<D>) -> Outcome {
    for (heads, d) in [(1, 1), (2, 5), (2, 16), (12, 32), (2, 33), (3, 64), (1, 128)] {
        for lengths in [&LENGTHS[..], &[1], &[130], &[0], &[]] {
            attention_of(bench, (heads, d), lengths)?;
        }
    }
    Ok(())
}

/// Attention of `heads` heads, each `d` wide.
pub(super) fn attention_of<D: Device>(
    bench: &mut Bench<D>,
    (heads, d): (usize, usize),
    lengths: &[u32],
) -> Outcome {
    let device = bench.device;
    let hidden = heads * d;
    let sequences = Sequences::from_lengths(lengths)?;
    let tokens = sequences.tokens();
    // Scores up to d * 9 / sqrt(d): softmax rows from flat to almost one-hot.
    let qkv = bench.numbers(tokens * 3 * hidden, 7, 3.0);
    let x = device.upload(tokens, 3 * hidden, &qkv)?;
    let y = device.attention(&x, &device.upload_sequences(&sequences)?, heads)?;
    let expected = attention::reference::attention(&qkv, &sequences, heads, hidden);
    // Scores of size 30 are exact to 4e-6, which is the weights' relative error; values are at
    // most 3.
    let tolerance = bench.exactness.tolerance(3e-5, 3.0 * bench.exactness.weights);
    let case = format!("{heads} heads of {d}, lengths {lengths:?}");
    bench.compare("attention", case, &y, &expected, tolerance)
}

/// One key takes all: the others' weights are 0 without any infinity or NaN, also where their
/// scores are negative infinity.
pub(super) fn attention_of_any_size<D: Device>(bench: &mut Bench<D>) -> Outcome {
    let device = bench.device;
    let packing = device.upload_sequences(&Sequences::from_lengths(&[3])?)?;
    let mut sizes = vec![(1e4, -1e4)];
    if bench.exactness.rounding == 0.0 {
        // The others' scores are finite, then negative infinity.
        sizes.extend([(1e18, -1e18), (1e30, -1e30)]);
    }
    for (large, least) in sizes {
        // The first key's score is 1e8, or 1e36, or one that stays finite beside infinities.
        let first = if large > 1e19 { 1.0 } else { large };
        let qkv = [large, first, 1.0, large, least, 2.0, large, least, 3.0];
        let y = device.attention(&device.upload(3, 3, &qkv)?, &packing, 1)?;
        let case = format!("queries of {large:e}");
        bench.compare("attention", case, &y, &[1.0; 3], 1e-7)?;
    }
    Ok(())
}

pub(super) fn pool<D: Device>(bench: &mut Bench<D>) -> Outcome {
    let device = bench.device;
    for width in [1, 15, 16, 63, 64, 65, 384] {
        for lengths in [&LENGTHS[..], &[1], &[0], &[]] {
            let sequences = Sequences::from_lengths(lengths)?;
            let x = bench.numbers(sequences.tokens() * width, 5, 1.0);
            let x_d = device.upload(sequences.tokens(), width, &x)?;
            let packing = device.upload_sequences(&sequences)?;
            for pooling in [Pooling::Mean, Pooling::Cls] {
                for normalize in [false, true] {
                    let y = device.pool(&x_d, &packing, pooling, normalize)?;
                    let expected = pool::reference::pool(&x, width, &sequences, pooling, normalize);
                    // A mean of 100 values of size 1; its length may be as small as 0.02.
                    let case = format!("{pooling:?}, {width} wide, normalize {normalize}");
                    bench.compare("pool", case, &y, &expected, 3e-6)?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn maxsim<D: Device>(bench: &mut Bench<D>) -> Outcome {
    let device = bench.device;
    for width in [1, 15, 16, 31, 384] {
        let sequences = Sequences::from_lengths(&LENGTHS)?;
        let mut x = bench.numbers(sequences.tokens() * width, 6, 1.0);
        x[..width].fill(0.0); // a token without direction
        let n = LENGTHS.len() as u32;
        let pairs: Vec<(u32, u32)> = (0..n).flat_map(|q| (0..n).map(move |p| (q, p))).collect();
        let x_d = device.upload(sequences.tokens(), width, &x)?;
        let scores = device.maxsim(&x_d, &device.upload_sequences(&sequences)?, &pairs)?;
        let expected = maxsim::reference::maxsim(&x, width, &sequences, &pairs);
        // A cosine of vectors of 384: some units of 1e-7.
        bench.compare("maxsim", format!("{width} wide"), &scores, &expected, 2e-6)?;
    }
    Ok(())
}
