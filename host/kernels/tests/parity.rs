//! Every kernel against its naive reference, at every precision on every instruction set, and on
//! every adapter that this machine has; and what every device refuses.

mod common;

use common::{cpus, gpus};
use trine_kernels::device::{EmbeddingTables, LinearWeights, NormWeights};
use trine_kernels::parity::{self, Exactness};
use trine_kernels::{
    CpuDevice, Device, Epilogue, FeedForward, Pooling, Precision, Sequences, Shared,
};

fn assert_parity<D: Device>(device: &D, exactness: Exactness) {
    match parity::check(device, exactness) {
        Ok(reports) => {
            for report in reports {
                println!("{}: {report:?}", device.name());
                assert!(report.values > 0, "{report:?}");
            }
        }
        Err(error) => panic!("{}: {error}", device.name()),
    }
}

#[test]
fn every_kernel_matches_its_reference_on_the_cpu() {
    cpus().for_each(|device| assert_parity(&device, Exactness::at(device.precision())));
}

#[test]
fn every_kernel_matches_its_reference_on_every_adapter() {
    for device in gpus() {
        assert_parity(&device, Exactness::of(&device));
    }
}

#[test]
fn every_kernel_of_a_decoder_matches_its_reference() {
    let see = |name: String, result: Result<Vec<parity::Report>, parity::ParityError>| {
        for report in result.unwrap_or_else(|error| panic!("{name}: {error}")) {
            println!("{name}: {report:?}");
            assert!(report.values > 0, "{report:?}");
        }
    };
    let best = CpuDevice::with_precision(2, Precision::Bf16).unwrap();
    for device in common::cpus_at(Precision::F32).chain([best]) {
        let exactness = Exactness::at(device.precision());
        see(device.name(), parity::check_decoding(&device, exactness, true));
    }
    for device in gpus() {
        see(device.name(), parity::check_decoding(&device, Exactness::of(&device), false));
    }
}

/// The check itself must see a kernel that is off.
#[test]
fn a_kernel_beyond_its_tolerance_is_found() {
    let device = CpuDevice::new(1).unwrap();
    let closer = Exactness { arithmetic: 1e-3, ..Exactness::CPU };
    let error = parity::check(&device, closer).unwrap_err();
    assert!(error.to_string().contains("linear, m 1"), "{error}");
    // As is one that rounds more than it says.
    let error = parity::check(&device.at(Precision::Bf16), Exactness::CPU).unwrap_err();
    assert!(error.to_string().contains("linear, m 1"), "{error}");
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    cpus().for_each(|device| assert_refusals(&device));
    gpus().iter().for_each(assert_refusals);
}

fn assert_refusals<D: Device>(device: &D) {
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
    assert!(device.head(&x, &five).is_err());
    assert!(device.linear(&x, &six, Epilogue::Residual(&x)).is_err());
    let packing = |lengths: &[u32]| {
        device.upload_sequences(&Sequences::from_lengths(lengths).unwrap()).unwrap()
    };
    let (three, four) = (packing(&[3]), packing(&[4]));
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
        words: Shared::new([0.0; 10]),
        positions: Shared::new([0.0; 10]),
        types: Shared::new([0.0; 5]),
        norm: norm(&[1.0; 5], &[0.0; 5]),
    };
    let broken = EmbeddingTables { words: Shared::new([0.0; 9]), ..tables.clone() };
    assert!(device.prepare_embedding(broken).is_err());
    let tables = device.prepare_embedding(tables).unwrap();
    let ids = |ids: &[u32]| device.upload_ids(ids).unwrap();
    let look_up =
        |w: u32, p: u32, t: u32| device.embedding(&tables, &ids(&[w]), &ids(&[p]), &ids(&[t]));
    assert!(look_up(1, 1, 0).is_ok());
    assert!(look_up(2, 0, 0).is_err());
    assert!(look_up(0, 2, 0).is_err());
    assert!(look_up(0, 0, 1).is_err());
    assert!(device.embedding(&tables, &ids(&[0]), &ids(&[]), &ids(&[0])).is_err());
    assert!(Sequences::from_lengths(&[u32::MAX, 1]).is_err());
}

#[test]
fn steps_that_do_not_fit_are_refused() {
    // Few rows, and enough to be taken through several steps at once.
    for rows in [4, 400] {
        cpus().for_each(|device| assert_steps_refused(&device, rows));
        gpus().iter().for_each(|device| assert_steps_refused(device, rows));
    }
}

fn assert_steps_refused<D: Device>(device: &D, rows: usize) {
    let x = device.upload(rows, 6, &vec![0.0; rows * 6]).unwrap();
    let short = device.upload(rows - 1, 6, &vec![0.0; (rows - 1) * 6]).unwrap();
    let linear = |n: usize, k: usize| {
        let weights = LinearWeights { weight: &vec![0.0; n * k], bias: &vec![0.0; n], n, k };
        device.prepare_linear(weights).unwrap()
    };
    let norm = |width: usize| {
        let (gamma, beta) = (vec![1.0; width], vec![0.0; width]);
        device.prepare_norm(NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-12 }).unwrap()
    };
    let (square, up, down, six) = (linear(6, 6), linear(8, 6), linear(6, 8), norm(6));
    assert!(device.linear_norm(&x, &square, &x, &six).is_ok());
    assert!(device.linear_norm(&x, &down, &x, &six).is_err());
    assert!(device.linear_norm(&x, &square, &short, &six).is_err());
    assert!(device.linear_norm(&x, &square, &x, &norm(5)).is_err());
    let (narrow, short_down, five, wide) = (linear(5, 8), linear(6, 7), norm(5), norm(8));
    for (fits, up, down, norm) in [
        (true, &up, &down, &six),
        (false, &down, &up, &six),
        (false, &up, &narrow, &five),
        (false, &up, &short_down, &six),
        (false, &up, &down, &five),
    ] {
        let weights = || FeedForward { up, down, norm };
        assert_eq!(device.feed_forward(&x, weights()).is_ok(), fits);
        assert_eq!(device.attended(&x, &x, (&square, &six), weights()).is_ok(), fits);
    }
    let plain = || FeedForward { up: &up, down: &down, norm: &six };
    assert!(device.attended(&x, &short, (&square, &six), plain()).is_err());
    assert!(device.attended(&x, &x, (&square, &five), plain()).is_err());
    assert!(device.attended(&x, &x, (&up, &wide), plain()).is_err());
    let packing = |count: usize| {
        let lengths = vec![1; count];
        device.upload_sequences(&Sequences::from_lengths(&lengths).unwrap()).unwrap()
    };
    let (all, fewer, qkv) = (packing(rows), packing(rows - 1), linear(18, 6));
    for attend in [D::self_attention, D::first_attention] {
        assert!(attend(device, &x, &qkv, &all, 3).is_ok());
        assert!(attend(device, &x, &qkv, &fewer, 3).is_err());
        assert!(attend(device, &x, &qkv, &all, 0).is_err());
        assert!(attend(device, &x, &qkv, &all, 4).is_err());
        assert!(attend(device, &x, &linear(18, 5), &all, 3).is_err());
    }
}
