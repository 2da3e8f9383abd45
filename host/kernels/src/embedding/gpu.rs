//! The GPU's half: embedding.wgsl.

use crate::device::{EmbeddingTables, KernelError};
use crate::gpu::{Block, GpuBuffer, GpuDevice, shaders};
use crate::layer_norm::GpuNorm;

/// The tables of one model on the device.
pub struct GpuTables {
    /// Rows of each table: words, positions, types.
    rows: [usize; 3],
    /// The first word of each part, the words in it, and the part.
    words: Vec<(usize, usize, Block)>,
    positions: Block,
    types: Block,
    norm: GpuNorm,
}

impl GpuTables {
    pub(crate) fn new(
        device: &GpuDevice,
        tables: EmbeddingTables,
    ) -> Result<GpuTables, KernelError> {
        let norm = GpuNorm::new(device, tables.norm)?;
        let rows = super::rows(&tables)?;
        // A table beyond what one kernel can see comes in parts.
        let words_a_part = (device.binding_limit() / device.storage().size()) as usize / norm.width;
        if words_a_part == 0 || rows[1].max(rows[2]) > words_a_part {
            let reason =
                format!("{rows:?} rows of {} are more than the adapter can bind", norm.width);
            return Err(KernelError::Device(reason));
        }
        let mut words = Vec::new();
        for (index, part) in tables.words.chunks(words_a_part * norm.width).enumerate() {
            let block = device.keep_stored("a word embedding", part)?;
            words.push((index * words_a_part, part.len() / norm.width, block));
        }
        Ok(GpuTables {
            rows,
            words,
            positions: device.keep_stored("a position embedding", &tables.positions)?,
            types: device.keep_stored("a type embedding", &tables.types)?,
            norm,
        })
    }

    pub(crate) fn run(
        &self,
        device: &GpuDevice,
        words: &[u32],
        positions: &[u32],
        types: &[u32],
    ) -> Result<GpuBuffer, KernelError> {
        super::check_ids(self.rows, [words, positions, types])?;
        let ids: Vec<[u32; 4]> = words
            .iter()
            .zip(positions)
            .zip(types)
            .map(|((&word, &position), &kind)| [word, position, kind, 0])
            .collect();
        let ids = device.send(bytemuck::cast_slice(&ids))?;
        let (tokens, width) = (words.len(), self.norm.width);
        let y = device.matrix(tokens, width)?;
        for (first, count, part) in &self.words {
            device.run(
                &shaders::EMBEDDING,
                &[],
                &[
                    ids.buffer(),
                    part.buffer(),
                    self.positions.buffer(),
                    self.types.buffer(),
                    self.norm.gamma.buffer(),
                    self.norm.beta.buffer(),
                    y.buffer(),
                ],
                &[
                    tokens as u32,
                    width as u32,
                    *first as u32,
                    *count as u32,
                    self.norm.epsilon.to_bits(),
                ],
                device.groups(tokens),
            );
        }
        Ok(y)
    }
}
