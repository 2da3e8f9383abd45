//! `trine bench index`: the vector search, natively and in wasm, on files of vectors.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trine_index::{BuildOptions, Graph, IndexError, Vector, setup};
use trine_runtime::Searcher;
use trine_runtime::snapshot::{Part, snapshot};

use super::filtered::{self, Filtered};
use crate::args::IndexFiles;

/// Candidates of the searches that are timed.
const LADDER: [u32; 14] = [10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 200];
/// Hits asked for, and true neighbours a query has in the file.
pub(super) const K: usize = 10;
/// Rounds; the best counts.
pub(super) const ROUNDS: usize = 3;
/// Recalls that speeds are interpolated at.
const TARGETS: [f64; 2] = [0.95, 0.99];

/// A rung of the ladder.
struct Rung {
    ef: u32,
    recall: f64,
    /// Queries a second, one after another.
    native: f64,
    wasm: f64,
}

pub fn run(files: &IndexFiles, json: bool, threads: usize) -> Result<()> {
    let read = |path: &Path| vectors(path, files.dim as usize);
    let (base, queries) = (read(&files.base)?, read(&files.queries)?);
    let truth = numbers(&files.truth)?;
    ensure!(!base.is_empty() && !queries.is_empty(), "there are no vectors or no queries");
    ensure!(truth.len() == K * queries.len(), "the truth holds not {K} numbers for each query");

    let count = base.len();
    let before = resident();
    let started = Instant::now();
    let options = BuildOptions { threads, ..BuildOptions::default() };
    let mut silent = |_| Ok::<(), IndexError>(());
    let graph = Graph::build(base, options, &mut silent)?;
    let seconds = started.elapsed().as_secs_f64();
    let peak = peak_resident().saturating_sub(before);
    eprintln!("built in {seconds:.1} s; filling the component");

    let bytes = graph.to_bytes();
    let size = bytes.len();
    let part = Part::bytes(setup::GRAPH, bytes);
    let filled = snapshot("searcher", trine_components::SEARCHER.bytes, vec![part])?;
    let mut searcher = Searcher::start(&filled)?;
    drop(filled);

    let rungs = climb(&graph, &mut searcher, &queries, &truth)?;
    let filtered = filtered::measure(&graph, &mut searcher, &queries)?;
    let mut report = report(
        &rungs,
        json!({
            "vectors": count,
            "dimensions": files.dim,
            "threads": threads,
            "build_seconds": seconds,
            "index_bytes": size,
            "build_peak_bytes": peak,
        }),
    );
    report["filtered"] = filtered.iter().map(Filtered::to_json).collect();
    if json {
        out!("{report}")
    } else {
        print(&rungs, &report);
        filtered::print(&filtered);
    }
    Ok(())
}

/// Times every rung, natively and in wasm in turn.
fn climb(
    graph: &Graph,
    searcher: &mut Searcher,
    queries: &[Vector],
    truth: &[u32],
) -> Result<Vec<Rung>> {
    let mut rungs: Vec<Rung> =
        LADDER.iter().map(|&ef| Rung { ef, recall: 0.0, native: 0.0, wasm: 0.0 }).collect();
    for _ in 0..ROUNDS {
        for rung in &mut rungs {
            let mut found = 0;
            let started = Instant::now();
            for (query, truth) in queries.iter().zip(truth.chunks(K)) {
                let hits = black_box(graph.walk(query, K, rung.ef as usize, None));
                found += hits.iter().filter(|hit| truth.contains(&hit.passage)).count();
            }
            let rate = |started: Instant| queries.len() as f64 / started.elapsed().as_secs_f64();
            rung.native = rung.native.max(rate(started));
            rung.recall = found as f64 / truth.len() as f64;

            let mut found = 0;
            let started = Instant::now();
            for (query, truth) in queries.iter().zip(truth.chunks(K)) {
                let hits = searcher.search(query.as_slice(), K as u32, rung.ef)?;
                found += hits.iter().filter(|(number, _)| truth.contains(number)).count();
            }
            rung.wasm = rung.wasm.max(rate(started));
            let (native, wasm) = (rung.recall, found as f64 / truth.len() as f64);
            ensure!((native - wasm).abs() < 1e-3, "recall is {native} natively, {wasm} in wasm");
        }
    }
    Ok(rungs)
}

fn report(rungs: &[Rung], mut report: Value) -> Value {
    let ladder = rungs.iter().map(|rung| {
        json!({
            "ef": rung.ef,
            "recall_at_10": rung.recall,
            "native_qps": rung.native,
            "wasm_qps": rung.wasm,
        })
    });
    report["ladder"] = ladder.collect();
    let at = TARGETS.iter().map(|&target| {
        let native = interpolated(rungs, target, |rung| rung.native);
        let wasm = interpolated(rungs, target, |rung| rung.wasm);
        json!({ "recall_at_10": target, "native_qps": native, "wasm_qps": wasm })
    });
    report["at_recall"] = at.collect();
    report
}

/// The speed at a recall, on a straight line between the two rungs around it.
fn interpolated(rungs: &[Rung], target: f64, speed: fn(&Rung) -> f64) -> Option<f64> {
    rungs.windows(2).find_map(|pair| {
        let [low, high] = pair else { return None };
        let share = (target - low.recall) / (high.recall - low.recall);
        let between = low.recall <= target && target < high.recall;
        between.then(|| speed(low) + share * (speed(high) - speed(low)))
    })
}

fn print(rungs: &[Rung], report: &Value) {
    out!(
        "{} vectors of {} dimensions: built in {:.1} s on {} threads, {:.1} MB, peak +{:.1} MB",
        report["vectors"],
        report["dimensions"],
        report["build_seconds"].as_f64().unwrap_or(f64::NAN),
        report["threads"],
        report["index_bytes"].as_f64().unwrap_or(f64::NAN) / 1e6,
        report["build_peak_bytes"].as_f64().unwrap_or(f64::NAN) / 1e6,
    );
    out!("{:>6} {:>10} {:>12} {:>12} {:>8}", "ef", "recall@10", "native/s", "wasm/s", "ratio");
    for Rung { ef, recall, native, wasm } in rungs {
        out!("{ef:>6} {recall:>10.4} {native:>12.0} {wasm:>12.0} {:>8.2}", wasm / native);
    }
    for at in report["at_recall"].as_array().into_iter().flatten() {
        let speed = |name: &str| at[name].as_f64().unwrap_or(f64::NAN);
        let (native, wasm) = (speed("native_qps"), speed("wasm_qps"));
        let recall = &at["recall_at_10"];
        out!("at {recall}: {native:.0}/s natively, {wasm:.0}/s in wasm, {:.2}", wasm / native);
    }
}

/// Unit vectors from raw little-endian floats, `dim` each.
fn vectors(path: &Path, dim: usize) -> Result<Vec<Vector>> {
    let words = words(path)?;
    ensure!(words.len() % dim == 0, "{} holds no rows of {dim} floats", path.display());
    let row = |row: &[[u8; 4]]| row.iter().map(|word| f32::from_le_bytes(*word)).collect();
    Ok(words.chunks(dim).map(|words| Vector::normalized(row(words))).collect())
}

fn numbers(path: &Path) -> Result<Vec<u32>> {
    Ok(words(path)?.into_iter().map(u32::from_le_bytes).collect())
}

fn words(path: &Path) -> Result<Vec<[u8; 4]>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (words, rest) = bytes.as_chunks::<4>();
    ensure!(rest.is_empty(), "{} is cut in the middle of a number", path.display());
    Ok(words.to_vec())
}

/// Bytes of memory that the process holds; 0 where the system does not say.
fn resident() -> u64 {
    status("VmRSS:")
}

/// The most that it has held.
fn peak_resident() -> u64 {
    status("VmHWM:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
