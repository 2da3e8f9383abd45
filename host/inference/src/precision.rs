//! In which numbers the CPU is to multiply.

use trine_kernels::Precision;

/// What to ask of the CPU; see [`Precision`] for what each means and where it is fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecisionOption {
    /// bf16 where the CPU is fast at it, else f32; never int8, whose error depends on the model.
    #[default]
    Auto,
    /// f32 whatever the CPU.
    F32,
    /// Inputs of products rounded to bf16.
    Bf16,
    /// Linear layers in 8-bit whole numbers.
    Int8,
}

impl PrecisionOption {
    /// What that is on this machine.
    pub fn here(self) -> Precision {
        match self {
            PrecisionOption::Auto => Precision::fast_here(),
            PrecisionOption::F32 => Precision::F32,
            PrecisionOption::Bf16 => Precision::Bf16,
            PrecisionOption::Int8 => Precision::Int8,
        }
    }
}

impl std::str::FromStr for PrecisionOption {
    type Err = String;

    fn from_str(name: &str) -> Result<PrecisionOption, String> {
        match name {
            "auto" => Ok(PrecisionOption::Auto),
            "f32" => Ok(PrecisionOption::F32),
            "bf16" => Ok(PrecisionOption::Bf16),
            "int8" => Ok(PrecisionOption::Int8),
            _ => Err(format!("{name:?} is none of auto, f32, bf16, int8")),
        }
    }
}
