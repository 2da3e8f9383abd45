//! The GPU's half: tiled.wgsl.

use crate::gpu::{GpuBuffer, GpuDevice, GpuPacking, shaders};
use crate::pool::covers;
use crate::{KernelError, Sequences};

/// Queries that a workgroup takes, as the shader has it.
const QUERIES: usize = 16;
/// Columns of a head for which the shader has room.
const HEAD_MOST: usize = 256;

/// The first row and the row after the last of a sequence, and the first of a block's queries.
pub(crate) fn query_blocks(sequences: &Sequences) -> Vec<[u32; 4]> {
    let blocks = sequences.ranges().flat_map(|rows| {
        rows.clone()
            .step_by(QUERIES)
            .map(move |first| [rows.start as u32, rows.end as u32, first as u32, 0])
    });
    blocks.collect()
}

pub(crate) fn run_on_gpu(
    device: &GpuDevice,
    qkv: &GpuBuffer,
    packing: &GpuPacking,
    heads: usize,
) -> Result<GpuBuffer, KernelError> {
    covers("attention", &packing.sequences, qkv.rows)?;
    device.stored("attention", qkv)?;
    let hidden = super::hidden(qkv.columns, heads)?;
    let head = hidden / heads;
    let keys = keys_a_tile(device, head).ok_or_else(|| {
        let reason = format!("heads of {head} columns do not fit the adapter's workgroup memory");
        KernelError::shape("attention", reason)
    })?;
    let context = device.matrix(qkv.rows, hidden)?;
    let scale = 1.0 / (head as f32).sqrt();
    let most = device.limits.max_compute_workgroups_per_dimension as usize;
    if packing.block_count > most || heads > most {
        let reason = format!("{} blocks of queries, at most {most}", packing.block_count);
        return Err(KernelError::shape("attention", reason));
    }
    device.run(
        &shaders::ATTENTION,
        &[("HEAD", head as u32), ("KEYS", keys)],
        &[qkv.buffer(), packing.blocks.buffer(), context.buffer()],
        &[hidden as u32, scale.to_bits()],
        [heads as u32, packing.block_count as u32],
    );
    Ok(context)
}

/// The most keys whose tile fits the memory that a workgroup shares.
fn keys_a_tile(device: &GpuDevice, head: usize) -> Option<u32> {
    let columns = head.next_multiple_of(4);
    let bytes = |keys: u32| {
        let keys = keys as usize;
        4 * (QUERIES * columns + 2 * keys * columns + QUERIES * keys)
    };
    let memory = device.limits.max_compute_workgroup_storage_size as usize;
    [32, 16, 8].into_iter().find(|&keys| head <= HEAD_MOST && bytes(keys) <= memory)
}
