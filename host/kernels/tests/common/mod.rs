//! What the tests share: every device there is.

#![allow(dead_code, reason = "not every test file needs every device")]

use trine_kernels::cpu::Isa;
use trine_kernels::gpu::{Adapter, GpuOptions, Products, Storage};
use trine_kernels::{CpuDevice, GpuDevice, Precision};

/// One device for each instruction set that this machine has, at every precision.
pub fn cpus() -> impl Iterator<Item = CpuDevice> {
    Precision::ALL.into_iter().flat_map(cpus_at)
}

/// One device for each instruction set that this machine has.
pub fn cpus_at(precision: Precision) -> impl Iterator<Item = CpuDevice> {
    let device = move |isa| CpuDevice::with_isa(2, isa).unwrap().at(precision);
    Isa::available().into_iter().map(device)
}

/// Each adapter in each way in which it can be used. None is a failure where the environment
/// says that there is one.
pub fn gpus() -> Vec<GpuDevice> {
    let mut devices = Vec::new();
    for adapter in Adapter::all() {
        println!("adapter: {} ({}, {})", adapter.name(), adapter.driver(), adapter.kind());
        let ways = [
            (true, Storage::F32, Products::Tiled),
            (adapter.has_f16(), Storage::F16, Products::Tiled),
            (adapter.matrix_units().is_some(), Storage::F16, Products::Cooperative),
        ];
        for (_, storage, products) in ways.into_iter().filter(|(possible, ..)| *possible) {
            let (storage, products) = (Some(storage), Some(products));
            let options = GpuOptions { storage, products, ..GpuOptions::default() };
            devices.push(adapter.open(options).unwrap());
        }
    }
    let wanted = std::env::var_os("TRINE_REQUIRE_GPU").is_some();
    assert!(!wanted || !devices.is_empty(), "TRINE_REQUIRE_GPU is set, and there is no adapter");
    if devices.is_empty() {
        println!("no adapter: the GPU's half is skipped (apt install mesa-vulkan-drivers)");
    }
    devices
}
