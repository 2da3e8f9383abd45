//! How exactly vectors are kept, and what fits into a component.

use serde::{Deserialize, Serialize};

use crate::build::{UPPER, WIDTH};
use crate::dot::BLOCK;
use crate::seeding::VECTORS_A_SEED;

/// Bytes that the parts of an index may have together. A wasm module within a component has 1 GiB at
/// most; the tokenizer, the code, and what is derived of the parts take some.
pub const LARGEST: u64 = (1 << 30) - (24 << 20);

/// Passages whose vectors are kept in 24 bits, if nothing else is asked for.
const EXACT_UP_TO: usize = 200_000;

/// How many bits of a vector's components are kept. A walk reads the first 8 whatever there is; what
/// it finds is scored with all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits: scores are as exact as sums of 32-bit floats.
    #[default]
    F32,
    /// 16 bits: scores are off by some 0.00001, like those of 16-bit floats.
    F16,
    /// 8 bits: scores are off by some 0.0005.
    Int8,
}

impl Precision {
    /// Bytes of a component.
    pub fn bytes(self) -> u64 {
        match self {
            Precision::F32 => 3,
            Precision::F16 => 2,
            Precision::Int8 => 1,
        }
    }

    /// The precision that so many vectors are kept in beside parts of so many bytes: the greatest
    /// that fits, but no greater than `F16` for many.
    pub fn fitting(count: usize, dimensions: usize, beside: u64) -> Precision {
        let all = [Precision::F32, Precision::F16, Precision::Int8];
        let all = if count <= EXACT_UP_TO { &all[..] } else { &all[1..] };
        let fits = |precision: &&Precision| {
            precision.graph_bytes(count, dimensions).saturating_add(beside) <= LARGEST
        };
        all.iter().find(fits).copied().unwrap_or(Precision::Int8)
    }

    /// About the bytes that a graph of so many vectors takes in a component.
    pub fn graph_bytes(self, count: usize, dimensions: usize) -> u64 {
        let row = (dimensions.next_multiple_of(BLOCK) as u64).saturating_mul(self.bytes());
        // The passage of each node, the node of each passage, the unit; the upper layers.
        let node = 4 * (WIDTH + 3 + UPPER.div_ceil(VECTORS_A_SEED / 2)) as u64;
        (count as u64).saturating_mul(row.saturating_add(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_kept_as_exactly_as_they_fit() {
        let fitting = |count, beside| Precision::fitting(count, 384, beside);
        assert_eq!(fitting(0, 0), Precision::F32);
        assert_eq!(fitting(200_000, 200 << 20), Precision::F32);
        assert_eq!(fitting(200_000, 800 << 20), Precision::F16);
        assert_eq!(fitting(200_001, 0), Precision::F16);
        assert_eq!(fitting(1_000_000, 0), Precision::F16);
        assert_eq!(fitting(1_000_000, 350_000_000), Precision::Int8);
        assert_eq!(fitting(usize::MAX, u64::MAX), Precision::Int8);
        assert!(Precision::Int8.graph_bytes(1_000_000, 384) < 600_000_000);
    }
}
