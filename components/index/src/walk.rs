//! The walk: best-first search of a layer with a list of candidates (Malkov & Yashunin, 2016,
//! algorithm 2).

use crate::Bitmap;
use crate::table::{Query, Table};

/// Nodes that a walk among selected ones compares first, at most, and how many of these it begins
/// at.
const SEEDS: usize = 512;
const ENTRIES: usize = 16;
/// Selected nodes near another that are enough to go on with.
const ENOUGH: usize = 32;
/// Lists of neighbours that are read to find them.
const LISTS: usize = 64;

/// Who is next to whom in a layer.
pub(crate) trait Links {
    /// The neighbours of `node`.
    fn of(&self, node: u32) -> impl Iterator<Item = u32>;
}

/// Which nodes a search may return.
#[derive(Clone, Copy)]
pub(crate) struct Selection<'a> {
    /// The passage of each node.
    pub(crate) passages: &'a [u32],
    pub(crate) admitted: &'a Bitmap,
}

impl Selection<'_> {
    fn has(&self, node: u32) -> bool {
        self.passages.get(node as usize).is_some_and(|&passage| self.admitted.contains(passage))
    }
}

/// What a walk goes through.
pub(crate) struct Walk<'a, L> {
    pub(crate) table: &'a Table,
    pub(crate) links: &'a L,
    pub(crate) query: &'a Query,
    /// How many of the best nodes it keeps.
    pub(crate) ef: usize,
}

/// A node that a walk came upon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) score: f32,
    pub(crate) node: u32,
    /// Whether its neighbours were looked at.
    expanded: bool,
}

impl Candidate {
    pub(crate) fn new(score: f32, node: u32) -> Candidate {
        Candidate { score, node, expanded: false }
    }
}

/// What a walk works in, kept between walks.
#[derive(Default)]
pub(crate) struct Scratch {
    /// A bit a node: whether the walk came upon it.
    visited: Vec<u64>,
    /// The best nodes so far, best first.
    pub(crate) best: Vec<Candidate>,
    fresh: Vec<u32>,
    /// Nodes to look beyond.
    beyond: Vec<u32>,
    dots: Vec<i32>,
}

impl Scratch {
    /// Begins a walk over so many nodes.
    fn start(&mut self, nodes: usize) {
        self.best.clear();
        self.visited.clear();
        self.visited.resize(nodes.div_ceil(64), 0);
    }

    /// Whether `node` is new to this walk.
    fn visit(&mut self, node: u32) -> bool {
        let (word, bit) = (&mut self.visited[node as usize / 64], 1 << (node % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Puts a candidate in its place among the best `ef`, if it has one, and returns the place.
    fn keep(&mut self, score: f32, node: u32, ef: usize) -> usize {
        if self.best.len() >= ef {
            if self.best.last().is_some_and(|worst| score <= worst.score) {
                return usize::MAX;
            }
            self.best.pop();
        }
        let place = self.best.partition_point(|other| other.score >= score);
        self.best.insert(place, Candidate::new(score, node));
        place
    }

    /// Leaves in `best` the `ef` nodes nearest to `query` that a walk from `entry` finds.
    pub(crate) fn walk(
        &mut self,
        table: &Table,
        links: &impl Links,
        query: &Query,
        entry: u32,
        ef: usize,
    ) {
        self.start(table.len());
        self.visit(entry);
        self.look_at(table, query, &[entry], ef);
        let mut next = 0;
        while let Some(candidate) = self.best.get_mut(next) {
            if std::mem::replace(&mut candidate.expanded, true) {
                next += 1;
                continue;
            }
            let node = candidate.node;
            let mut fresh = std::mem::take(&mut self.fresh);
            fresh.clear();
            fresh.extend(links.of(node).filter(|&node| self.visit(node)));
            next = next.min(self.look_at(table, query, &fresh, ef));
            self.fresh = fresh;
        }
    }

    /// Leaves in `best` the nodes nearest to the query, of those selected, that a walk finds. It
    /// begins at the best selected of the `seeds` first nodes, and near `entry`; from a node it goes
    /// to the selected ones nearby, whether they are its neighbours or lie beyond others (ACORN;
    /// Patel et al., 2024). Those others are never compared.
    pub(crate) fn walk_selected(
        &mut self,
        walk: &Walk<impl Links>,
        entry: u32,
        seeds: u32,
        selection: Selection,
    ) {
        let Walk { table, links, query, ef } = *walk;
        self.start(table.len());
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.clear();
        fresh.extend((0..seeds).filter(|&node| selection.has(node)).take(SEEDS));
        fresh.iter().for_each(|&node| _ = self.visit(node));
        self.look_at(table, query, &fresh, ENTRIES);
        self.gather(links, entry, selection, &mut fresh);
        self.look_at(table, query, &fresh, ef);
        let mut next = 0;
        while let Some(candidate) = self.best.get_mut(next) {
            if std::mem::replace(&mut candidate.expanded, true) {
                next += 1;
                continue;
            }
            let node = candidate.node;
            self.gather(links, node, selection, &mut fresh);
            next = next.min(self.look_at(table, query, &fresh, ef));
        }
        self.fresh = fresh;
    }

    /// Leaves in `fresh` the selected nodes near `node` that the walk has not come upon. Selected
    /// neighbours are near, and, until there are enough, those of others that are not selected.
    fn gather(
        &mut self,
        links: &impl Links,
        node: u32,
        selection: Selection,
        fresh: &mut Vec<u32>,
    ) {
        let mut beyond = std::mem::take(&mut self.beyond);
        fresh.clear();
        beyond.clear();
        beyond.push(node);
        let (mut selected, mut at) = (0, 0);
        while at < beyond.len().min(LISTS) && selected < ENOUGH {
            // Of what is not selected, the neighbours are looked at once.
            if at == 0 || self.visit(beyond[at]) {
                for near in links.of(beyond[at]) {
                    if selection.has(near) {
                        selected += 1;
                        if self.visit(near) {
                            fresh.push(near);
                        }
                    } else {
                        beyond.push(near);
                    }
                }
            }
            at += 1;
        }
        self.beyond = beyond;
    }

    /// The node that steps to ever nearer neighbours lead to from `entry`, of those nearest to `query`.
    pub(crate) fn descend(
        &mut self,
        table: &Table,
        links: &impl Links,
        query: &Query,
        entry: u32,
    ) -> u32 {
        let Scratch { fresh, dots, .. } = self;
        let (mut node, mut score) = (entry, f32::NEG_INFINITY);
        loop {
            fresh.clear();
            fresh.push(node);
            fresh.extend(links.of(node));
            let scores = table.scores(query, fresh, dots);
            let best = fresh.iter().copied().zip(scores).max_by(|a, b| a.1.total_cmp(&b.1));
            match best {
                Some((next, better)) if better > score && next != node => {
                    (node, score) = (next, better);
                }
                _ => return node,
            }
        }
    }

    /// Compares `nodes` with the query; returns the best place that one of them took.
    fn look_at(&mut self, table: &Table, query: &Query, nodes: &[u32], ef: usize) -> usize {
        let mut dots = std::mem::take(&mut self.dots);
        let scores = table.scores(query, nodes, &mut dots);
        let place = nodes.iter().zip(scores).map(|(&node, score)| self.keep(score, node, ef));
        let place = place.min().unwrap_or(usize::MAX);
        self.dots = dots;
        place
    }
}
