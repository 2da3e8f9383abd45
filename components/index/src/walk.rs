//! The walk: best-first search of a layer with a list of candidates (Malkov & Yashunin, 2016,
//! algorithm 2).

use crate::layer::Layer;
use crate::seeding::{ENTRIES, Nearest, SEEDS};
use crate::table::{Query, Table};

/// Who is next to whom in a layer.
pub(crate) trait Links {
    /// The neighbours of `node`.
    fn of(&self, node: u32) -> impl Iterator<Item = u32>;
}

/// How many times as many nodes as it shall find a walk holds at most.
const PATIENCE: usize = 16;

/// A node that a walk came upon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) score: f32,
    pub(crate) node: u32,
    /// Whether it is one of those looked for.
    pub(crate) selected: bool,
    /// Whether its neighbours were looked at.
    expanded: bool,
}

impl Candidate {
    pub(crate) fn new(score: f32, node: u32, selected: bool) -> Candidate {
        Candidate { score, node, selected, expanded: false }
    }
}

/// Looks for all nodes.
pub(crate) fn all(_node: u32) -> bool {
    true
}

/// Whether a walk to the layer below `upper` begins with a comparison of all seeds.
pub(crate) fn compares_seeds(upper: &[Layer]) -> bool {
    upper.first().is_some_and(|seeds| seeds.len() > SEEDS)
}

/// What a walk works in, kept between walks.
#[derive(Default)]
pub(crate) struct Scratch {
    /// A bit a node: whether the walk came upon it.
    visited: Vec<u64>,
    /// The best nodes so far, best first.
    pub(crate) best: Vec<Candidate>,
    /// How many of them are selected.
    selected: usize,
    fresh: Vec<u32>,
    dots: Vec<i32>,
}

impl Scratch {
    /// Whether `node` is new to this walk.
    fn visit(&mut self, node: u32) -> bool {
        let (word, bit) = (&mut self.visited[node as usize / 64], 1 << (node % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Puts a candidate in its place among the best, if it has one, and returns the place. The best
    /// end with the last of `ef` selected ones.
    fn keep(&mut self, candidate: Candidate, ef: usize) -> usize {
        let no_better = |worst: &Candidate| candidate.score <= worst.score;
        if self.selected >= ef && self.best.last().is_none_or(no_better) {
            return usize::MAX;
        }
        let place = self.best.partition_point(|other| other.score >= candidate.score);
        self.best.insert(place, candidate);
        self.selected += usize::from(candidate.selected);
        while self.selected > ef || self.selected == ef && !self.last_is_selected() {
            self.selected -= usize::from(self.last_is_selected());
            self.best.pop();
        }
        place
    }

    fn last_is_selected(&self) -> bool {
        self.best.last().is_none_or(|last| last.selected)
    }

    /// Leaves in `best` the `ef` nodes nearest to `query` that a walk from `entries` finds among those
    /// that are `selected`, and all others that it found to be as near. The walk goes through those
    /// like through any: what is selected need not be connected. It gives up, and returns false,
    /// where there are too many others.
    pub(crate) fn walk(
        &mut self,
        table: &Table,
        links: &impl Links,
        query: &Query,
        entries: &[u32],
        ef: usize,
        selected: impl Fn(u32) -> bool + Copy,
    ) -> bool {
        self.best.clear();
        self.selected = 0;
        self.visited.clear();
        self.visited.resize(table.len().div_ceil(64), 0);
        for &entry in entries {
            self.visit(entry);
        }
        self.look_at(table, query, entries, ef, selected);
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
            next = next.min(self.look_at(table, query, &fresh, ef, selected));
            self.fresh = fresh;
            if self.best.len() > ef.saturating_mul(PATIENCE) {
                return false;
            }
        }
        true
    }

    /// Where to enter the layer below `upper`, whose first is the largest: the last of steps through the
    /// layers, or, where the first is large, the nearest of all its nodes. Between many clusters there
    /// are few links, and steps end beside the one that is looked for.
    pub(crate) fn enter(&mut self, table: &Table, upper: &[Layer], query: &Query) -> Vec<u32> {
        if compares_seeds(upper) {
            let mut nearest = Nearest::<ENTRIES>::NOTHING;
            let rows = 0..upper[0].len() as u32;
            table.each(query, rows, &mut self.dots, |row, score| nearest.offer(score, row));
            let near: Vec<u32> = nearest.rows().collect();
            // A query of no numbers is near to none.
            return if near.is_empty() { vec![0] } else { near };
        }
        let down = |node, layer| self.descend(table, layer, query, node);
        vec![upper.iter().rev().fold(0, down)]
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
    fn look_at(
        &mut self,
        table: &Table,
        query: &Query,
        nodes: &[u32],
        ef: usize,
        selected: impl Fn(u32) -> bool,
    ) -> usize {
        let mut dots = std::mem::take(&mut self.dots);
        let scores = table.scores(query, nodes, &mut dots);
        let candidates = nodes
            .iter()
            .zip(scores)
            .map(|(&node, score)| Candidate::new(score, node, selected(node)));
        let place = candidates.map(|candidate| self.keep(candidate, ef)).min();
        self.dots = dots;
        place.unwrap_or(usize::MAX)
    }
}
