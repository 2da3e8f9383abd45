//! Shapes at random, as the fuzzer in `fuzz/` draws them, but the same at every run.

use trine_kernels::CpuDevice;
use trine_kernels::cpu::Isa;
use trine_kernels::parity::{check_drawn, numbers};

/// Cases; a sanitizer or an interpreter takes fewer.
fn cases() -> u64 {
    std::env::var("TRINE_DRAWN_CASES").map_or(600, |cases| cases.parse().unwrap())
}

#[test]
fn shapes_at_random_match_their_references() {
    let devices: Vec<CpuDevice> =
        Isa::available().into_iter().map(|isa| CpuDevice::with_isa(2, isa).unwrap()).collect();
    for case in 0..cases() {
        let bytes: Vec<u8> =
            numbers(64, case + 1).iter().map(|x| (x * 128.0) as i8 as u8).collect();
        check_drawn(&devices, &bytes).unwrap_or_else(|error| panic!("case {case}: {error}"));
    }
}
