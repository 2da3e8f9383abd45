//! Where each packed sequence begins.

use std::ops::Range;

use crate::KernelError;

/// Cumulative lengths (`cu_seqlens`): sequence `i` is rows `starts[i]..starts[i + 1]`.
/// Lengths of 0 are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    starts: Vec<u32>,
}

impl Sequences {
    /// From the length of each sequence, in tokens. Refuses 2^32 tokens and more.
    pub fn from_lengths(lengths: &[u32]) -> Result<Sequences, KernelError> {
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut end = 0u32;
        starts.push(0);
        for &length in lengths {
            end = end.checked_add(length).ok_or_else(|| {
                KernelError::shape("sequences", "more than 2^32 tokens in one batch")
            })?;
            starts.push(end);
        }
        Ok(Sequences { starts })
    }

    /// How many sequences there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no sequence at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of all sequences together: the rows of a packed matrix.
    pub fn tokens(&self) -> usize {
        self.starts[self.len()] as usize
    }

    /// The rows of each sequence, in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
        self.starts.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }

    /// The rows of sequence `index`; `None` beyond the last.
    pub fn range(&self, index: usize) -> Option<Range<usize>> {
        Some(*self.starts.get(index)? as usize..*self.starts.get(index + 1)? as usize)
    }

    /// `[0, length 0, length 0 + length 1, ...]`, as a shader wants it.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }
}
