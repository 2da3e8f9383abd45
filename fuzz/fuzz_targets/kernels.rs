//! Shapes, lengths, heads, epilogues, precisions and instruction sets that the fuzzer thinks of: the
//! CPU's kernels beside their naive references, under AddressSanitizer.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trine_kernels::CpuDevice;
use trine_kernels::cpu::Isa;
use trine_kernels::parity::check_drawn;

static DEVICES: LazyLock<Vec<CpuDevice>> = LazyLock::new(|| {
    let device = |isa| CpuDevice::with_isa(2, isa).expect("threads");
    Isa::available().into_iter().map(device).collect()
});

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = check_drawn(&DEVICES, bytes) {
        panic!("{error}");
    }
});
