//! In which numbers a CPU multiplies.

use super::Isa;

/// The numbers of matrix products. Sums, biases, normalisations and softmax are f32 at every
/// precision, and so is every buffer; only what goes into a product is rounded.
///
/// | | rounded inputs | fast on |
/// |---|---|---|
/// | `F32` | none | every CPU |
/// | `Bf16` | 8 bits, of weights and activations | AVX-512 BF16 (Zen 4, Sapphire Rapids and later) |
/// | `Int8` | weights per output, activations per row | AVX-512 VNNI (Zen 4, Cascade Lake and later) |
///
/// Elsewhere a precision gives the same rounding at the speed of `F32`: bf16 numbers are f32
/// numbers, and the whole numbers of int8 stay exact in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nothing is rounded.
    #[default]
    F32,
    /// Rounded to bf16 (8 significant bits, f32's range), nearest, ties to even.
    Bf16,
    /// [`crate::linear`] in 8-bit whole numbers: weights with one scale an output, activations
    /// with one scale and zero point a row, found anew each time. [`crate::attention`] in bf16.
    Int8,
}

impl Precision {
    /// All of them, the most exact first.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

    /// Its name, for logs and options.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }

    /// Whether this CPU has instructions for it, so that it is faster than the more exact ones.
    pub fn is_fast_here(self) -> bool {
        let isa = Isa::detect();
        match self {
            Precision::F32 => true,
            Precision::Bf16 => isa.has_bf16(),
            Precision::Int8 => isa.has_int8(),
        }
    }

    /// What to take where nobody says: bf16 where it is fast, else f32. Never int8, whose error
    /// depends on the model and has to be measured with it.
    pub fn fast_here() -> Precision {
        if Precision::Bf16.is_fast_here() { Precision::Bf16 } else { Precision::F32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int8_is_never_taken_unasked() {
        let taken = Precision::fast_here();
        assert_ne!(taken, Precision::Int8);
        assert!(taken.is_fast_here());
        assert!(Precision::F32.is_fast_here());
    }
}
