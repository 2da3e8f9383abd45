//! Matrix product with a fused last step: `y = f(x Wᵀ + b)`.
//!
//! `x` `[m, k]`, `W` `[n, k]` (as PyTorch's `nn.Linear` stores it), `b` `[n]` -> `y` `[m, n]`.
//! Products are summed over k from 0 upwards, in f32 or, of whole numbers, exactly; then the bias
//! is added, then the [`Epilogue`] applied. What is rounded before is a matter of the device, on
//! the CPU of its [`crate::Precision`]. Refused: `x` whose columns are not `k`, a residual that is
//! not `[m, n]`, and at int8 more than 66,311 inputs.

mod finish;
mod gpu;
pub mod reference;

use std::ops::Range;

use rayon::prelude::*;

use crate::Shared;
use crate::cpu::{
    CpuBuffer, CpuDevice, Finish, Left, MOST_INPUTS, Matrix, Number, Precision, Step, fetch, tiles,
};
use crate::device::{KernelError, LinearWeights};

use finish::Last;
pub use gpu::GpuWeights;
pub(crate) use gpu::{Units, units_multiply};

/// What happens to each element after the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue<B> {
    /// Nothing.
    None,
    /// `x Phi(x)` by the exact error function, not its tanh approximation; within 1e-6, or
    /// within 1e-4 where inputs are rounded to 8 bits.
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
    /// Plus a matrix `[m, n]`.
    Residual(B),
}

impl<B> Epilogue<B> {
    /// The same with another form of the residual.
    pub(crate) fn map<C>(self, form: impl FnOnce(B) -> C) -> Epilogue<C> {
        match self {
            Epilogue::None => Epilogue::None,
            Epilogue::Gelu => Epilogue::Gelu,
            Epilogue::Tanh => Epilogue::Tanh,
            Epilogue::Residual(residual) => Epilogue::Residual(form(residual)),
        }
    }
}

/// Weights in the numbers of their device's precision.
pub struct Prepared {
    n: usize,
    k: usize,
    matrix: Matrix,
    /// Filled up with zeros to whole panels.
    bias: Vec<f32>,
}

impl Prepared {
    pub(crate) fn new(device: &CpuDevice, weights: LinearWeights) -> Result<Prepared, KernelError> {
        check(weights)?;
        let LinearWeights { weight, bias, n, k } = weights;
        if device.precision() == Precision::Int8 && k > MOST_INPUTS {
            let reason = format!("{k} inputs; int8 adds up at most {MOST_INPUTS}");
            return Err(KernelError::shape("linear", reason));
        }
        Ok(Prepared::with(device, Matrix::new(device, weight, n, k), bias, [n, k]))
    }

    /// The matrix `[n, k]` whose [`Prepared::words`] these are.
    pub(crate) fn restore(
        device: &CpuDevice,
        words: Shared<u32>,
        bias: &[f32],
        [n, k]: [usize; 2],
    ) -> Result<Prepared, KernelError> {
        let (found, biases) = (words.len(), bias.len());
        match Matrix::restore(device, words, n, k) {
            Some(matrix) if n > 0 && k > 0 && biases == n => {
                Ok(Prepared::with(device, matrix, bias, [n, k]))
            }
            _ => {
                let reason = format!("{found} words and {biases} biases are no [{n}, {k}]");
                Err(KernelError::shape("linear", reason))
            }
        }
    }

    fn with(device: &CpuDevice, matrix: Matrix, bias: &[f32], [n, k]: [usize; 2]) -> Prepared {
        let mut bias = bias.to_vec();
        bias.resize(n.next_multiple_of(device.isa.tile().columns), 0.0);
        Prepared { n, k, matrix, bias }
    }

    /// The packed matrix.
    pub(crate) fn words(&self) -> &[u32] {
        self.matrix.words()
    }

    /// Outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.k
    }

    /// Refuses operands that do not fit together.
    pub(crate) fn fits(
        &self,
        x: &CpuBuffer,
        epilogue: Epilogue<&CpuBuffer>,
    ) -> Result<(), KernelError> {
        let residual = match epilogue {
            Epilogue::Residual(residual) => Some(residual.shape()),
            _ => None,
        };
        fits(x.shape(), residual, self.n, self.k)
    }

    /// `y = f(x Wᵀ + b)` of some rows, all by the thread that calls.
    pub(crate) fn block<T: Number, U: Number>(
        &self,
        device: &CpuDevice,
        x: &[T],
        epilogue: Epilogue<&[f32]>,
        y: &mut [U],
    ) {
        self.block_columns(device, x, 0..self.n, epilogue, y);
    }

    /// [`Prepared::block`] of the panels in which some columns of `y` lie; `y` has all columns.
    pub(crate) fn block_columns<T: Number, U: Number>(
        &self,
        device: &CpuDevice,
        x: &[T],
        columns: Range<usize>,
        epilogue: Epilogue<&[f32]>,
        y: &mut [U],
    ) {
        let rows = x.len() / self.k;
        let mut scratch = None;
        let x = self.matrix.left(device, x, &mut scratch);
        let width = device.isa.tile().columns;
        let mut stretch = Stretch::default();
        for panel in columns.start / width..columns.end.div_ceil(width) {
            let y = &mut y[panel * width..];
            self.panel(device, &x, rows, panel, epilogue, y, self.n, &mut stretch);
        }
    }

    /// One panel times `rows` rows; `out` begins at the panel's first column and has `stride`
    /// elements a row.
    #[expect(clippy::too_many_arguments, reason = "two matrices and where they lie")]
    fn panel<'a, U: Number>(
        &'a self,
        device: &CpuDevice,
        x: &Left,
        rows: usize,
        panel: usize,
        epilogue: Epilogue<&'a [f32]>,
        out: &mut [U],
        stride: usize,
        Stretch { product, wide }: &mut Stretch,
    ) {
        let columns = device.isa.tile().columns;
        let first = panel * columns;
        let width = columns.min(self.n - first);
        let bias = &self.bias[first..][..columns];
        let (isa, rough) = (device.isa, device.precision() != Precision::F32);
        if let Some(step) = self.step(first, epilogue, rough) {
            let out = &mut Finish { step, out: U::places(out), stride };
            return self.matrix.finish(x, rows, panel, out);
        }
        for (top, height) in tiles(rows, STRETCH_ROWS) {
            product.resize(height * columns, 0.0);
            let residual = |residual: &'a [f32]| &residual[top * self.n + first..];
            let epilogue = epilogue.map(residual);
            if let Epilogue::Residual(residual) = epilogue {
                // Read while the product is computed, whose end would wait for it.
                for row in residual.chunks(self.n).take(height) {
                    row[..width].iter().step_by(16).for_each(fetch);
                }
            }
            let whole = self.matrix.multiply(x, (top, height), panel, product);
            let last = Last { whole, bias, epilogue, isa, rough, n: self.n, width, stride };
            last.finish(product, wide, &mut out[top * stride..]);
        }
    }

    /// The last step of the panel whose columns begin with `first`, where it can be taken in registers.
    fn step<'a>(
        &'a self,
        first: usize,
        epilogue: Epilogue<&'a [f32]>,
        rough: bool,
    ) -> Option<Step<'a>> {
        let bias = self.bias[first..self.n].first_chunk().filter(|_| self.matrix.finishes())?;
        match epilogue {
            Epilogue::None => Some(Step::Add { residual: None, bias }),
            Epilogue::Residual(x) => {
                Some(Step::Add { residual: Some((&x[first..], self.n)), bias })
            }
            Epilogue::Gelu if rough => Some(Step::Gelu { bias }),
            Epilogue::Gelu | Epilogue::Tanh => None,
        }
    }
}

/// Rows of a panel's product that are finished at once: many, as each time costs, and so few that they are
/// still in the first cache. A multiple of every tile's height.
const STRETCH_ROWS: usize = 48;

/// What a task writes over and over: a panel's product, and where that is rounded, what it was before.
#[derive(Default)]
struct Stretch {
    product: Vec<f32>,
    wide: Vec<f32>,
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
pub(crate) const BLOCK_ROWS: usize = 48;

/// Whether `rows` rows are enough for every thread to take blocks of them.
pub(crate) fn by_rows(device: &CpuDevice, rows: usize) -> bool {
    device.share == 1 || rows.div_ceil(BLOCK_ROWS) >= 2 * device.share
}

pub(crate) fn run(
    device: &CpuDevice,
    x: &CpuBuffer,
    weights: &Prepared,
    epilogue: Epilogue<&CpuBuffer>,
) -> Result<CpuBuffer, KernelError> {
    weights.fits(x, epilogue)?;
    let (m, n) = (x.rows(), weights.n);
    let mut y = device.take(m, n);
    if m == 0 {
        return Ok(y);
    }
    let epilogue = epilogue.map(CpuBuffer::data);
    if by_rows(device, m) {
        let blocks = y.data_mut().par_chunks_mut(BLOCK_ROWS * n).enumerate();
        blocks.zip(x.data().par_chunks(BLOCK_ROWS * weights.k)).for_each(|((block, y), x)| {
            let epilogue = epilogue.map(|residual| &residual[block * BLOCK_ROWS * n..]);
            weights.block(device, x, epilogue, y);
        });
    } else {
        by_panels(device, x.data(), weights, epilogue, &mut y);
    }
    Ok(y)
}

/// Few rows, such as one query's: a task takes a panel and all rows. The panels' results are
/// put together afterwards, which costs one move for k multiply-adds.
fn by_panels(
    device: &CpuDevice,
    x: &[f32],
    weights: &Prepared,
    epilogue: Epilogue<&[f32]>,
    y: &mut CpuBuffer,
) {
    let (m, n, columns) = (y.rows(), weights.n, device.isa.tile().columns);
    let mut scratch = None;
    let x = weights.matrix.left(device, x, &mut scratch);
    let mut parts = device.take(n.div_ceil(columns), m * columns);
    parts.data_mut().par_chunks_mut(m * columns).enumerate().for_each(|(panel, part)| {
        let stretch = &mut Stretch::default();
        weights.panel(device, &x, m, panel, epilogue, part, columns, stretch);
    });
    for (panel, part) in parts.data().chunks_exact(m * columns).enumerate() {
        let first = panel * columns;
        let width = columns.min(n - first);
        for (y, part) in y.data_mut().chunks_exact_mut(n).zip(part.chunks_exact(columns)) {
            y[first..first + width].copy_from_slice(&part[..width]);
        }
    }
}
