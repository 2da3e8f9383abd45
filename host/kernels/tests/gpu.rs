//! What only GPUs have: limits of what a kernel can see, budgets, and code that drivers compile.

mod common;

use common::gpus;
use trine_kernels::device::{EmbeddingTables, LinearWeights, NormWeights};
use trine_kernels::gpu::{Adapter, GpuOptions, Storage};
use trine_kernels::parity::numbers;
use trine_kernels::{Device, Epilogue, GpuDevice, KernelError, Shared, embedding, linear};

/// The first adapter in f32, if there is one.
fn open(options: GpuOptions) -> Option<GpuDevice> {
    let found = Adapter::all().into_iter().next();
    if found.is_none() {
        println!("skipped: no adapter (apt install mesa-vulkan-drivers)");
    }
    Some(found?.open(GpuOptions { storage: Some(Storage::F32), ..options }).unwrap())
}

fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 2e-4, "{found}, not {expected}");
    }
}

#[test]
fn tables_and_weights_beyond_the_binding_limit_are_split() {
    const H: usize = 384;
    let options = GpuOptions { binding_limit: Some(64 << 10), ..GpuOptions::default() };
    let Some(device) = open(options) else { return };
    let (words, rest) = (numbers(100 * H, 1), numbers(20 * H, 2)); // 150 KiB, 30 KiB
    let (gamma, beta) = (numbers(H, 3), numbers(H, 4));
    let norm = NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-6 };
    let (words, rest) = (Shared::from(words), Shared::from(rest));
    let tables = EmbeddingTables { words, positions: rest.clone(), types: rest, norm };
    // Words of every part, the first and last of each among them.
    let ids: [u32; 20] =
        [0, 41, 42, 43, 83, 84, 85, 99, 1, 2, 50, 60, 70, 80, 90, 98, 97, 30, 20, 10];
    let positions: Vec<u32> = (0..20).collect();
    let types = vec![1; 20];
    let prepared = device.prepare_embedding(tables.clone()).unwrap();
    let y = device.embedding(&prepared, &ids.to_vec(), &positions, &types).unwrap();
    let expected = embedding::reference::embedding(&tables, &ids, &positions, &types);
    assert_close(&device.download(&y).unwrap(), &expected);

    let (m, n, k) = (20, 134, H); // weights of 200 KiB, in parts of 40 outputs
    let (x, weight, bias) = (numbers(m * k, 5), numbers(n * k, 6), numbers(n, 7));
    let residual = numbers(m * n, 8);
    let weights = LinearWeights { weight: &weight, bias: &bias, n, k };
    let prepared = device.prepare_linear(weights).unwrap();
    let (x_d, r_d) = (device.upload(m, k, &x).unwrap(), device.upload(m, n, &residual).unwrap());
    let y = device.linear(&x_d, &prepared, Epilogue::Residual(&r_d)).unwrap();
    let expected = linear::reference::linear(&x, weights, Epilogue::Residual(&residual));
    assert_close(&device.download(&y).unwrap(), &expected);

    // A matrix between kernels is not: the caller is told to send less.
    assert_eq!(device.rows_at_most(n), (64 << 10) / 4 / n);
    let x = device.upload(125, k, &numbers(125 * k, 9)).unwrap();
    let Err(error) = device.linear(&x, &prepared, Epilogue::None) else { panic!("67,000 bytes") };
    assert!(error.to_string().contains("fewer tokens"), "{error}");
}

#[test]
fn memory_is_used_again_and_stays_within_its_budget() {
    let options = GpuOptions { memory: Some(1 << 20), ..GpuOptions::default() };
    let Some(device) = open(options) else { return };
    let weights = LinearWeights { weight: &[0.5; 64], bias: &[0.0; 8], n: 8, k: 8 };
    let prepared = device.prepare_linear(weights).unwrap();
    let x = numbers(64 * 8, 1);
    let run = || {
        let x = device.upload(64, 8, &x)?;
        device.download(&device.linear(&x, &prepared, Epilogue::None)?)
    };
    let first = run().unwrap();
    // What the host fills is free again one submission later.
    run().unwrap();
    let taken = device.allocated();
    for _ in 0..50 {
        assert_eq!(run().unwrap(), first);
    }
    assert_eq!(device.allocated(), taken, "fifty more passes take no more memory");
    let refused = device.upload(1024, 512, &vec![0.0; 1024 * 512]);
    let Err(KernelError::Memory { needed, used, budget }) = refused else { panic!("2 MiB fit") };
    assert!(needed >= 2 << 20 && used >= 256 && budget == 1 << 20, "{needed} {used} {budget}");
    assert_eq!(run().unwrap(), first, "a refusal harms nothing");
}

#[test]
fn compiled_shaders_are_kept_and_damaged_ones_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("shaders");
    let options = GpuOptions { pipeline_cache: Some(cache.clone()), ..GpuOptions::default() };
    let compute = |device: GpuDevice| {
        let weights = LinearWeights { weight: &[2.0], bias: &[1.0], n: 1, k: 1 };
        let prepared = device.prepare_linear(weights).unwrap();
        let x = device.upload(1, 1, &[3.0]).unwrap();
        let y = device.linear(&x, &prepared, Epilogue::None).unwrap();
        assert_eq!(device.download(&y).unwrap(), [7.0]);
    };
    let Some(device) = open(options.clone()) else { return };
    compute(device);
    let files = |folder: &std::path::Path| -> Vec<_> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let [file] = &files(&cache)[..] else { panic!("one file is kept") };
    let kept = std::fs::read(file).unwrap();
    assert!(!kept.is_empty());
    compute(open(options.clone()).unwrap());
    for damaged in [&b""[..], b"no shaders", &kept[..kept.len() / 2]] {
        std::fs::write(file, damaged).unwrap();
        compute(open(options.clone()).unwrap());
    }
}

/// Numbers that f16 has no room for are refused where a model is read, not turned to infinity.
#[test]
fn weights_beyond_f16_are_refused() {
    for device in gpus() {
        let weights = LinearWeights { weight: &[70_000.0], bias: &[0.0], n: 1, k: 1 };
        let prepared = device.prepare_linear(weights);
        match device.storage() {
            Storage::F32 => assert!(prepared.is_ok()),
            Storage::F16 => {
                let Err(error) = prepared else { panic!("70000 is beyond f16") };
                assert!(error.to_string().contains("70000 does not fit f16"), "{error}");
            }
        }
    }
}

#[test]
fn a_device_given_up_says_that_it_is_lost() {
    let Some(device) = open(GpuOptions::default()) else { return };
    let x = device.upload(1, 1, &[3.0]).unwrap();
    device.destroy();
    assert!(matches!(device.download(&x), Err(KernelError::Lost(_))));
}
