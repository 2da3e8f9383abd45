//! The GPU's half: block_linear.wgsl.

use super::{BlockMatrix, COLUMNS, Format, Layout, check, panel_bytes};
use crate::KernelError;
use crate::gpu::{Block, GpuBuffer, GpuDevice, Kernel, shaders};

/// Matrices in panels on the device.
pub struct GpuBlocks {
    n: usize,
    k: usize,
    parts: Vec<Part>,
    /// Of all outputs; zeros where there is none.
    bias: Block,
}

/// Panels that one kernel sees.
struct Part {
    format: Format,
    /// Its first output among all, and how many it has.
    first: usize,
    n: usize,
    panels: Block,
}

impl GpuBlocks {
    pub(crate) fn new(
        device: &GpuDevice,
        parts: &[BlockMatrix],
        bias: Option<&[f32]>,
    ) -> Result<GpuBlocks, KernelError> {
        let [n, k] = check(parts, bias)?;
        let (mut kept, mut first) = (Vec::new(), 0);
        for part in parts {
            let size = panel_bytes(part.format, k);
            let panels = device.binding_limit() as usize / size;
            if panels == 0 {
                let reason = format!("a panel of {k} inputs is more than the adapter can bind");
                return Err(KernelError::Device(reason));
            }
            for (index, bytes) in
                bytemuck::cast_slice::<_, u8>(&part.pack()).chunks(panels * size).enumerate()
            {
                let from = index * panels * COLUMNS;
                let n = (bytes.len() / size * COLUMNS).min(part.n - from);
                let panels = device.keep_bytes(bytes)?;
                kept.push(Part { format: part.format, first: first + from, n, panels });
            }
            first += part.n;
        }
        let bias = bias.map_or_else(|| vec![0.0; n], <[f32]>::to_vec);
        Ok(GpuBlocks { n, k, parts: kept, bias: device.keep(&bias)? })
    }

    pub(crate) fn run(
        &self,
        device: &GpuDevice,
        x: &GpuBuffer,
        residual: Option<&GpuBuffer>,
    ) -> Result<GpuBuffer, KernelError> {
        device.stored("block_linear", x)?;
        residual.map_or(Ok(()), |r| device.stored("block_linear", r))?;
        let added = residual.map(|r| [r.rows, r.columns]);
        super::fits([x.rows, x.columns], added, [self.n, self.k])?;
        let y = device.matrix(x.rows, self.n)?;
        for part in &self.parts {
            let layout = match part.format.is_quantised() {
                true => Layout::of(part.format),
                // Plain numbers have no blocks; the shader divides by this all the same.
                false => Layout { head: 0, runs: 1, run: 32, nibbles: false, zero: 0 },
            };
            let panels = part.n.div_ceil(COLUMNS);
            let constants = [
                ("BITS", bits(part.format)),
                ("HEAD", (layout.head / 4) as u32),
                ("RUNS", layout.runs as u32),
                ("RUN", layout.run as u32),
                ("ZERO", layout.zero as u32),
                ("ADD_RESIDUAL", residual.is_some().into()),
            ];
            let kernel = Kernel {
                shader: &shaders::BLOCK_LINEAR,
                source: device.storage() as usize,
                constants: &constants,
            };
            let rows = shaders::BLOCK_LINEAR_ROWS as usize;
            let [across, down] = device.groups(panels * x.rows.div_ceil(rows));
            device.recorder.dispatch(
                kernel,
                &[
                    x.buffer(),
                    part.panels.buffer(),
                    self.bias.buffer(),
                    residual.unwrap_or(x).buffer(),
                    y.buffer(),
                ],
                &[x.rows, part.n, self.k, self.n, part.first, panels].map(|size| size as u32),
                [across, down],
            );
        }
        Ok(y)
    }
}

/// What a number is made of, as block_linear.wgsl numbers it.
fn bits(format: Format) -> u32 {
    match format {
        Format::F32 => shaders::BLOCK_LINEAR_F32,
        Format::F16 => shaders::BLOCK_LINEAR_F16,
        Format::Bf16 => shaders::BLOCK_LINEAR_BF16,
        Format::Q8_0 | Format::Q5K | Format::Q6K => shaders::BLOCK_LINEAR_BYTES,
        Format::Q4_0 | Format::Q4K => shaders::BLOCK_LINEAR_NIBBLES,
    }
}
