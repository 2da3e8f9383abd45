//! BM25 as Lucene computes it, and the `k` best passages without looking at all.
//!
//! ```text
//! score = sum over the query's terms of  idf * f / (f + k1 * (1 - b + b * length / mean length))
//! idf   = ln(1 + (passages - passages with term + 0.5) / (passages with term + 0.5))
//! ```
//!
//! A term adds less than its idf. Once `k` passages are known, the terms whose idfs together do not
//! reach the k-th score cannot bring in a new passage: their lists are only asked about passages
//! that other terms brought (MaxScore; Turtle and Flood, 1995).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::inverted::Inverted;
use super::postings::Cursor;
use super::query::Query;

/// Passages whose scores are summed up together; their sums stay in the fastest cache.
const WINDOW: usize = 4096;

/// Sums of floats may come out above the sum of their bounds by this much.
const SLACK: f32 = 1.0 + 1e-5;

/// BM25's two parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25 {
    /// How soon more occurrences of a term stop to matter, at least 0.
    pub k1: f32,
    /// How much a passage's length matters, from 0 to 1.
    pub b: f32,
}

impl Default for Bm25 {
    fn default() -> Self {
        Bm25 { k1: 1.2, b: 0.75 }
    }
}

/// A passage that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The passage's number: its place when the index was built.
    pub passage: u32,
    /// Its BM25 score, above 0.
    pub score: f32,
}

/// A term of the query on its way through its list.
struct Reader<'a> {
    cursor: Cursor<'a>,
    weight: f32,
    /// What is added to the frequency: `base + slope * length`.
    base: f32,
    slope: f32,
}

impl Reader<'_> {
    /// What the term adds to the passage that its cursor stands on.
    #[inline]
    fn score(&self, lengths: &[u32]) -> f32 {
        let frequency = self.cursor.frequency as f32;
        let length = lengths[self.cursor.passage as usize] as f32;
        self.weight * frequency / (frequency + self.base + self.slope * length)
    }

    /// What it adds to `passage`, which comes after all that were asked about before.
    fn score_of(&mut self, passage: u32, lengths: &[u32]) -> f32 {
        self.cursor.seek(passage);
        if self.cursor.passage == passage { self.score(lengths) } else { 0.0 }
    }
}

impl Inverted {
    /// The `k` best of the passages that `accept` admits, best first; of equals the first.
    pub fn search(
        &self,
        query: &Query,
        k: usize,
        bm25: Bm25,
        accept: impl Fn(u32) -> bool,
    ) -> Vec<Match> {
        let mut readers = self.readers(query, bm25);
        // What the readers from the last to this one can add up to.
        let mut bounds: Vec<f32> = readers.iter().map(|reader| reader.weight * SLACK).collect();
        for index in (1..bounds.len()).rev() {
            bounds[index - 1] += bounds[index];
        }
        let mut best = Best { k, heap: BinaryHeap::new() };
        let mut sums = vec![0.0f32; WINDOW.min(self.len())];
        loop {
            let bring = bounds.partition_point(|&bound| bound > best.threshold());
            let (bringing, asked) = readers.split_at_mut(bring);
            let next = bringing.iter().map(|reader| reader.cursor.passage).min();
            let Some(start) = next.filter(|&passage| (passage as usize) < self.len()) else { break };
            let end = start.saturating_add(WINDOW as u32);
            for reader in bringing.iter_mut() {
                while reader.cursor.passage < end.min(self.len() as u32) {
                    sums[(reader.cursor.passage - start) as usize] += reader.score(&self.lengths());
                    reader.cursor.advance();
                }
            }
            for (passage, sum) in (start..).zip(sums.iter_mut()) {
                let mut score = std::mem::take(sum);
                if score == 0.0 || !accept(passage) {
                    continue;
                }
                for (reader, &bound) in asked.iter_mut().zip(&bounds[bring..]) {
                    if score + bound <= best.threshold() {
                        break;
                    }
                    score += reader.score_of(passage, self.lengths());
                }
                best.offer(Match { passage, score });
            }
        }
        best.into_sorted()
    }

    /// The scores of `passages`, in their order: 0 where nothing of the query is in a passage.
    pub fn scores(&self, query: &Query, passages: &[u32], bm25: Bm25) -> Vec<f32> {
        let mut order: Vec<usize> = (0..passages.len()).collect();
        order.sort_unstable_by_key(|&index| passages[index]);
        let mut scores = vec![0.0; passages.len()];
        for mut reader in self.readers(query, bm25) {
            for &index in &order {
                scores[index] += reader.score_of(passages[index], self.lengths());
            }
        }
        scores
    }

    /// The query's terms, the most telling first: the order in which every score is summed up.
    fn readers<'a>(&'a self, query: &'a Query, bm25: Bm25) -> Vec<Reader<'a>> {
        let mut readers: Vec<Reader> = query
            .clauses
            .iter()
            .map(|clause| {
                let b = if clause.normalised { bm25.b } else { 0.0 };
                Reader {
                    cursor: query.list(self, clause).cursor(),
                    weight: clause.weight,
                    base: bm25.k1 * (1.0 - b),
                    slope: bm25.k1 * b / self.mean_length(),
                }
            })
            .collect();
        readers.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        readers
    }
}

/// The best matches so far, the worst of them on top.
struct Best {
    k: usize,
    heap: BinaryHeap<Reverse<Ranked>>,
}

/// A match in the order of its worth.
struct Ranked(Match);

impl Best {
    /// What a later passage must exceed.
    fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(Reverse(worst)) if self.heap.len() == self.k => worst.0.score,
            _ if self.k == 0 => f32::INFINITY,
            _ => 0.0,
        }
    }

    fn offer(&mut self, found: Match) {
        if found.score > self.threshold() {
            if self.heap.len() == self.k {
                self.heap.pop();
            }
            self.heap.push(Reverse(Ranked(found)));
        }
    }

    fn into_sorted(self) -> Vec<Match> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.0).collect()
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_score = self.0.score.total_cmp(&other.0.score);
        by_score.then(other.0.passage.cmp(&self.0.passage))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}
