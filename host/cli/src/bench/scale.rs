//! `trine bench scale`: what more passages cost.

mod data;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use trine_node::{
    Bm25, BuildOptions, Chunking, LexicalOptions, Node, NodeError, OpenOptions, assemble, open,
};
use trine_runtime::snapshot::{Part, filled};
use trine_runtime::{AppOptions, Searcher};

use self::data::{Clusters, K, Query};
use crate::args::{BenchScale, Common};
use crate::progress::Building;

/// Times that each search is timed; the best counts.
const ROUNDS: usize = 3;
/// Requests that are timed.
const REQUESTS: usize = 200;

pub fn run(args: &BenchScale, common: &Common) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let work = args.work.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(work).with_context(|| format!("making {}", work.display()))?;
    let stop = crate::signals::interrupted()?;
    let mut all = vec![];
    for &passages in &args.passages {
        let bundle = Bundle { passages: passages as usize, work, args, common, stop: &stop };
        let report = bundle.measure()?;
        if !args.json {
            print(&report);
        }
        all.push(report);
    }
    if args.json {
        out!("{}", Value::Array(all));
    }
    Ok(())
}

/// A bundle to be measured.
struct Bundle<'a> {
    passages: usize,
    work: &'a Path,
    args: &'a BenchScale,
    common: &'a Common,
    stop: &'a AtomicBool,
}

impl Bundle<'_> {
    fn measure(&self) -> Result<Value> {
        let clusters = Clusters::new(self.passages);
        let queries = clusters.queries();
        let mut report = json!({ "passages": self.passages, "threads": self.common.threads() });
        if !self.path("trine").exists() {
            report["build"] = self.build(&clusters, &queries)?;
        }
        let truth = self.truth(&queries)?;
        let bundle = self.path("trine");
        report["bundle_bytes"] = std::fs::metadata(&bundle)?.len().into();
        report["prepare"] = self.prepare(&bundle)?;
        report["open"] = self.open(&bundle, &queries)?;
        report["search"] = search(&bundle, &queries, &truth)?;
        Ok(report)
    }

    fn path(&self, extension: &str) -> PathBuf {
        let vectors = self.args.vectors.map(|vectors| format!("-{vectors:?}").to_lowercase());
        let name = format!("scale-{}{}.{extension}", self.passages, vectors.unwrap_or_default());
        self.work.join(name)
    }

    /// Builds the bundle, as `trine index` does, from what is embedded already.
    fn build(&self, clusters: &Clusters, queries: &[Query]) -> Result<Value> {
        reset_peak();
        let threads = self.common.threads();
        let vectors = clusters.vectors(self.passages, threads);
        let truth = data::truth(&vectors, queries, threads);
        let bytes: Vec<u8> = truth.as_flattened().iter().flat_map(|n| n.to_le_bytes()).collect();
        std::fs::write(self.path("truth"), bytes)?;
        let documents = data::documents(vectors);
        let text: usize = documents.iter().flat_map(|d| &d.passages).map(|p| p.text.len()).sum();
        let options = BuildOptions {
            embedder: "all-MiniLM-L6-v2".to_owned(),
            reranker: "all-MiniLM-L6-v2".to_owned(),
            reader: None,
            chunking: Chunking::Sections,
            overlap: 0,
            lexical: LexicalOptions::default(),
            bm25: Bm25::default(),
            vectors: self.args.vectors.map(Into::into),
            engine: self.common.engine()?,
            app: None,
            resume: false,
        };
        let started = Instant::now();
        let building = RefCell::new(Building::new(self.args.json));
        let progress = |step| {
            building.borrow_mut().step(step);
            if self.stop.load(Ordering::Relaxed) { Err(NodeError::Cancelled) } else { Ok(()) }
        };
        let store = self.common.store()?;
        let built = assemble(&self.path("trine"), documents, &options, &store, &progress);
        building.borrow().done();
        let (about, _) = built?;
        Ok(json!({
            "seconds": started.elapsed().as_secs_f64(),
            "peak_bytes": status("VmHWM:"),
            "documents": about.documents,
            "text_bytes": text,
        }))
    }

    fn truth(&self, queries: &[Query]) -> Result<Vec<[u32; K]>> {
        let path = self.path("truth");
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let numbers: Vec<u32> =
            bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let truth = numbers.as_chunks().0.to_vec();
        ensure!(truth.len() == queries.len(), "{} is of another run", path.display());
        Ok(truth)
    }

    fn app(&self) -> AppOptions {
        AppOptions { cache: Some(self.work.join("compiled")), ..AppOptions::default() }
    }

    /// Prepares the bundle, as `trine index` does at its end.
    fn prepare(&self, path: &Path) -> Result<Value> {
        crate::heap::trim();
        reset_peak();
        let started = Instant::now();
        trine_node::prepare(path, &self.app())?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(json!({ "seconds": seconds, "peak_bytes": status("VmHWM:") }))
    }

    /// Opens the prepared bundle twice, and asks it.
    fn open(&self, path: &Path, queries: &[Query]) -> Result<Value> {
        reset_peak();
        let options = OpenOptions { engine: self.common.engine()?, app: self.app() };
        let store = self.common.store()?;
        let opened = || {
            let started = Instant::now();
            let node = open(path, &options, &store)?;
            anyhow::Ok((node, started.elapsed().as_secs_f64()))
        };
        let first = opened()?.1;
        let peak = status("VmHWM:");
        let (node, again) = opened()?;
        let mut report = crate::ask::runtime()?.block_on(ask(&node, queries))?;
        report["first_seconds"] = first.into();
        report["again_seconds"] = again.into();
        report["first_peak_bytes"] = peak.into();
        Ok(report)
    }
}

/// Memory of two instances that have answered, and the time of requests to fresh ones.
async fn ask(node: &Node, queries: &[Query]) -> Result<Value> {
    let mut sessions = vec![];
    let mut private = vec![private_dirty()];
    for _ in 0..3 {
        let mut session = node.app.session("/v1/retrieve").await?;
        for query in queries.iter().take(20) {
            super::answered(session.request(retrieve(query)?).await?.0)?;
        }
        sessions.push(session);
        private.push(private_dirty());
    }
    drop(sessions);
    let (mut times, mut searches, mut faults) = (vec![], vec![], 0);
    // The first half maps what requests read, for those that are counted.
    for (number, query) in queries.iter().cycle().take(2 * REQUESTS).enumerate() {
        if number == REQUESTS {
            (times, searches, faults) = (vec![], vec![], page_faults());
        }
        let started = Instant::now();
        searches.push(searched(node, retrieve(query)?).await?);
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let faults = page_faults().saturating_sub(faults) as f64 / REQUESTS as f64;
    Ok(json!({
        "request_ms": super::summary(times),
        "request_search_ms": super::summary(searches),
        "request_page_faults": faults,
        "second_instance_bytes": private[3].saturating_sub(private[2]),
        "first_instance_private_bytes": private[1].saturating_sub(private[0]),
    }))
}

/// The milliseconds of a request until its response began, but those it waited for models.
async fn searched(node: &Node, request: http::Request<bytes::Bytes>) -> Result<f64> {
    let response = node.app.handle(request).await.context("no route")??;
    super::answered(response.status())?;
    let timing = response.headers().get("server-timing").and_then(|timing| timing.to_str().ok());
    let part = |name: &str| {
        let mut parts = timing?.split(", ").filter_map(|part| part.split_once(";dur="));
        parts.find(|part| part.0 == name)?.1.parse::<f64>().ok()
    };
    let search = part("total").zip(part("inference")).map(|(total, inference)| total - inference);
    response.into_body().collect().await?;
    search.context("the response does not say where its time went")
}

fn retrieve(query: &Query) -> Result<http::Request<bytes::Bytes>> {
    let body = json!({ "query": query.words, "top_k": 50 }).to_string();
    Ok(http::Request::post("http://localhost/v1/retrieve").body(body.into())?)
}

/// Searches in wasm, on one thread.
fn search(path: &Path, queries: &[Query], truth: &[[u32; K]]) -> Result<Value> {
    let (_, reader) = Node::about(path)?;
    let sections = reader.sections().iter().filter_map(|section| {
        let part = section.name.strip_prefix("base/").filter(|part| *part != "documents")?;
        Some((section, format!("whole/{part}")))
    });
    let sections: Vec<_> = sections.collect();
    let bytes = |part: &str| {
        let mut found = sections.iter().filter(|(_, name)| name.ends_with(part));
        found.next().map(|(section, _)| section.length)
    };
    let mut pieces = sections.iter().flat_map(|(section, part)| {
        let pieces = reader.pieces(&section.name).into_iter().flatten();
        pieces.map(move |piece| Ok::<_, NodeError>(Part::bytes(part, piece?)))
    });
    let component = filled("searcher", trine_components::SEARCHER.bytes, &mut pieces)?;
    let mut searcher = Searcher::start(&component)?;
    drop(component);
    let mut report = json!({
        "graph_bytes": bytes("/graph"),
        "lexical_bytes": bytes("/lexical"),
        "passages_bytes": bytes("/passages"),
        "metadata_bytes": bytes("/metadata"),
    });
    for kind in ["dense", "lexical", "hybrid"] {
        let (mut best, mut found) = (0f64, 0);
        for _ in 0..ROUNDS {
            found = 0;
            let started = Instant::now();
            for (query, truth) in queries.iter().zip(truth) {
                let vector = if kind == "lexical" { &[] } else { query.vector.as_slice() };
                let words = if kind == "dense" { "" } else { &query.words };
                let hits = searcher.search_whole(vector, words, K as u32)?;
                found += hits.iter().filter(|number| truth.contains(number)).count();
            }
            best = best.max(queries.len() as f64 / started.elapsed().as_secs_f64());
        }
        report[format!("{kind}_qps")] = best.into();
        if kind == "dense" {
            report["recall_at_10"] = (found as f64 / (K * queries.len()) as f64).into();
        }
    }
    Ok(report)
}

fn print(report: &Value) {
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64);
    let line = |name: &str, value: Option<f64>, digits: usize, unit: &str| {
        if let Some(value) = value {
            out!("{name:<28} {value:>12.digits$} {unit}");
        }
    };
    let megabytes = |path: &str| number(path).map(|bytes| bytes / 1e6);
    line("passages", number("/passages"), 0, "");
    line("built in", number("/build/seconds"), 1, "s");
    line("  peak memory", megabytes("/build/peak_bytes"), 0, "MB");
    line("  texts", megabytes("/build/text_bytes"), 1, "MB");
    line("bundle", megabytes("/bundle_bytes"), 1, "MB");
    for part in ["graph", "lexical", "passages", "metadata"] {
        let path = format!("/search/{part}_bytes");
        line(&format!("  {part}"), megabytes(&path), 1, "MB");
    }
    line("prepared in", number("/prepare/seconds"), 2, "s");
    line("  peak memory", megabytes("/prepare/peak_bytes"), 0, "MB");
    line("opened first in", number("/open/first_seconds"), 2, "s");
    line("  peak memory", megabytes("/open/first_peak_bytes"), 0, "MB");
    line("opened again in", number("/open/again_seconds"), 3, "s");
    line("a second instance", megabytes("/open/second_instance_bytes"), 2, "MB");
    line("request, median", number("/open/request_ms/median"), 2, "ms");
    line("request, p99", number("/open/request_ms/p99"), 2, "ms");
    line("  without models, median", number("/open/request_search_ms/median"), 2, "ms");
    line("  page faults", number("/open/request_page_faults"), 0, "");
    line("dense", number("/search/dense_qps"), 0, "searches/s");
    line("  recall@10", number("/search/recall_at_10"), 4, "");
    line("lexical", number("/search/lexical_qps"), 0, "searches/s");
    line("hybrid", number("/search/hybrid_qps"), 0, "searches/s");
}

/// Memory that belongs to this process alone; 0 where the system does not say.
fn private_dirty() -> u64 {
    field("/proc/self/smaps_rollup", "Private_Dirty:")
}

/// Pages that this process was given without reading a disk; 0 where the system does not say.
fn page_faults() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().nth(7).and_then(|faults| faults.parse().ok()).unwrap_or(0)
}

/// Forgets the most memory that was held; where it cannot, that stays the most since the start.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status(name: &str) -> u64 {
    field("/proc/self/status", name)
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
