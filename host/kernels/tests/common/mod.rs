//! What the tests share: every device there is, and numbers.

use trine_kernels::CpuDevice;
use trine_kernels::cpu::Isa;

/// One device for each instruction set that this machine has.
pub fn devices() -> Vec<CpuDevice> {
    Isa::available().into_iter().map(|isa| CpuDevice::with_isa(2, isa).unwrap()).collect()
}

/// Numbers in [-1, 1) by a linear congruential generator (Knuth's MMIX).
pub fn numbers(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}
