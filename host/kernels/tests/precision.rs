//! What bf16 and int8 round, and how: against the naive references of the rounded numbers, on every
//! instruction set this machine has, at sizes below, at and off the tile's. What they have in common
//! with other devices is in parity.rs.

mod common;

use common::{cpus, cpus_at};
use trine_kernels::cpu::Isa;
use trine_kernels::device::{LinearWeights, NormWeights};
use trine_kernels::parity::numbers;
use trine_kernels::{CpuDevice, Device, Epilogue, Precision, Sequences};
use trine_kernels::{attention, layer_norm, linear};

const NARROW: [Precision; 2] = [Precision::Bf16, Precision::Int8];

/// The nearest bf16, by another way than the kernels': f64 arithmetic on the significand.
fn bf16(x: f32) -> f32 {
    if x == 0.0 {
        return x;
    }
    let unit = f64::from(x).abs().log2().floor().exp2() / 128.0;
    ((f64::from(x) / unit).round_ties_even() * unit) as f32
}

fn all_bf16(x: &[f32]) -> Vec<f32> {
    x.iter().copied().map(bf16).collect()
}

/// What int8 makes of rows of `k` numbers: whole numbers in `0..=255` with a scale and zero point
/// a row or, of weights, in `-127..=127` with a scale a row.
fn int8(x: &[f32], k: usize, weights: bool) -> Vec<f32> {
    let row = |row: &[f32]| {
        let most = row.iter().copied().fold(0.0, f32::max);
        let least = row.iter().copied().fold(0.0, f32::min);
        let largest = most.max(-least);
        let (scale, zero) = if weights {
            (largest / 127.0, 0.0)
        } else {
            let scale = (most - least) / 255.0;
            (scale, (-least / scale).round())
        };
        let back = |x: &f32| {
            if scale == 0.0 { 0.0 } else { ((x / scale + zero).round() - zero) * scale }
        };
        row.iter().map(back).collect::<Vec<f32>>()
    };
    x.chunks(k).flat_map(row).collect()
}

/// Asserts that every value is within `tolerance` of the reference, and that there are values.
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= tolerance, "{what}: [{i}] is {found}, not {expected}: off by {error:e}");
    }
}

const ROWS: [usize; 12] = [1, 2, 5, 7, 12, 13, 47, 48, 49, 192, 193, 250];
const SHAPES: [(usize, usize); 9] =
    [(1, 1), (2, 8), (15, 3), (16, 16), (31, 64), (32, 32), (33, 65), (96, 384), (40, 1030)];

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn linear_is_the_product_of_the_rounded_numbers() {
    for precision in NARROW {
        for device in cpus_at(precision) {
            for m in ROWS {
                for (n, k) in SHAPES {
                    let (x, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                    let residual = numbers(m * n, 4);
                    let (rounded_x, rounded_weight) = match precision {
                        Precision::Int8 => (int8(&x, k, false), int8(&weight, k, true)),
                        _ => (all_bf16(&x), all_bf16(&weight)),
                    };
                    let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
                    let rounded = LinearWeights { weight: &rounded_weight, ..weights };
                    let prepared = device.prepare_linear(weights).unwrap();
                    let x_d = device.upload(m, k, &x).unwrap();
                    let r_d = device.upload(m, n, &residual).unwrap();
                    // What is left is the sum's rounding as in f32. In int8 a number in the
                    // middle of two steps may fall to either side of it: of k numbers in [-1, 1)
                    // with steps of 2 / 255 some few, each times a weight of up to 1.
                    let either = if precision == Precision::Int8 { 4.0 / 255.0 } else { 0.0 };
                    let tolerance = 1e-6 + 4.0 * k as f64 * f64::from(f32::EPSILON) / 2.0 + either;
                    let what = format!("{} {m}x{n}x{k}", device.name());
                    for (on_device, epilogue) in [
                        (Epilogue::None, Epilogue::None),
                        (Epilogue::Residual(&r_d), Epilogue::Residual(&residual[..])),
                    ] {
                        let y = device.linear(&x_d, &prepared, on_device).unwrap();
                        let expected = linear::reference::linear(&rounded_x, rounded, epilogue);
                        assert_close(y.data(), &expected, tolerance, &what);
                    }
                    let y = device.linear(&x_d, &prepared, Epilogue::Gelu).unwrap();
                    let expected = linear::reference::linear(&rounded_x, rounded, Epilogue::Gelu);
                    // GELU itself is within 1e-4, and at most 1.13 times as steep as its input.
                    assert_close(y.data(), &expected, 1e-4 + 1.13 * tolerance, &what);
                }
            }
        }
    }
}

#[test]
fn linear_is_near_the_product_of_the_numbers_themselves() {
    let (m, n, k) = (50, 96, 384);
    let (x, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
    let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
    let expected = linear::reference::linear(&x, weights, Epilogue::None);
    // Errors of rounding are uniform in a step, whose mean square is step^2 / 12; each is multiplied
    // by a number in [-1, 1), of mean square 1/3, and k of them add up at random, of either factor.
    // A step of bf16 is 2^-8 in [1/2, 1), half of it in the next octave down, and so on: its mean
    // square is 2^-16 (1/2 + 1/16 + 1/128 ...) = 2^-16 * 4/7. Int8's are 1/127 and 2/255.
    let deviation = |steps: f64| (k as f64 / 3.0 * steps / 12.0).sqrt();
    for (precision, deviation) in [
        (Precision::Bf16, deviation(2.0 * 2f64.powi(-16) * 4.0 / 7.0)),
        (Precision::Int8, deviation((1f64 / 127.0).powi(2) + (2f64 / 255.0).powi(2))),
    ] {
        for device in cpus_at(precision) {
            let prepared = device.prepare_linear(weights).unwrap();
            let x = device.upload(m, k, &x).unwrap();
            let y = device.linear(&x, &prepared, Epilogue::None).unwrap();
            // 4,800 normal errors reach four deviations.
            assert_close(y.data(), &expected, 5.0 * deviation, &device.name());
            let square = |(y, e): (&f32, &f64)| (f64::from(*y) - e).powi(2);
            let squares: f64 = y.data().iter().zip(&expected).map(square).sum();
            let ratio = (squares / expected.len() as f64).sqrt() / deviation;
            assert!((0.9..1.1).contains(&ratio), "{}: {ratio} of what it must be", device.name());
        }
    }
}

#[test]
fn whole_numbers_give_the_same_bits_on_every_instruction_set() {
    for (m, n, k) in [(1, 1, 1), (13, 33, 65), (50, 96, 384), (7, 40, 1030), (250, 64, 1536)] {
        // Large values of one sign: the sums leave the 24 bits of f32.
        let x: Vec<f32> = numbers(m * k, 1).iter().map(|x| 3.0 + x).collect();
        let weight: Vec<f32> = numbers(n * k, 2).iter().map(|x| 0.9 + 0.1 * x).collect();
        let bias = numbers(n, 3);
        let results = cpus_at(Precision::Int8).map(|device| {
            let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
            let weights = device.prepare_linear(weights).unwrap();
            let x = device.upload(m, k, &x).unwrap();
            bits(device.linear(&x, &weights, Epilogue::None).unwrap().data())
        });
        let results: Vec<_> = results.collect();
        assert!(results.iter().all(|result| *result == results[0]), "{m}x{n}x{k}");
    }
}

/// Lengths below, at and off the tile's rows and columns, empty ones first, last and between.
const LENGTHS: [u32; 14] = [0, 1, 2, 0, 0, 5, 12, 13, 31, 32, 33, 49, 100, 0];

#[test]
fn attention_weighs_the_rounded_numbers() {
    for precision in NARROW {
        for device in cpus_at(precision) {
            for (heads, d) in [(1, 1), (2, 5), (12, 32), (2, 33), (3, 64)] {
                let hidden = heads * d;
                for lengths in [&LENGTHS[..], &[1], &[130], &[0], &[]] {
                    let sequences = Sequences::from_lengths(lengths).unwrap();
                    let tokens = sequences.tokens();
                    let qkv = numbers(tokens * 3 * hidden, 7).iter().map(|x| x * 2.0).collect();
                    let qkv: Vec<f32> = qkv;
                    let x = device.upload(tokens, 3 * hidden, &qkv).unwrap();
                    let y = device.attention(&x, &sequences, heads).unwrap();
                    let rounded = all_bf16(&qkv);
                    let expected =
                        attention::reference::attention(&rounded, &sequences, heads, hidden);
                    // Weights are rounded to 2^-9 of themselves, before that within 1.1e-4, after
                    // which they do not quite add up to 1; values are at most 2.
                    let what = format!("{} {heads} heads of {d}", device.name());
                    assert_close(y.data(), &expected, 2.0 * (2f64.powi(-9) + 2.2e-4), &what);
                }
            }
        }
    }
}

#[test]
fn normalising_a_sum_is_the_reference() {
    let (m, n, k) = (193, 96, 64);
    let (x, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
    let (residual, gamma, beta) = (numbers(m * n, 4), numbers(n, 5), numbers(n, 6));
    let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
    let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
    let sum = linear::reference::linear(&x, weights, Epilogue::Residual(&residual));
    let sum: Vec<f32> = sum.iter().map(|x| *x as f32).collect();
    let expected = layer_norm::reference::layer_norm(&sum, None, norm);
    for device in cpus_at(Precision::F32) {
        let weights = device.prepare_linear(weights).unwrap();
        let norm = device.prepare_norm(norm).unwrap();
        let x = device.upload(m, k, &x).unwrap();
        let residual = device.upload(m, n, &residual).unwrap();
        let y = device.linear_norm(&x, &weights, &residual, &norm).unwrap();
        // Sums of 64 products, divided by their deviation of some units.
        assert_close(y.data(), &expected, 2e-5, &device.name());
    }
}

#[test]
fn what_is_not_a_number_is_not_lost() {
    for device in cpus() {
        let (n, k) = (3, 40);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = numbers(2 * k, 1);
            x[k + 7] = bad;
            let (weight, bias) = (numbers(n * k, 2), numbers(n, 3));
            let prepare = |weight: &[f32]| {
                device.prepare_linear(LinearWeights { weight, bias: &bias, n, k }).unwrap()
            };
            let weights = prepare(&weight);
            let run = |x: &[f32], weights| {
                let x = device.upload(2, k, x).unwrap();
                device.linear(&x, weights, Epilogue::None).unwrap().data().to_vec()
            };
            let y = run(&x, &weights);
            assert!(y[..n].iter().all(|y| y.is_finite()), "{} {bad}", device.name());
            assert!(y[n..].iter().all(|y| !y.is_finite()), "{} {bad}: {y:?}", device.name());
            let mut weight = weight.clone();
            weight[k] = bad; // the second output's
            let y = run(&numbers(2 * k, 1), &prepare(&weight));
            assert!(!y[1].is_finite() && y[0].is_finite(), "{} {bad}: {y:?}", device.name());
        }
        // Rows without any range.
        let weights = LinearWeights { weight: &[0.0; 8], bias: &[1.0, 2.0], n: 2, k: 4 };
        let weights = device.prepare_linear(weights).unwrap();
        for value in [0.0, 5.0, -5.0] {
            let x = device.upload(1, 4, &[value; 4]).unwrap();
            let y = device.linear(&x, &weights, Epilogue::None).unwrap();
            assert_eq!(y.data(), [1.0, 2.0], "{} {value}", device.name());
        }
    }
}

#[test]
fn whole_numbers_refuse_more_inputs_than_their_sums_hold() {
    let device = CpuDevice::with_precision(1, Precision::Int8).unwrap();
    let prepare = |k: usize| {
        let weight = vec![1.0; k];
        device.prepare_linear(LinearWeights { weight: &weight, bias: &[0.0], n: 1, k })
    };
    assert!(prepare(70_000).is_err());
    let k = 66_000;
    let weights = prepare(k).unwrap();
    let x = device.upload(1, k, &vec![2.0; k]).unwrap();
    let y = device.linear(&x, &weights, Epilogue::None).unwrap();
    assert!((y.data()[0] - 132_000.0).abs() < 0.1, "{}", y.data()[0]);
}

#[test]
fn a_device_says_what_it_multiplies() {
    for precision in Precision::ALL {
        let device = CpuDevice::with_isa(1, Isa::detect()).unwrap().at(precision);
        assert_eq!(device.precision(), precision);
        assert!(device.name().ends_with(precision.name()), "{}", device.name());
    }
}
