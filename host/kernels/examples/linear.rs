//! GFLOP/s of the matrix product at MiniLM's shapes: `cargo run --release --example linear -- 2`.

use std::time::Instant;

use trine_kernels::device::LinearWeights;
use trine_kernels::{CpuDevice, Device, Epilogue, KernelError};

fn main() -> Result<(), KernelError> {
    let threads = std::env::args().nth(1).and_then(|t| t.parse().ok()).unwrap_or(0);
    let device = CpuDevice::new(threads)?;
    println!("{}", device.name());
    for (m, n, k) in [(6400, 1152, 384), (6400, 384, 384), (6400, 1536, 384), (6400, 384, 1536), (16, 1536, 384)] {
        let weight: Vec<f32> = (0..n * k).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
        let weights = LinearWeights { weight: &weight, bias: &vec![0.1; n], n, k };
        let weights = device.prepare_linear(weights)?;
        let x: Vec<f32> = (0..m * k).map(|i| (i % 13) as f32 / 13.0 - 0.5).collect();
        let x = device.upload(m, k, &x)?;
        for (name, epilogue) in [("none", Epilogue::None), ("gelu", Epilogue::Gelu)] {
            let mut best = f64::INFINITY;
            for _ in 0..30 {
                let start = Instant::now();
                device.linear(&x, &weights, epilogue)?;
                best = best.min(start.elapsed().as_secs_f64());
            }
            let gflops = 2.0 * (m * n * k) as f64 / best / 1e9;
            println!("{m} x {n} x {k} {name}: {gflops:.0} GFLOP/s, {:.3} ms", best * 1e3);
        }
    }
    Ok(())
}
