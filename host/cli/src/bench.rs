//! `trine bench`.

mod client;
mod filtered;
mod generate;
mod gpu;
mod index;
mod model;
mod scale;
mod serve;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use trine_node::{Node, OpenOptions, open};
use trine_runtime::AppOptions;

use crate::args::{Bench, BenchCommand, Common};

/// Rounds that are run and not counted.
const WARM_UP: u32 = 20;

/// Asked in every round; which words does not matter, that the index is searched does.
const QUERY: &str = "How do I ask for a day off?";

pub fn run(args: Bench, common: &Common) -> Result<()> {
    match args.command {
        BenchCommand::Gpu { json, quick } => gpu::run(common, json, quick),
        BenchCommand::Scale(args) => scale::run(&args, common),
        BenchCommand::Serve(args) => serve::run(args, common),
        BenchCommand::Generate(args) => generate::run(&args, common),
        BenchCommand::Rerank(args) => model::rerank(&args, common),
        BenchCommand::Embed { tokens, embedder, rounds, json } => {
            model::embed(tokens, embedder.as_deref(), rounds, json, common)
        }
        BenchCommand::Index { files, json } => index::run(&files, json, common.threads()),
        BenchCommand::Start { bundle, json, rounds } => start(&bundle, json, rounds, common),
    }
}

fn start(bundle: &Path, json: bool, rounds: u32, common: &Common) -> Result<()> {
    let options = OpenOptions {
        engine: common.engine()?,
        app: AppOptions { cache: Some(common.compiled()?), ..AppOptions::default() },
    };
    let runtime = crate::ask::runtime()?;
    let node = open(bundle, &options, &common.store()?)?;
    let times = runtime.block_on(measure(&node, rounds))?;
    let report = json!({
        "bundle": bundle,
        "passages": node.about.passages,
        "rounds": rounds,
        "threads": common.threads(),
        "instantiate_ms": summary(times.instantiate),
        "first_request_ms": summary(times.first),
        "warm_request_ms": summary(times.warm),
        "health_first_request_ms": summary(times.health_first),
        "health_warm_request_ms": summary(times.health_warm),
        "fresh_over_reused_ms": summary(times.difference),
    });
    if json {
        out!("{report}");
    } else {
        print(&report);
    }
    Ok(())
}

/// Milliseconds, a value a round.
#[derive(Default)]
struct Times {
    /// Starting an instance and dropping it.
    instantiate: Vec<f64>,
    /// A search by a fresh instance, its start and end included.
    first: Vec<f64>,
    /// The same search by an instance that has answered before.
    warm: Vec<f64>,
    /// As `first`, with a request that calls no model.
    health_first: Vec<f64>,
    /// As `warm`, with a request that calls no model.
    health_warm: Vec<f64>,
    /// `health_first` minus `health_warm` of the same round.
    difference: Vec<f64>,
}

async fn measure(node: &Node, rounds: u32) -> Result<Times> {
    let mut session = node.app.session("/health").await?;
    let mut times = Times::default();
    for round in 0..rounds + WARM_UP {
        let instantiate = timed(async { Ok(node.app.instantiate().await?) }).await?;
        let first = timed(fresh(node, search()?)).await?;
        let warm = timed(async { answered(session.request(search()?).await?.0) }).await?;
        let health_first = timed(fresh(node, health()?)).await?;
        let health_warm = timed(async { answered(session.request(health()?).await?.0) }).await?;
        if round >= WARM_UP {
            times.instantiate.push(instantiate);
            times.first.push(first);
            times.warm.push(warm);
            times.health_first.push(health_first);
            times.health_warm.push(health_warm);
            times.difference.push(health_first - health_warm);
        }
    }
    Ok(times)
}

async fn timed(work: impl Future<Output = Result<()>>) -> Result<f64> {
    let started = Instant::now();
    work.await?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

async fn fresh(node: &Node, request: Request<Bytes>) -> Result<()> {
    answered(node.request(request).await?.0)
}

fn answered(status: http::StatusCode) -> Result<()> {
    ensure!(status.is_success(), "the application answered with {status}");
    Ok(())
}

fn search() -> Result<Request<Bytes>> {
    let body = json!({ "query": QUERY, "top_k": 10 }).to_string();
    Ok(Request::post("http://localhost/v1/retrieve").body(body.into())?)
}

fn health() -> Result<Request<Bytes>> {
    Ok(Request::get("http://localhost/health").body(Bytes::new())?)
}

fn summary(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len().max(1) - 1) as f64 * share) as usize).copied();
    json!({ "median": at(0.5), "p99": at(0.99) })
}

fn print(report: &Value) {
    out!("{:<28} {:>10} {:>10}", "milliseconds", "median", "p99");
    for (name, value) in report.as_object().into_iter().flatten() {
        if let Some(name) = name.strip_suffix("_ms") {
            let number = |key: &str| value.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
            out!(
                "{:<28} {:>10.3} {:>10.3}",
                name.replace('_', " "),
                number("median"),
                number("p99")
            );
        }
    }
}
