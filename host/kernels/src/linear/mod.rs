//! Matrix product with a fused last step: `y = f(x Wᵀ + b)`.
//!
//! `x` `[m, k]`, `W` `[n, k]` (as PyTorch's `nn.Linear` stores it), `b` `[n]` -> `y` `[m, n]`.
//! Products are summed in f32 over k from 0 upwards, then the bias is added, then the
//! [`Epilogue`] applied. Refused: `x` whose columns are not `k`, a residual that is not `[m, n]`.

mod gpu;
pub mod reference;

use rayon::prelude::*;

use crate::cpu::{self, CpuBuffer, CpuDevice, TILE_COLUMNS_MAX, TILE_ROWS_MAX, Tile};
use crate::device::{KernelError, LinearWeights};

pub use gpu::GpuWeights;
pub(crate) use gpu::{Units, units_multiply};

/// What happens to each element after the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue<B> {
    /// Nothing.
    None,
    /// `x Phi(x)` by the exact error function, not its tanh approximation; within 1e-6.
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
    /// Plus a matrix `[m, n]`.
    Residual(B),
}

/// Weights in panels, see [`crate::cpu`].
pub struct Prepared {
    n: usize,
    k: usize,
    panels: Vec<f32>,
    /// Filled up with zeros to whole panels.
    bias: Vec<f32>,
}

impl Prepared {
    pub(crate) fn new(device: &CpuDevice, weights: LinearWeights) -> Result<Prepared, KernelError> {
        check(weights)?;
        let LinearWeights { weight, bias, n, k } = weights;
        let columns = device.isa.tile().columns;
        let whole = n.next_multiple_of(columns);
        let mut panels = vec![0.0; whole * k];
        cpu::pack_panels(columns, n, k, |j| &weight[j * k..][..k], &mut panels);
        let mut bias = bias.to_vec();
        bias.resize(whole, 0.0);
        Ok(Prepared { n, k, panels, bias })
    }
}

/// Refuses weights that are not what their sizes say.
fn check(weights: LinearWeights) -> Result<(), KernelError> {
    let LinearWeights { weight, bias, n, k } = weights;
    if n == 0 || k == 0 || n.checked_mul(k) != Some(weight.len()) || bias.len() != n {
        let (weights, biases) = (weight.len(), bias.len());
        let reason =
            format!("{weights} weights and {biases} biases do not make [{n}, {k}] and [{n}]");
        return Err(KernelError::shape("linear", reason));
    }
    Ok(())
}

/// Refuses operands that do not fit weights `[n, k]`; shapes are `[rows, columns]`.
fn fits(
    x: [usize; 2],
    residual: Option<[usize; 2]>,
    n: usize,
    k: usize,
) -> Result<(), KernelError> {
    if x[1] != k {
        return Err(KernelError::shape("linear", format!("{x:?} times a matrix of {k} inputs")));
    }
    if let Some(residual) = residual.filter(|residual| *residual != [x[0], n]) {
        let reason = format!("residual {residual:?}, result [{}, {n}]", x[0]);
        return Err(KernelError::shape("linear", reason));
    }
    Ok(())
}

/// Rows of `x` that one task works through. They stay in the second-level cache while the
/// panels pass by; a multiple of every tile's height.
const BLOCK_ROWS: usize = 48;

pub(crate) fn run(
    device: &CpuDevice,
    x: &CpuBuffer,
    weights: &Prepared,
    epilogue: Epilogue<&CpuBuffer>,
) -> Result<CpuBuffer, KernelError> {
    let (m, n) = (x.rows(), weights.n);
    let residual = match epilogue {
        Epilogue::Residual(residual) => Some([residual.rows(), residual.columns()]),
        _ => None,
    };
    fits([m, x.columns()], residual, n, weights.k)?;
    let product = Product { device, x, weights, epilogue, tile: device.isa.tile() };
    let mut y = device.take(m, n);
    if m.div_ceil(BLOCK_ROWS) >= 2 * device.threads() {
        product.by_rows(&mut y);
    } else {
        product.by_panels(&mut y);
    }
    Ok(y)
}

struct Product<'a> {
    device: &'a CpuDevice,
    x: &'a CpuBuffer,
    weights: &'a Prepared,
    epilogue: Epilogue<&'a CpuBuffer>,
    tile: Tile,
}

impl Product<'_> {
    /// Many rows: a task takes a block of them and all panels.
    fn by_rows(&self, y: &mut CpuBuffer) {
        let n = self.weights.n;
        y.data_mut().par_chunks_mut(BLOCK_ROWS * n).enumerate().for_each(|(block, y)| {
            let first = block * BLOCK_ROWS;
            for panel in 0..n.div_ceil(self.tile.columns) {
                self.panel(panel, first, y.len() / n, &mut y[panel * self.tile.columns..], n);
            }
        });
    }

    /// Few rows, such as one query's: a task takes a panel and all rows. The panels' results are
    /// put together afterwards, which costs one move for k multiply-adds.
    fn by_panels(&self, y: &mut CpuBuffer) {
        let (m, n, columns) = (self.x.rows(), self.weights.n, self.tile.columns);
        let mut parts = self.device.take(n.div_ceil(columns), m * columns);
        if m == 0 {
            return;
        }
        parts.data_mut().par_chunks_mut(m * columns).enumerate().for_each(|(panel, part)| {
            self.panel(panel, 0, m, part, columns);
        });
        for (panel, part) in parts.data().chunks_exact(m * columns).enumerate() {
            let first = panel * columns;
            let width = columns.min(n - first);
            for (y, part) in y.data_mut().chunks_exact_mut(n).zip(part.chunks_exact(columns)) {
                y[first..first + width].copy_from_slice(&part[..width]);
            }
        }
    }

    /// One panel times the rows `first..first + rows`; `out` begins at the panel's first column
    /// and has `stride` elements a row.
    fn panel(&self, panel: usize, first: usize, rows: usize, out: &mut [f32], stride: usize) {
        let Tile { rows: height, columns } = self.tile;
        let (k, n) = (self.weights.k, self.weights.n);
        let from = panel * columns;
        let width = columns.min(n - from);
        let values = &self.weights.panels[from * k..][..columns * k];
        let mut tile = [0.0; TILE_ROWS_MAX * TILE_COLUMNS_MAX];
        for top in (0..rows).step_by(height) {
            let height = height.min(rows - top);
            let a = &self.x.data()[(first + top) * k..];
            let tile = &mut tile[..height * columns];
            self.device.isa.multiply(height, a, k, values, tile, columns);
            self.finish(first + top, from, tile);
            for (row, tile) in tile.chunks_exact(columns).enumerate() {
                out[(top + row) * stride..][..width].copy_from_slice(&tile[..width]);
            }
        }
    }

    /// Bias and epilogue of a tile whose upper left element is `y[row, column]`.
    fn finish(&self, row: usize, column: usize, tile: &mut [f32]) {
        let (columns, n) = (self.tile.columns, self.weights.n);
        let bias = &self.weights.bias[column..][..columns];
        self.device.isa.each(
            #[inline(always)]
            || {
                for values in tile.chunks_exact_mut(columns) {
                    values.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
                match self.epilogue {
                    Epilogue::None => {}
                    Epilogue::Gelu => tile.iter_mut().for_each(|y| *y = cpu::gelu(*y)),
                    Epilogue::Tanh => tile.iter_mut().for_each(|y| *y = y.tanh()),
                    Epilogue::Residual(residual) => {
                        let rows = residual.data()[row * n..].chunks_exact(n);
                        for (values, residual) in tile.chunks_exact_mut(columns).zip(rows) {
                            let residual = residual[column..].iter();
                            values.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
                        }
                    }
                }
            },
        );
    }
}
