//! The filtered part of `trine bench index`: searches among some of the vectors.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use trine_index::{Bitmap, Graph, Vector};
use trine_runtime::Searcher;

use super::index::{K, ROUNDS};

/// Shares of the vectors that are admitted.
const SHARES: [f64; 5] = [0.5, 0.2, 0.1, 0.01, 0.0001];
/// Queries; the exact hits of each are looked for natively.
const QUERIES: usize = 300;

/// Which vectors a filter admits.
#[derive(Clone, Copy)]
enum Admits {
    /// All; there is no filter.
    All,
    /// Some, by chance.
    Chance,
    /// Those nearest to one of them.
    Nearest,
    /// Those on one side of a plane through the middle of all.
    Side,
}

/// What a filter costs.
pub struct Filtered {
    admits: Admits,
    /// Vectors that it admits.
    count: usize,
    recall: f64,
    /// Queries a second, one after another.
    native: f64,
    wasm: f64,
}

impl Filtered {
    fn name(&self) -> &'static str {
        match self.admits {
            Admits::All => "all",
            Admits::Chance => "by chance",
            Admits::Nearest => "near one",
            Admits::Side => "on a side",
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "admits": self.name(),
            "admitted": self.count,
            "recall_at_10": self.recall,
            "native_qps": self.native,
            "wasm_qps": self.wasm,
        })
    }
}

/// Searches without a filter, and then with each.
pub fn measure(
    graph: &Graph,
    searcher: &mut Searcher,
    queries: &[Vector],
) -> Result<Vec<Filtered>> {
    let queries = &queries[..queries.len().min(QUERIES)];
    let mut all = vec![one(graph, searcher, queries, Admits::All, None)?];
    for share in SHARES {
        for admits in [Admits::Chance, Admits::Nearest, Admits::Side] {
            let count = ((graph.len() as f64 * share) as usize).max(1);
            let admitted = admitted(graph, admits, count);
            all.push(one(graph, searcher, queries, admits, Some(&admitted))?);
        }
    }
    Ok(all)
}

fn one(
    graph: &Graph,
    searcher: &mut Searcher,
    queries: &[Vector],
    admits: Admits,
    admitted: Option<&Bitmap>,
) -> Result<Filtered> {
    if let Some(admitted) = admitted {
        searcher.admit(&admitted.iter().collect::<Vec<_>>())?;
    }
    let exact = |query| graph.scan(query, K, admitted).iter().map(|hit| hit.passage).collect();
    let truth: Vec<Vec<u32>> = queries.iter().map(exact).collect();
    let rate = |started: Instant| queries.len() as f64 / started.elapsed().as_secs_f64();
    let (mut native, mut wasm, mut found) = (0f64, 0f64, 0);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for query in queries {
            black_box(graph.search(query, K, admitted));
        }
        native = native.max(rate(started));
        found = 0;
        let started = Instant::now();
        for (query, truth) in queries.iter().zip(&truth) {
            let hits = searcher.search_admitted(query.as_slice(), K as u32)?;
            found += hits.iter().filter(|(number, _)| truth.contains(number)).count();
        }
        wasm = wasm.max(rate(started));
    }
    let recall = found as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64;
    let count = admitted.map_or(graph.len(), Bitmap::count);
    Ok(Filtered { admits, count, recall, native, wasm })
}

/// About so many vectors of `graph`.
fn admitted(graph: &Graph, admits: Admits, count: usize) -> Bitmap {
    let mut admitted = Bitmap::none(graph.len());
    // SplitMix64 (Steele, Lea & Flood, 2014).
    let mut state = 0u64;
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let pole = match admits {
        Admits::All => return Bitmap::all(graph.len()),
        Admits::Chance => {
            let share = count as f64 / graph.len() as f64;
            let drawn = |_: &u32| (draw() as f64) < share * u64::MAX as f64;
            (0..graph.len() as u32).filter(drawn).for_each(|passage| admitted.insert(passage));
            return admitted;
        }
        Admits::Nearest => graph.vector(0),
        Admits::Side => {
            let component = |_| (draw() >> 40) as f32 - (1 << 23) as f32;
            Some(Vector::normalized((0..graph.dimensions()).map(component).collect()))
        }
    };
    let hits = pole.map(|pole| graph.scan(&pole, count, None)).unwrap_or_default();
    hits.iter().for_each(|hit| admitted.insert(hit.passage));
    admitted
}

pub fn print(all: &[Filtered]) {
    let plain = all.first().map_or((f64::NAN, f64::NAN), |plain| (plain.native, plain.wasm));
    out!(
        "{:>10} {:>9} {:>10} {:>10} {:>7} {:>10} {:>7}",
        "admitted",
        "",
        "recall@10",
        "native/s",
        "time",
        "wasm/s",
        "time"
    );
    for filtered in all {
        let Filtered { count, recall, native, wasm, .. } = filtered;
        out!(
            "{count:>10} {:>9} {recall:>10.4} {native:>10.0} {:>6.2}x {wasm:>10.0} {:>6.2}x",
            filtered.name(),
            plain.0 / native,
            plain.1 / wasm
        );
    }
}
