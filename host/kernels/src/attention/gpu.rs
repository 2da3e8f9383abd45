//! The GPU's half: tiled.wgsl, and cooperative.wgsl for matrix units.

use crate::gpu::{GpuBuffer, GpuDevice, GpuPacking, Kernel, shaders};
use crate::pool::covers;
use crate::{Device, KernelError, Sequences};

/// Queries of a block, which workgroups share. Both shaders count in the same.
const BLOCK: usize = shaders::ATTENTION_BLOCK as usize;
const _: () = assert!(shaders::ATTENTION_COOPERATIVE_BLOCK == shaders::ATTENTION_BLOCK);
/// Queries that a workgroup of the tiled shader takes.
const QUERIES: usize = shaders::ATTENTION_QUERIES as usize;
/// Columns of a head for which the shader has room.
const HEAD_MOST: usize = 256;

/// The first row and the row after the last of a sequence, and the first of a block's queries.
pub(crate) fn query_blocks(sequences: &Sequences) -> Vec<[u32; 4]> {
    let blocks = sequences.ranges().flat_map(|rows| {
        rows.clone()
            .step_by(BLOCK)
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
    let context = device.matrix(qkv.rows, hidden)?;
    let scale = 1.0 / (head as f32).sqrt();
    let units = device.units.filter(|units| units.attend(head, &device.limits));
    let keys = keys_a_tile(device, head);
    let (shader, source, last, queries) = match (units, keys) {
        (Some(units), _) => {
            let queries = (shaders::ATTENTION_COOPERATIVE_SUBGROUPS * units.edge) as usize;
            let last = ("SUBGROUP", units.subgroup);
            (&shaders::ATTENTION_COOPERATIVE, units.source, last, queries)
        }
        (None, Some(keys)) => {
            (&shaders::ATTENTION, device.storage() as usize, ("KEYS", keys), QUERIES)
        }
        (None, None) => {
            let reason = format!("heads of {head} columns do not fit the adapter's memory");
            return Err(KernelError::shape("attention", reason));
        }
    };
    let groups = packing.block_count * (BLOCK / queries);
    let most = device.limits.max_compute_workgroups_per_dimension as usize;
    if groups > most || heads > most {
        let reason = format!("{groups} tiles of queries, {heads} heads; at most {most} of either");
        return Err(KernelError::shape("attention", reason));
    }
    device.recorder.dispatch(
        Kernel { shader, source, constants: &[("HEAD", head as u32), last] },
        &[qkv.buffer(), packing.blocks.buffer(), context.buffer()],
        &[hidden as u32, scale.to_bits()],
        [heads as u32, groups as u32],
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

/// Whether the units' attention is right through this driver, for heads of two matrix tiles: within
/// what f16 weights and values up to 3 allow.
pub(crate) fn units_attend(device: &GpuDevice) -> Result<bool, KernelError> {
    let Some(units) = device.units else { return Ok(true) };
    let (heads, hidden) = (2, 4 * units.edge as usize);
    let sequences = Sequences::from_lengths(&[BLOCK as u32 + 6, 5])?;
    let tokens = sequences.tokens();
    let qkv: Vec<f32> =
        (0..tokens * 3 * hidden).map(|i| (i * 37 % 25) as f32 / 4.0 - 3.0).collect();
    let x = device.upload(tokens, 3 * hidden, &qkv)?;
    let y = run_on_gpu(device, &x, &device.upload_sequences(&sequences)?, heads)?;
    let found = device.download(&y)?;
    let expected = super::reference::attention(&qkv, &sequences, heads, hidden);
    Ok(found.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-2))
}
