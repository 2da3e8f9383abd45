//! BM25 as Lucene computes it, and the `k` best passages without looking at all.
//!
//! ```text
//! score = sum over the query's terms of  idf * f / (f + k1 * (1 - b + b * length / mean length))
//! idf   = ln(1 + (passages - passages with term + 0.5) / (passages with term + 0.5))
//! ```
//!
//! What a term adds at most is known. Once `k` passages are found, the terms that together do not
//! reach the k-th score cannot bring in a new passage: their lists are only asked about passages
//! that other terms brought (MaxScore; Turtle and Flood, 1995).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::postings::{Cursor, END};
use super::query::{Clause, Query};

/// Passages whose scores are summed up together; their sums stay in the fastest cache.
const WINDOW: usize = 4096;

/// Sums of floats may come out above the sum of their bounds by this much.
const SLACK: f32 = 1.0 + 1e-5;

/// BM25's two parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// What it adds at most.
    bound: f32,
}

/// Passages in a row, and what was summed up of them.
struct Window {
    start: u32,
    end: u32,
    sums: [f32; WINDOW],
    /// A bit a passage: whether it has a sum.
    touched: [u64; WINDOW / 64],
}

impl Reader<'_> {
    /// What it adds to a passage of this length that has it so often.
    #[inline]
    fn impact(&self, frequency: u32, length: u32) -> f32 {
        let frequency = frequency as f32;
        self.weight * frequency / (frequency + self.base + self.slope * length as f32)
    }

    /// Adds to the sums of the window's passages.
    fn sum_up(&mut self, window: &mut Window, lengths: &[u32]) {
        let mut cursor = self.cursor;
        while cursor.passage < window.end {
            let at = (cursor.passage - window.start) as usize;
            window.sums[at] += self.impact(cursor.frequency, lengths[cursor.passage as usize]);
            window.touched[at / 64] |= 1 << (at % 64);
            cursor.advance();
        }
        self.cursor = cursor;
    }

    /// What it adds to `passage`, which comes after all that were asked about before.
    fn score_of(&mut self, passage: u32, lengths: &[u32]) -> f32 {
        self.cursor.seek(passage);
        match lengths.get(passage as usize) {
            Some(&length) if self.cursor.passage == passage => {
                self.impact(self.cursor.frequency, length)
            }
            _ => 0.0,
        }
    }
}

impl Query<'_> {
    /// The `k` best of the passages that `accept` admits, best first; of equals the first.
    pub fn search(&self, k: usize, bm25: Bm25, accept: impl Fn(u32) -> bool) -> Vec<Match> {
        let lengths = self.index.lengths();
        let mut readers = self.readers(bm25);
        // What each reader and those after it can add at most.
        let mut bounds: Vec<f32> = readers.iter().map(|reader| reader.bound * SLACK).collect();
        for index in (1..bounds.len()).rev() {
            bounds[index - 1] += bounds[index];
        }
        let mut best = Best { k, heap: BinaryHeap::new() };
        let mut window =
            Window { start: 0, end: 0, sums: [0.0; WINDOW], touched: [0; WINDOW / 64] };
        loop {
            let bring = bounds.partition_point(|&bound| bound > best.threshold());
            let (bringing, asked) = readers.split_at_mut(bring);
            let start = bringing.iter().map(|reader| reader.cursor.passage).min().unwrap_or(END);
            if start == END {
                return best.into_sorted();
            }
            (window.start, window.end) = (start, start.saturating_add(WINDOW as u32));
            for reader in bringing {
                reader.sum_up(&mut window, lengths);
            }
            let rest = bounds.get(bring).copied().unwrap_or(0.0);
            window.drain(|passage, score| {
                if score + rest > best.threshold() && accept(passage) {
                    best.offer(passage, score, asked, &bounds[bring..], lengths);
                }
            });
        }
    }

    /// The scores of `passages`, in their order: 0 where a passage has nothing of the query.
    pub fn scores(&self, passages: &[u32], bm25: Bm25) -> Vec<f32> {
        let mut rising: Vec<usize> = (0..passages.len()).collect();
        rising.sort_unstable_by_key(|&index| passages[index]);
        let mut scores = vec![0.0; passages.len()];
        for mut reader in self.readers(bm25) {
            for &index in &rising {
                scores[index] += reader.score_of(passages[index], self.index.lengths());
            }
        }
        scores
    }

    /// The query's terms, the most telling first: the order in which every score is summed up.
    fn readers(&self, bm25: Bm25) -> Vec<Reader<'_>> {
        let reader = |clause: &Clause| {
            let b = if clause.normalised { bm25.b } else { 0.0 };
            let mut reader = Reader {
                cursor: self.list(clause).cursor(),
                weight: clause.weight,
                base: bm25.k1 * (1.0 - b),
                slope: bm25.k1 * b / self.mean_length,
                bound: 0.0,
            };
            let impact = |frequency, length| reader.impact(frequency, length);
            reader.bound = self.impacts(clause).greatest(impact);
            reader
        };
        let mut readers: Vec<Reader> = self.clauses.iter().map(reader).collect();
        readers.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        readers
    }
}

impl Window {
    /// Tells `with` each passage and its sum, in their order, and forgets them.
    fn drain(&mut self, mut with: impl FnMut(u32, f32)) {
        for (word, bits) in self.touched.iter_mut().enumerate() {
            let mut bits = std::mem::take(bits);
            while bits != 0 {
                let at = word * 64 + bits.trailing_zeros() as usize;
                with(self.start + at as u32, std::mem::take(&mut self.sums[at]));
                bits &= bits - 1;
            }
        }
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

    /// Adds to the passage's score what the asked readers know, unless it cannot be among the best.
    fn offer(
        &mut self,
        passage: u32,
        mut score: f32,
        asked: &mut [Reader],
        bounds: &[f32],
        lengths: &[u32],
    ) {
        let threshold = self.threshold();
        for (reader, bound) in asked.iter_mut().zip(bounds) {
            if score + bound <= threshold {
                return;
            }
            score += reader.score_of(passage, lengths);
        }
        if score > threshold {
            if self.heap.len() == self.k {
                self.heap.pop();
            }
            self.heap.push(Reverse(Ranked(Match { passage, score })));
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
