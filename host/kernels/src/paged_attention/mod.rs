//! Causal attention of packed sequences over a cache of keys and values in pages (Vaswani et al. 2017,
//! section 3.2; grouped queries: Ainslie et al. 2023; pages: Kwon et al. 2023).
//!
//! `qkv` `[t, columns of heads]`, the new tokens of all sequences; the new keys and values are kept in
//! the pages of their sequence, then each token's queries see the keys of its own sequence up to its
//! own, of the last `window` where there is one: `softmax(Q Kᵀ / sqrt(d)) V` -> `[t, queries * d]`. The
//! scores of some pages at a time are all there is of them (Dao et al. 2022). A sequence's result does
//! not depend on its neighbours, nor on how many of its tokens are new at once. Refused: operands that
//! do not fit, pages that there are not.

mod attend;
mod gpu;
mod pages;
pub mod reference;

use crate::{KernelError, Sequences};

pub(crate) use attend::run;
pub use gpu::{GpuPaged, GpuPages};
pub use pages::{CpuPages, PageNumbers, PagesShape};

/// Tokens of a page.
pub const PAGE: usize = 32;

/// Sequences of which some tokens lie in pages already, and some are new.
#[derive(Clone, Debug)]
pub struct PagedSequences {
    sequences: Sequences,
    /// Tokens that each sequence has in its pages.
    past: Vec<u32>,
    /// Each sequence's pages, in order, one sequence's after another's.
    tables: Vec<u32>,
    /// Where each sequence's pages begin among them.
    starts: Vec<usize>,
}

impl PagedSequences {
    /// From each sequence's new tokens, the number of those before, and pages for all of them.
    /// Refuses too few pages.
    pub fn new<'a>(
        each: impl IntoIterator<Item = (u32, u32, &'a [u32])>,
    ) -> Result<PagedSequences, KernelError> {
        let (mut lengths, mut past) = (Vec::new(), Vec::new());
        let (mut tables, mut starts) = (Vec::new(), Vec::new());
        for (new, before, pages) in each {
            let needed = (new as usize + before as usize).div_ceil(PAGE);
            if new.checked_add(before).is_none() || pages.len() < needed {
                let reason = format!("{before} and {new} tokens in {} pages", pages.len());
                return Err(KernelError::shape("paged_attention", reason));
            }
            lengths.push(new);
            past.push(before);
            starts.push(tables.len());
            tables.extend(&pages[..needed]);
        }
        let sequences = Sequences::from_lengths(&lengths)?;
        Ok(PagedSequences { sequences, past, tables, starts })
    }

    /// The new tokens.
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// The position of each new token in its sequence.
    pub fn positions(&self) -> impl Iterator<Item = u32> {
        let of = |(rows, &past): (std::ops::Range<usize>, &u32)| past..past + rows.len() as u32;
        self.sequences.ranges().zip(&self.past).flat_map(of)
    }

    /// The pages of sequence `index`.
    fn pages(&self, index: usize) -> &[u32] {
        let end = self.starts.get(index + 1).copied().unwrap_or(self.tables.len());
        &self.tables[self.starts[index]..end]
    }
}

/// Refuses operands that do not fit together. `qkv` is `[rows, columns]`.
fn fits(
    shape: PagesShape,
    qkv: [usize; 2],
    layer: usize,
    paged: &PagedSequences,
) -> Result<(), KernelError> {
    let columns = shape.heads.columns();
    let page = paged.tables.iter().find(|&&page| page as usize >= shape.pages);
    let tokens = paged.sequences.tokens();
    if columns != Some(qkv[1]) || tokens != qkv[0] || layer >= shape.layers || page.is_some() {
        let reason = format!("{qkv:?}, {tokens} tokens, layer {layer}, page {page:?} of {shape:?}");
        return Err(KernelError::shape("paged_attention", reason));
    }
    Ok(())
}
