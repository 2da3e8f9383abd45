//! A sequence's result is the same bits whatever lies beside it, however many threads compute.

mod common;

use common::{devices, numbers};
use trine_kernels::cpu::CpuBuffer;
use trine_kernels::device::{EmbeddingTables, LinearWeights, NormWeights};
use trine_kernels::{CpuDevice, Device, Epilogue, Pooling, Precision, Sequences};

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// One layer of an encoder, its input and what is made of its output: every kernel there is.
fn chain(device: &CpuDevice, lengths: &[u32], words: &[u32]) -> (CpuBuffer, CpuBuffer, CpuBuffer) {
    const H: usize = 96;
    let sequences = Sequences::from_lengths(lengths).unwrap();
    let table = numbers(300 * H, 1);
    let (gamma, beta) = (numbers(H, 2), numbers(H, 3));
    let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
    let tables = EmbeddingTables { words: &table, positions: &table, types: &table, norm };
    let linear = |n: usize, k: usize, seed: u64| {
        let (weight, bias) = (numbers(n * k, seed), numbers(n, seed + 1));
        device.prepare_linear(LinearWeights { weight: &weight, bias: &bias, n, k }).unwrap()
    };
    let positions: Vec<u32> = lengths.iter().flat_map(|&length| 0..length).collect();
    let types = vec![0; words.len()];
    let tables = device.prepare_embedding(tables).unwrap();
    let x = device.embedding(&tables, &words.to_vec(), &positions, &types).unwrap();
    let qkv = device.linear(&x, &linear(3 * H, H, 4), Epilogue::None).unwrap();
    let context = device.attention(&qkv, &sequences, 3).unwrap();
    let x = device.linear(&context, &linear(H, H, 6), Epilogue::Residual(&x)).unwrap();
    let norm = device.prepare_norm(norm).unwrap();
    let x = device.layer_norm(&x, None, &norm).unwrap();
    let wide = device.linear(&x, &linear(200, H, 8), Epilogue::Gelu).unwrap();
    let narrow = device.linear(&wide, &linear(H, 200, 10), Epilogue::None).unwrap();
    let x = device.layer_norm(&narrow, Some(&x), &norm).unwrap();
    let pooled = device.pool(&x, &sequences, Pooling::Mean, true).unwrap();
    let pairs: Vec<(u32, u32)> = (0..sequences.len() as u32).map(|i| (i, i)).collect();
    let scores = device.maxsim(&x, &sequences, &pairs).unwrap();
    (x, pooled, scores)
}

#[test]
fn a_sequence_alone_gives_the_same_bits_as_among_others() {
    // Enough tokens that the batch takes the path of many rows and a text alone that of few.
    let lengths: Vec<u32> = (0..40).map(|i| [1, 17, 0, 50, 7, 33][i % 6]).collect();
    let sequences = Sequences::from_lengths(&lengths).unwrap();
    let words: Vec<u32> = (0..sequences.tokens() as u32).map(|i| i * 37 % 300).collect();
    assert!(sequences.tokens() > 4 * 48 + 1);
    let at = |precision| devices().into_iter().map(move |device| device.at(precision));
    for device in Precision::ALL.into_iter().flat_map(at) {
        let (all, pooled, scores) = chain(&device, &lengths, &words);
        for (i, rows) in sequences.ranges().enumerate() {
            let (one, one_pooled, one_score) =
                chain(&device, &lengths[i..=i], &words[rows.clone()]);
            let among = &all.data()[rows.start * 96..rows.end * 96];
            assert_eq!(bits(one.data()), bits(among), "{} text {i}", device.name());
            assert_eq!(bits(one_pooled.data()), bits(&pooled.data()[i * 96..][..96]));
            assert_eq!(bits(one_score.data()), bits(&scores.data()[i..=i]));
        }
        assert!(all.data().iter().all(|x| x.is_finite()));
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let lengths = [60, 1, 130];
    let words: Vec<u32> = (0..191).map(|i| i * 37 % 300).collect();
    for precision in Precision::ALL {
        let run = |threads| {
            let device = CpuDevice::with_precision(threads, precision).unwrap();
            bits(chain(&device, &lengths, &words).0.data())
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(5));
    }
}
