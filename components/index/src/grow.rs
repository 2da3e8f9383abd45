//! Growing the lowest layer: every vector that is no seed is inserted, on all threads.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::layer::{Layer, NONE};
use crate::table::{Query, Table};
use crate::walk::{self, Candidate, Links, Scratch};

/// Locks that the nodes share: enough that threads rarely meet.
const LOCKS: usize = 4096;

/// A layer that several threads add to. Readers take no lock: they may see a list half rewritten,
/// which is a list of nodes all the same.
pub(crate) struct Growing<'a> {
    table: &'a Table,
    width: usize,
    links: Vec<AtomicU32>,
    locks: Vec<Mutex<()>>,
}

/// What an insertion works in.
pub(crate) struct Workbench {
    scratch: Scratch,
    query: Query,
    found: Vec<Candidate>,
    chosen: Vec<u32>,
    dots: Vec<i32>,
}

impl Links for Growing<'_> {
    fn of(&self, node: u32) -> impl Iterator<Item = u32> {
        self.list(node).iter().map(|link| link.load(Relaxed)).take_while(|&node| node != NONE)
    }
}

impl<'a> Growing<'a> {
    /// A layer for all of `table`'s nodes, of which the first are connected as in `seeds`.
    pub(crate) fn new(table: &'a Table, seeds: Layer) -> Growing<'a> {
        let mut links: Vec<AtomicU32> = seeds.links.into_iter().map(AtomicU32::new).collect();
        links.resize_with(table.len() * seeds.width, || AtomicU32::new(NONE));
        let locks = (0..LOCKS).map(|_| Mutex::default()).collect();
        Growing { table, width: seeds.width, links, locks }
    }

    pub(crate) fn workbench(&self) -> Workbench {
        Workbench {
            scratch: Scratch::default(),
            query: self.table.empty_query(),
            found: vec![],
            chosen: vec![],
            dots: vec![],
        }
    }

    /// Inserts nodes, each with some that are already there and near it.
    pub(crate) fn insert(&self, nodes: &[(u32, Vec<u32>)], ef: usize) {
        nodes.par_iter().for_each_init(
            || self.workbench(),
            |bench, (node, near)| self.insert_one(*node, near, ef, bench),
        );
    }

    /// The layer as it stands.
    pub(crate) fn finish(self) -> Layer {
        let links = self.links.into_iter().map(AtomicU32::into_inner).collect();
        Layer { width: self.width, links }
    }

    fn list(&self, node: u32) -> &[AtomicU32] {
        &self.links[node as usize * self.width..][..self.width]
    }

    /// The right to change the neighbours of `node`.
    fn lock(&self, node: u32) -> MutexGuard<'_, ()> {
        let lock = &self.locks[node as usize % LOCKS];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, node: u32, neighbours: &[u32]) {
        let padded = neighbours.iter().copied().chain(std::iter::repeat(NONE));
        self.list(node).iter().zip(padded).for_each(|(link, node)| link.store(node, Relaxed));
    }

    fn insert_one(&self, node: u32, near: &[u32], ef: usize, bench: &mut Workbench) {
        self.table.query_row(node, &mut bench.query);
        bench.scratch.walk(self.table, self, &bench.query, near, ef, walk::all);
        bench.found.clear();
        bench.found.extend_from_slice(&bench.scratch.best);
        self.choose(self.width / 2, bench);
        let chosen = std::mem::take(&mut bench.chosen);
        {
            let _lock = self.lock(node);
            self.write(node, &chosen);
        }
        for &neighbour in &chosen {
            self.link(neighbour, node, bench);
        }
        bench.chosen = chosen;
    }

    /// Makes `new` a neighbour of `node`, if it is among those worth keeping.
    fn link(&self, node: u32, new: u32, bench: &mut Workbench) {
        let _lock = self.lock(node);
        let list = self.list(node);
        let count = self.of(node).count();
        if count < self.width {
            list[count].store(new, Relaxed);
            return;
        }
        let all: Vec<u32> = self.of(node).chain([new]).collect();
        self.table.query_row(node, &mut bench.query);
        let scores = self.table.scores(&bench.query, &all, &mut bench.dots);
        bench.found.clear();
        bench
            .found
            .extend(all.iter().zip(scores).map(|(&node, score)| Candidate::new(score, node, true)));
        bench.found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
        self.choose(self.width, bench);
        self.write(node, &bench.chosen);
    }

    /// Leaves in `chosen` at most `most` of `found`, which are sorted best first: each that is nearer
    /// to the node than to all that were chosen before, so that they lie around it (algorithm 4).
    fn choose(&self, most: usize, bench: &mut Workbench) {
        let Workbench { found, chosen, query, dots, .. } = bench;
        chosen.clear();
        for candidate in found.iter() {
            if chosen.len() == most {
                break;
            }
            self.table.query_row(candidate.node, query);
            let hidden = chosen.chunks(8).any(|some| {
                self.table.scores(query, some, dots).any(|score| score > candidate.score)
            });
            if !hidden {
                chosen.push(candidate.node);
            }
        }
    }
}
