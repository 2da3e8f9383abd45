//! A layer of the graph in one piece.

use crate::walk::Links;

/// Stands where a node has no further neighbour.
pub(crate) const NONE: u32 = u32::MAX;

/// The neighbours of each node, `width` a node, those that are missing at the end as [`NONE`].
#[derive(Default)]
pub(crate) struct Layer {
    pub(crate) width: usize,
    pub(crate) links: Vec<u32>,
}

impl Layer {
    /// Number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.links.len() / self.width.max(1)
    }
}

impl Links for Layer {
    fn of(&self, node: u32) -> impl Iterator<Item = u32> {
        let links = &self.links[node as usize * self.width..][..self.width];
        links.iter().copied().take_while(|&node| node != NONE)
    }
}
