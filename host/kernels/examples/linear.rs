//! GFLOP/s of the matrix product at MiniLM's shapes, at every precision on every instruction
//! set there is:
//! `cargo run --release -p trine-kernels --example linear -- [THREADS]`.

use std::time::Instant;

use trine_kernels::cpu::Isa;
use trine_kernels::device::LinearWeights;
use trine_kernels::{CpuDevice, Device, Epilogue, KernelError, Precision};

/// Rows, outputs, inputs: the four products of a layer for 50 texts of 128 tokens, and one of a
/// query of 16.
const SHAPES: [(usize, usize, usize); 5] =
    [(6400, 1152, 384), (6400, 384, 384), (6400, 1536, 384), (6400, 384, 1536), (16, 1536, 384)];

fn main() -> Result<(), KernelError> {
    let threads = std::env::args().nth(1).and_then(|t| t.parse().ok()).unwrap_or(0);
    for isa in Isa::available() {
        for precision in Precision::ALL {
            let device = CpuDevice::with_isa(threads, isa)?.at(precision);
            println!("{}", device.name());
            for shape in SHAPES {
                for (name, epilogue) in [("plain", Epilogue::None), ("GELU", Epilogue::Gelu)] {
                    let seconds = best_of(5, &device, shape, epilogue)?;
                    let (m, n, k) = shape;
                    let gflops = 2.0 * (m * n * k) as f64 / seconds / 1e9;
                    println!("  {m} x {n} x {k} {name}: {gflops:.0} GFLOP/s");
                }
            }
        }
    }
    Ok(())
}

fn best_of(
    repeats: usize,
    device: &CpuDevice,
    (m, n, k): (usize, usize, usize),
    epilogue: Epilogue<&<CpuDevice as Device>::Buffer>,
) -> Result<f64, KernelError> {
    let values =
        |length: usize| (0..length).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect::<Vec<_>>();
    let weights = LinearWeights { weight: &values(n * k), bias: &values(n), n, k };
    let weights = device.prepare_linear(weights)?;
    let x = device.upload(m, k, &values(m * k))?;
    let mut best = f64::INFINITY;
    for _ in 0..repeats {
        let start = Instant::now();
        device.linear(&x, &weights, epilogue)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
