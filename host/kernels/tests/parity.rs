//! Every kernel against its naive reference, on every instruction set this machine has, at sizes
//! below, at and off the tile's.

mod common;

use common::{devices, numbers};
use trine_kernels::device::{EmbeddingTables, LinearWeights, NormWeights};
use trine_kernels::{CpuDevice, Device, Epilogue, Pooling, Sequences};
use trine_kernels::{attention, embedding, layer_norm, linear, maxsim, pool};

/// Asserts that every value is within `tolerance` of the reference, and that there are values.
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= tolerance, "{what}: [{i}] is {found}, not {expected}: off by {error:e}");
    }
}

#[test]
fn linear_is_the_matrix_product() {
    let tanh_and_residual_too = [(1, 1, 1), (13, 33, 65), (50, 96, 384)];
    for device in devices() {
        for m in [1, 2, 5, 6, 7, 11, 12, 13, 47, 48, 49, 191, 192, 193, 250] {
            for (n, k) in
                [(1, 1), (2, 8), (15, 3), (16, 16), (31, 64), (32, 32), (33, 65), (96, 384)]
            {
                let (x, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
                let residual = numbers(m * n, 4);
                let mut epilogues = vec![Epilogue::None, Epilogue::Gelu];
                if tanh_and_residual_too.iter().any(|&(_, a, b)| (a, b) == (n, k)) {
                    epilogues.extend([Epilogue::Tanh, Epilogue::Residual(&residual[..])]);
                }
                let prepared = device.prepare_linear(weights).unwrap();
                let (x_d, r_d) =
                    (device.upload(m, k, &x).unwrap(), device.upload(m, n, &residual).unwrap());
                for epilogue in epilogues {
                    let on_device = match epilogue {
                        Epilogue::None => Epilogue::None,
                        Epilogue::Gelu => Epilogue::Gelu,
                        Epilogue::Tanh => Epilogue::Tanh,
                        Epilogue::Residual(_) => Epilogue::Residual(&r_d),
                    };
                    let y = device.linear(&x_d, &prepared, on_device).unwrap();
                    assert_eq!((y.rows(), y.columns()), (m, n));
                    // Rounding of k products of size 1 in a chain: about sqrt(k) half-units of
                    // sqrt(k), four times over for the worst element; GELU adds 1e-6.
                    let tolerance = 1e-6 + 4.0 * k as f64 * f64::from(f32::EPSILON) / 2.0;
                    let what = format!("{} {m}x{n}x{k}", device.name());
                    let expected = linear::reference::linear(&x, weights, epilogue);
                    assert_close(y.data(), &expected, tolerance, &what);
                }
            }
        }
    }
}

#[test]
fn embedding_looks_up_and_normalises() {
    for device in devices() {
        for (tokens, h) in [(0, 8), (1, 1), (1, 384), (31, 32), (32, 33), (33, 100), (97, 384)] {
            let (words, positions, types) =
                (numbers(50 * h, 1), numbers(20 * h, 2), numbers(2 * h, 3));
            let (gamma, beta) = (numbers(h, 4), numbers(h, 5));
            let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-6 };
            let tables =
                EmbeddingTables { words: &words, positions: &positions, types: &types, norm };
            let ids = |rows: u32, step: u32| -> Vec<u32> {
                (0..tokens).map(|i| (i * step + 3) % rows).collect()
            };
            let (w, p, t) = (ids(50, 7), ids(20, 1), ids(2, 1));
            let y =
                device.embedding(&device.prepare_embedding(tables).unwrap(), &w, &p, &t).unwrap();
            // Values of a few units, divided by a deviation near 1: some units of 1e-7. A width
            // of 1 divides a difference of exactly 0 by sqrt(epsilon).
            let expected = embedding::reference::embedding(tables, &w, &p, &t);
            assert_close(y.data(), &expected, 4e-6, &format!("{} {tokens}x{h}", device.name()));
        }
    }
}

#[test]
fn layer_norm_normalises_the_sum() {
    for device in devices() {
        for (m, h) in [(0, 16), (1, 2), (1, 384), (5, 15), (32, 16), (33, 17), (65, 384)] {
            let (gamma, beta) = (numbers(h, 1), numbers(h, 2));
            let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
            // A mean far from 0: the variance must not be lost in it.
            let x: Vec<f32> = numbers(m * h, 3).iter().map(|x| x + 50.0).collect();
            let residual = numbers(m * h, 4);
            let prepared = device.prepare_norm(norm).unwrap();
            let (x_d, r_d) =
                (device.upload(m, h, &x).unwrap(), device.upload(m, h, &residual).unwrap());
            for with_residual in [false, true] {
                let y = device.layer_norm(&x_d, with_residual.then_some(&r_d), &prepared).unwrap();
                let residual = with_residual.then_some(&residual[..]);
                let expected = layer_norm::reference::layer_norm(&x, residual, norm);
                // Inputs near 50 are exact to 4e-6; two values may lie 0.1 apart, so 20 times that.
                let what = format!("{} {m}x{h} {with_residual}", device.name());
                assert_close(y.data(), &expected, 1e-4, &what);
            }
        }
    }
}

/// Lengths below, at and off the tile's rows and columns, empty ones first, last and between.
const LENGTHS: [u32; 14] = [0, 1, 2, 0, 0, 5, 12, 13, 31, 32, 33, 49, 100, 0];

#[test]
fn attention_stays_within_its_sequence() {
    for device in devices() {
        for (heads, d) in [(1, 1), (2, 5), (12, 32), (2, 33), (3, 64)] {
            let hidden = heads * d;
            for lengths in [&LENGTHS[..], &[1], &[130], &[0], &[]] {
                let sequences = Sequences::from_lengths(lengths).unwrap();
                let tokens = sequences.tokens();
                // Scores up to d * 9 / sqrt(d): softmax rows from flat to almost one-hot.
                let qkv: Vec<f32> =
                    numbers(tokens * 3 * hidden, 7).iter().map(|x| x * 3.0).collect();
                let x = device.upload(tokens, 3 * hidden, &qkv).unwrap();
                let y = device.attention(&x, &sequences, heads).unwrap();
                let expected = attention::reference::attention(&qkv, &sequences, heads, hidden);
                // Scores of size 30 are exact to 4e-6, which is the weights' relative error;
                // values are at most 3.
                let what = format!("{} {heads} heads of {d}", device.name());
                assert_close(y.data(), &expected, 3e-5, &what);
            }
        }
    }
}

#[test]
fn attention_survives_scores_of_any_size() {
    for device in devices() {
        // One key takes all: the others' weights are 0 without any infinity or NaN.
        let sequences = Sequences::from_lengths(&[3]).unwrap();
        let qkv = [1e18, 1e18, 1.0, 1e18, -1e18, 2.0, 1e18, 0.0, 3.0];
        let y = device.attention(&device.upload(3, 3, &qkv).unwrap(), &sequences, 1).unwrap();
        assert_eq!(y.data(), [1.0, 1.0, 1.0], "{}", device.name());
    }
}

#[test]
fn pool_takes_the_mean_or_the_first() {
    for device in devices() {
        for width in [1, 15, 16, 384] {
            for lengths in [&LENGTHS[..], &[1], &[0], &[]] {
                let sequences = Sequences::from_lengths(lengths).unwrap();
                let x = numbers(sequences.tokens() * width, 5);
                let x_d = device.upload(sequences.tokens(), width, &x).unwrap();
                for pooling in [Pooling::Mean, Pooling::Cls] {
                    for normalize in [false, true] {
                        let y = device.pool(&x_d, &sequences, pooling, normalize).unwrap();
                        let expected =
                            pool::reference::pool(&x, width, &sequences, pooling, normalize);
                        // A mean of 100 values of size 1; its length may be as small as 0.02.
                        let what = format!("{} {width} {pooling:?} {normalize}", device.name());
                        assert_close(y.data(), &expected, 3e-6, &what);
                        assert!(
                            lengths[..] != LENGTHS || y.data()[..width].iter().all(|&x| x == 0.0)
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn maxsim_is_the_mean_of_the_best_cosines() {
    for device in devices() {
        for width in [1, 31, 384] {
            let sequences = Sequences::from_lengths(&LENGTHS).unwrap();
            let mut x = numbers(sequences.tokens() * width, 6);
            x[..width].fill(0.0); // a token without direction
            let n = LENGTHS.len() as u32;
            let pairs: Vec<(u32, u32)> = (0..n).flat_map(|q| (0..n).map(move |p| (q, p))).collect();
            let x_d = device.upload(sequences.tokens(), width, &x).unwrap();
            let scores = device.maxsim(&x_d, &sequences, &pairs).unwrap();
            let expected = maxsim::reference::maxsim(&x, width, &sequences, &pairs);
            // A cosine of vectors of 384: some units of 1e-7.
            assert_close(scores.data(), &expected, 2e-6, &format!("{} {width}", device.name()));
            assert!(scores.data().iter().all(|s| s.abs() <= 1.0 + 1e-6));
            let of = |query: u32, passage: u32| scores.data()[(query * n + passage) as usize];
            assert!((of(8, 8) - 1.0).abs() < 1e-6, "a text against itself");
            assert_eq!((of(0, 8), of(8, 0)), (0.0, 0.0), "an empty text");
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let device = CpuDevice::new(1).unwrap();
    let x = device.upload(4, 6, &[0.0; 24]).unwrap();
    let weights = |n, k, length| {
        let weight = vec![0.0; length];
        device.prepare_linear(LinearWeights { weight: &weight, bias: &vec![0.0; n], n, k })
    };
    assert!(device.upload(2, 3, &[0.0; 5]).is_err());
    assert!(device.upload(usize::MAX, 2, &[0.0; 5]).is_err());
    assert!(weights(2, 3, 5).is_err());
    assert!(weights(0, 3, 0).is_err());
    let five = weights(2, 5, 10).unwrap();
    let six = weights(2, 6, 12).unwrap();
    assert!(device.linear(&x, &five, Epilogue::None).is_err());
    assert!(device.linear(&x, &six, Epilogue::Residual(&x)).is_err());
    let three = Sequences::from_lengths(&[3]).unwrap();
    let four = Sequences::from_lengths(&[4]).unwrap();
    assert!(device.attention(&x, &three, 2).is_err());
    assert!(device.attention(&x, &four, 0).is_err());
    assert!(device.attention(&x, &four, 4).is_err());
    assert!(device.pool(&x, &three, Pooling::Mean, true).is_err());
    assert!(device.maxsim(&x, &four, &[(0, 1)]).is_err());
    let norm = |gamma, beta| NormWeights { gamma, beta, epsilon: 0.0 };
    assert!(device.prepare_norm(norm(&[1.0], &[])).is_err());
    let narrow = device.prepare_norm(norm(&[1.0; 5], &[0.0; 5])).unwrap();
    assert!(device.layer_norm(&x, None, &narrow).is_err());
    let tables = EmbeddingTables {
        words: &[0.0; 10],
        positions: &[0.0; 10],
        types: &[0.0; 5],
        norm: norm(&[1.0; 5], &[0.0; 5]),
    };
    assert!(device.prepare_embedding(EmbeddingTables { words: &[0.0; 9], ..tables }).is_err());
    let tables = device.prepare_embedding(tables).unwrap();
    let look_up = |w: u32, p: u32, t: u32| device.embedding(&tables, &vec![w], &vec![p], &vec![t]);
    assert!(look_up(1, 1, 0).is_ok());
    assert!(look_up(2, 0, 0).is_err());
    assert!(look_up(0, 2, 0).is_err());
    assert!(look_up(0, 0, 1).is_err());
    assert!(device.embedding(&tables, &vec![0], &vec![], &vec![0]).is_err());
    assert!(Sequences::from_lengths(&[u32::MAX, 1]).is_err());
}
