//! A sequence's result is the same bits whatever lies beside it, however many threads compute.

mod common;

use common::{cpus, gpus};
use trine_kernels::device::{EmbeddingTables, LinearWeights, NormWeights};
use trine_kernels::parity::numbers;
use trine_kernels::{
    CpuDevice, Device, Epilogue, FeedForward, Pooling, Precision, Sequences, Shared,
};

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// One layer of an encoder, its input and what is made of its output: every kernel there is.
fn chain<D: Device>(device: &D, lengths: &[u32], words: &[u32]) -> [Vec<f32>; 3] {
    const H: usize = 96;
    let sequences = Sequences::from_lengths(lengths).unwrap();
    let table = numbers(300 * H, 1);
    let (gamma, beta) = (numbers(H, 2), numbers(H, 3));
    let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
    let table = Shared::from(table);
    let tables =
        EmbeddingTables { words: table.clone(), positions: table.clone(), types: table, norm };
    let linear = |n: usize, k: usize, seed: u64| {
        let (weight, bias) = (numbers(n * k, seed), numbers(n, seed + 1));
        device.prepare_linear(LinearWeights { weight: &weight, bias: &bias, n, k }).unwrap()
    };
    let positions: Vec<u32> = lengths.iter().flat_map(|&length| 0..length).collect();
    let types = vec![0; words.len()];
    let tables = device.prepare_embedding(tables).unwrap();
    let ids = |ids: &[u32]| device.upload_ids(ids).unwrap();
    let x = device.embedding(&tables, &ids(words), &ids(&positions), &ids(&types)).unwrap();
    let packing = device.upload_sequences(&sequences).unwrap();
    let qkv = device.linear(&x, &linear(3 * H, H, 4), Epilogue::None).unwrap();
    let context = device.attention(&qkv, &packing, 3).unwrap();
    let x = device.linear(&context, &linear(H, H, 6), Epilogue::Residual(&x)).unwrap();
    let norm = device.prepare_norm(norm).unwrap();
    let x = device.layer_norm(&x, None, &norm).unwrap();
    let wide = device.linear(&x, &linear(200, H, 8), Epilogue::Gelu).unwrap();
    let narrow = device.linear(&wide, &linear(H, 200, 10), Epilogue::None).unwrap();
    let x = device.layer_norm(&narrow, Some(&x), &norm).unwrap();
    let pooled = device.pool(&x, &packing, Pooling::Mean, true).unwrap();
    let pairs: Vec<(u32, u32)> = (0..sequences.len() as u32).map(|i| (i, i)).collect();
    let scores = device.maxsim(&x, &packing, &pairs).unwrap();
    let results = device.download_all(&[&x, &pooled, &scores]).unwrap();
    results.try_into().unwrap()
}

#[test]
fn a_sequence_alone_gives_the_same_bits_as_among_others() {
    cpus().for_each(|device| assert_alone_as_among_others(&device));
    gpus().iter().for_each(assert_alone_as_among_others);
}

fn assert_alone_as_among_others<D: Device>(device: &D) {
    // Enough tokens that the batch takes the path of many rows and a text alone that of few.
    let lengths: Vec<u32> = (0..40).map(|i| [1, 17, 0, 50, 7, 33][i % 6]).collect();
    let sequences = Sequences::from_lengths(&lengths).unwrap();
    let words: Vec<u32> = (0..sequences.tokens() as u32).map(|i| i * 37 % 300).collect();
    assert!(sequences.tokens() > 4 * 48 + 1);
    let [all, pooled, scores] = chain(device, &lengths, &words);
    assert!(all.iter().all(|x| x.is_finite()));
    for (i, rows) in sequences.ranges().enumerate() {
        let [one, one_pooled, one_score] = chain(device, &lengths[i..=i], &words[rows.clone()]);
        let among = &all[rows.start * 96..rows.end * 96];
        assert_eq!(bits(&one), bits(among), "{} text {i}", device.name());
        assert_eq!(bits(&one_pooled), bits(&pooled[i * 96..][..96]));
        assert_eq!(bits(&one_score), bits(&scores[i..=i]));
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let lengths = [60, 1, 130];
    let words: Vec<u32> = (0..191).map(|i| i * 37 % 300).collect();
    for precision in Precision::ALL {
        let run = |threads| {
            let device = CpuDevice::with_precision(threads, precision).unwrap();
            bits(&chain(&device, &lengths, &words)[0])
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(5));
    }
}

#[test]
fn steps_at_once_give_the_bits_of_the_steps_one_by_one() {
    // Heads of 32, and of 33, whose rows begin in the middle of a word of two bf16.
    for h in [96, 99] {
        // Few and many rows; few and many sequences.
        for lengths in [&[5][..], &[130, 0, 300], &[1, 17, 0, 50, 7, 33, 100, 1, 60, 2]] {
            cpus().for_each(|device| assert_same_at_once(&device, h, lengths));
            gpus().iter().for_each(|device| assert_same_at_once(device, h, lengths));
        }
    }
}

fn assert_same_at_once<D: Device>(device: &D, h: usize, lengths: &[u32]) {
    let linear = |n: usize, k: usize, seed: u64| {
        let (weight, bias) = (numbers(n * k, seed), numbers(n, seed + 1));
        device.prepare_linear(LinearWeights { weight: &weight, bias: &bias, n, k }).unwrap()
    };
    let (gamma, beta) = (numbers(h, 2), numbers(h, 3));
    let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
    let norm = device.prepare_norm(norm).unwrap();
    let (qkv, up, down) = (linear(3 * h, h, 4), linear(200, h, 6), linear(h, 200, 8));
    let sequences = Sequences::from_lengths(lengths).unwrap();
    let (tokens, packing) = (sequences.tokens(), device.upload_sequences(&sequences).unwrap());
    let x = device.upload(tokens, h, &numbers(tokens * h, 1)).unwrap();
    let same = |one_by_one: &D::Buffer, at_once: &D::Buffer, rows: usize| {
        let [one_by_one, at_once] = [one_by_one, at_once].map(|y| device.download(y).unwrap());
        assert_eq!(at_once.len(), rows * h);
        assert!(at_once.iter().all(|y| y.is_finite()));
        assert_eq!(bits(&one_by_one), bits(&at_once), "{} {lengths:?}", device.name());
    };
    let projected = device.linear(&x, &qkv, Epilogue::None).unwrap();
    let context = device.attention(&projected, &packing, 3).unwrap();
    same(&context, &device.self_attention(&x, &qkv, &packing, 3).unwrap(), tokens);
    let first = device.pool(&context, &packing, Pooling::Cls, false).unwrap();
    same(&first, &device.first_attention(&x, &qkv, &packing, 3).unwrap(), sequences.len());
    let wide = device.linear(&x, &up, Epilogue::Gelu).unwrap();
    let sum = device.linear(&wide, &down, Epilogue::Residual(&x)).unwrap();
    let y = device.layer_norm(&sum, None, &norm).unwrap();
    same(&y, &device.linear_norm(&wide, &down, &x, &norm).unwrap(), tokens);
    let feed_forward = || FeedForward { up: &up, down: &down, norm: &norm };
    same(&y, &device.feed_forward(&x, feed_forward()).unwrap(), tokens);
    let output = linear(h, h, 10);
    let sum = device.linear(&context, &output, Epilogue::Residual(&x)).unwrap();
    let after_attention = device.layer_norm(&sum, None, &norm).unwrap();
    let y = device.feed_forward(&after_attention, feed_forward()).unwrap();
    let at_once = device.attended(&context, &x, (&output, &norm), feed_forward()).unwrap();
    same(&y, &at_once, tokens);
}
