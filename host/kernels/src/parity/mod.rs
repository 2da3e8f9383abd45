//! Every kernel of a device against its naive reference, at sizes below, at and off the edges of
//! its tiles.
//!
//! One body for every device: the tests run it on each instruction set and adapter of a machine,
//! and a program can run it where it is to work. Inputs are rounded to what the device stores
//! before the reference sees them, so that what is left is the device's own error.

mod cases;
mod decoding;
mod drawn;

pub use decoding::check_decoding;
pub use drawn::check_drawn;

use crate::gpu::{Products, Storage};
use crate::{Device, GpuDevice, KernelError, Precision};

/// How exactly a device computes.
#[derive(Clone, Copy, Debug)]
pub struct Exactness {
    /// A number as the device stores it.
    pub stored: fn(f32) -> f32,
    /// Largest relative error of storing a number.
    pub rounding: f64,
    /// Error of its arithmetic, as a multiple of the CPU's in f32.
    pub arithmetic: f64,
    /// Largest relative error of an attention's weights where they meet the values.
    pub weights: f64,
    /// Standard deviation of a term of a product, of factors in [-1, 1), by rounding them beyond
    /// what is stored.
    pub terms: f64,
    /// Error of GELU beyond that of its argument.
    pub gelu: f64,
}

impl Exactness {
    /// f32 with IEEE arithmetic and elementary functions within 2 ulp.
    pub const CPU: Exactness = Exactness {
        stored: |x| x,
        rounding: 0.0,
        arithmetic: 1.0,
        weights: 0.0,
        terms: 0.0,
        gelu: 0.0,
    };

    /// The same, factors of products rounded to bf16 before. An attention's weights are rounded to
    /// 8 bits, and within 1.1e-4 before that, after which they do not quite add up to 1.
    pub const CPU_BF16: Exactness = Exactness {
        stored: |x| half::bf16::from_f32(x).to_f32(),
        weights: 0.5 / 256.0 + 2.2e-4,
        gelu: 1e-4,
        ..Exactness::CPU
    };

    /// The same, linear layers in steps of 1/127 of an output's largest weight and 1/255 of the
    /// range of a row: an error that is uniform in a step has its square / 12, and the factor that
    /// it meets a mean square of 1/3. The root of ((1/127)^2 + (2/255)^2) / 36.
    pub const CPU_INT8: Exactness = Exactness { terms: 1.86e-3, ..Exactness::CPU_BF16 };

    /// f32 as Vulkan asks for it: division within 2.5 ulp, `exp(x)` within 3 + 2|x| ulp
    /// (Vulkan specification, "Precision and Operation of SPIR-V Instructions"), against scores
    /// up to 30.
    pub const GPU_F32: Exactness = Exactness { arithmetic: 4.0, ..Exactness::CPU };

    /// The same in between, and results rounded to f16's 11 bits: half a unit of the last, and a
    /// little where the unrounded values straddle a boundary.
    pub const GPU_F16: Exactness = Exactness {
        stored: |x| half::f16::from_f32(x).to_f32(),
        rounding: 1.02 / 2048.0,
        ..Exactness::GPU_F32
    };

    /// The same on matrix units, which take an attention's weights in f16 too.
    pub const GPU_UNITS: Exactness = Exactness { weights: 0.5 / 1024.0, ..Exactness::GPU_F16 };

    /// Of the CPU at a precision.
    pub fn at(precision: Precision) -> Exactness {
        match precision {
            Precision::F32 => Exactness::CPU,
            Precision::Bf16 => Exactness::CPU_BF16,
            Precision::Int8 => Exactness::CPU_INT8,
        }
    }

    /// Of a GPU as it was opened.
    pub fn of(device: &GpuDevice) -> Exactness {
        match (device.storage(), device.products()) {
            (Storage::F32, _) => Exactness::GPU_F32,
            (Storage::F16, Products::Tiled) => Exactness::GPU_F16,
            (Storage::F16, Products::Cooperative) => Exactness::GPU_UNITS,
        }
    }

    /// What [`Bench::compare`] takes for a tolerance and an error that is no matter of arithmetic.
    fn tolerance(&self, arithmetic: f64, other: f64) -> f64 {
        arithmetic + other / self.arithmetic
    }
}

/// What one kernel was put to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The kernel.
    pub kernel: &'static str,
    /// Values compared.
    pub values: usize,
    /// The largest error, as a part of what is allowed.
    pub worst: f64,
}

/// A kernel that does not do what its reference does.
#[derive(Debug, thiserror::Error)]
pub enum ParityError {
    /// A value beyond its tolerance.
    #[error("{kernel}, {case}: [{index}] is {found}, not {expected}, off by {error:e}")]
    Value {
        /// The kernel.
        kernel: &'static str,
        /// Its sizes and options.
        case: String,
        /// Where in the result.
        index: usize,
        /// What the device gave.
        found: f32,
        /// What the reference gives.
        expected: f64,
        /// How far they are apart.
        error: f64,
    },
    /// A result of another length.
    #[error("{kernel}, {case}: {found} values, not {expected}")]
    Length {
        /// The kernel.
        kernel: &'static str,
        /// Its sizes and options.
        case: String,
        /// Values that the device gave.
        found: usize,
        /// Values that the reference gives.
        expected: usize,
    },
    /// The device refused or failed.
    #[error(transparent)]
    Device(#[from] KernelError),
}

/// Puts every kernel of `device` beside its reference. Fails at the first value beyond tolerance.
pub fn check<D: Device>(device: &D, exactness: Exactness) -> Result<Vec<Report>, ParityError> {
    let kernels: [Case<D>; 9] = [
        cases::linear,
        cases::sums_beyond_f16,
        cases::head,
        cases::embedding,
        cases::layer_norm,
        cases::attention,
        cases::attention_of_any_size,
        cases::pool,
        cases::maxsim,
    ];
    let mut bench = Bench { device, exactness, reports: Vec::new() };
    kernels.iter().try_for_each(|kernel| kernel(&mut bench))?;
    Ok(bench.reports)
}

/// Puts a kernel to all its sizes.
type Case<D> = fn(&mut Bench<D>) -> Result<(), ParityError>;

/// A device, and what was seen of it.
struct Bench<'a, D> {
    device: &'a D,
    exactness: Exactness,
    reports: Vec<Report>,
}

impl<D: Device> Bench<'_, D> {
    /// Numbers in [-scale, scale) by a linear congruential generator (Knuth's MMIX), as the
    /// device stores them.
    fn numbers(&self, length: usize, seed: u64, scale: f32) -> Vec<f32> {
        let mut numbers = numbers(length, seed);
        numbers.iter_mut().for_each(|x| *x = (self.exactness.stored)(*x * scale));
        numbers
    }

    /// Compares a result. `tolerance` is what the CPU is held to in f32.
    fn compare(
        &mut self,
        kernel: &'static str,
        case: String,
        found: &D::Buffer,
        expected: &[f64],
        tolerance: f64,
    ) -> Result<(), ParityError> {
        let found = self.device.download(found)?;
        if found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            return Err(ParityError::Length { kernel, case, found, expected });
        }
        let Exactness { rounding, arithmetic, .. } = self.exactness;
        let mut worst = 0.0f64;
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(found) - expected).abs();
            let part = error / (tolerance * arithmetic + rounding * expected.abs());
            // Not a number is no agreement.
            if part.is_nan() || part > 1.0 {
                return Err(ParityError::Value { kernel, case, index, found, expected, error });
            }
            worst = worst.max(part);
        }
        match self.reports.iter_mut().find(|report| report.kernel == kernel) {
            Some(report) => {
                report.values += found.len();
                report.worst = report.worst.max(worst);
            }
            None => self.reports.push(Report { kernel, values: found.len(), worst }),
        }
        Ok(())
    }
}

/// Numbers in [-1, 1), the same for the same seed.
pub fn numbers(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}
