//! The two wasmtime engines: one that prepares components, one that serves requests.

use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::{Limits, RuntimeError};

/// How often a running guest gives its thread back, so that a time limit can end it.
const EPOCH: Duration = Duration::from_millis(10);

/// What a request's composed components need: four components of a core module each, with the
/// shim and fixup modules that wit-component adds, and room for larger applications.
const CORE_INSTANCES_PER_REQUEST: u32 = 32;
const MEMORIES_PER_REQUEST: u32 = 8;
const TABLES_PER_REQUEST: u32 = 32;

/// All that a 32-bit memory can hold.
const LARGEST_IMAGE: u64 = 4 << 30;

/// Bytes that a request may write to a memory for its slot to be restored by copying just them. A slot
/// of which more was written is unmapped instead, and its next request faults in what it reads anew:
/// thousands of pages, where the index is large.
const KEEP_RESIDENT: usize = 4 << 20;

/// An engine that runs a component once, to fill it.
pub(crate) fn preparing() -> Result<Engine, RuntimeError> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    // Filling is short; compiling fast matters more than fast code.
    config.cranelift_opt_level(wasmtime::OptLevel::None);
    Engine::new(&config).map_err(RuntimeError::engine)
}

/// An engine whose instances come from a pool, mapped copy-on-write from their snapshots.
pub(crate) fn serving(limits: &Limits) -> Result<Engine, RuntimeError> {
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .memory_init_cow(true)
        // A snapshot beyond this would be copied at each start instead of mapped.
        .memory_guaranteed_dense_image_size(LARGEST_IMAGE)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    let engine = Engine::new(&config).map_err(RuntimeError::engine)?;
    tick(&engine)?;
    Ok(engine)
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let requests = limits.concurrency;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(requests)
        .total_core_instances(requests.saturating_mul(CORE_INSTANCES_PER_REQUEST))
        .total_memories(requests.saturating_mul(MEMORIES_PER_REQUEST))
        .total_tables(requests.saturating_mul(TABLES_PER_REQUEST))
        .total_stacks(requests.saturating_mul(4))
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_core_instances_per_component(CORE_INSTANCES_PER_REQUEST)
        .max_memories_per_component(MEMORIES_PER_REQUEST)
        .max_tables_per_component(TABLES_PER_REQUEST)
        .table_elements(100_000)
        .max_unused_warm_slots(requests)
        .linear_memory_keep_resident(KEEP_RESIDENT);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes);
    }
    pool
}

/// Advances the engine's epoch until the engine is gone.
fn tick(engine: &Engine) -> Result<(), RuntimeError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("trine-epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(EPOCH);
            }
        })
        .map(drop)
        .map_err(RuntimeError::engine)
}
