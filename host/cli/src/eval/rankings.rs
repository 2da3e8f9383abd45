//! Rankings of the judged queries, by the retriever and by the reranker.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use trine_eval::{Collection, Comparison, Latency, Measured, Query, Report, Run, evaluate};
use trine_node::Node;

use crate::args::{Eval, ModeArg, Stage};
use crate::ask::post;

/// One ranking to measure.
#[derive(Clone, Copy)]
struct Ranking {
    name: &'static str,
    stage: Stage,
    mode: ModeArg,
    /// Whether the reranker's scores are fused with the retriever's; its own default when absent.
    fuse: Option<bool>,
    top_k: u32,
}

/// Every ranking that the command line asks for, and for each the object that `--json` prints.
pub async fn measure(
    node: &Node,
    collection: &Collection,
    args: &Eval,
) -> Result<(Comparison, Vec<Value>)> {
    let mut qrels = collection.qrels()?;
    let mut queries = collection.queries()?;
    queries.retain(|q| qrels.get(&q.id).is_some());
    if let Some(limit) = args.limit {
        queries.truncate(limit);
        qrels = qrels.only(queries.iter().map(|q| q.id.as_str()));
    }
    ensure!(!queries.is_empty(), "no query of {} is judged", args.collection.display());

    let baseline = args.mode.unwrap_or(ModeArg::Hybrid);
    let rankings = match &args.ablate {
        Some(depths) => ablation(depths, baseline, fuses(node).await),
        None => args.stages.iter().filter_map(|stage| named(*stage, args)).collect(),
    };
    let mut measured = Vec::with_capacity(rankings.len());
    let mut reports = Vec::with_capacity(rankings.len());
    for ranking in &rankings {
        let started = Instant::now();
        let (run, latency_ms) = rank_all(node, &queries, *ranking, args).await?;
        let seconds = started.elapsed().as_secs_f64();
        if let Some(path) = &args.run {
            run.write(path, "trine")?;
        }
        let report = Report::of(&evaluate(&qrels, &run)?, node.about.documents as usize)
            .with("collection", collection.name())?
            .with("stage", ranking.name)?
            .with("mode", ranking.mode.name())?
            .with("fusion", args.fusion.json())?
            .with("exact", args.exact)?
            .with("top_k", ranking.top_k)?
            .with("embedder", &node.about.embedder.name)?
            .with("reranker", &node.about.reranker.name)?
            .with("latency_ms", &latency_ms)?
            .with("seconds", seconds)?;
        reports.push(report.to_value());
        let (system, top_k) = (ranking.name.to_owned(), ranking.top_k);
        let reranks = ranking.stage == Stage::Rerank;
        measured.push(Measured { system, top_k, reranks, run, latency_ms });
    }
    let retrieves = |r: &&Ranking| r.stage != Stage::Rerank && r.mode == baseline;
    let baseline = rankings.iter().find(retrieves).map_or(baseline.name(), |r| r.name);
    Ok((Comparison::of(&qrels, &queries, &measured, baseline)?, reports))
}

/// The ranking that a stage's name and `--mode` say together; `None` of answers.
fn named(stage: Stage, args: &Eval) -> Option<Ranking> {
    let mode = stage.mode().or(args.mode).unwrap_or(ModeArg::Hybrid);
    let (name, top_k) = (stage.name(), args.top_k());
    let fuse = args.no_fuse.then_some(false);
    (stage != Stage::Answer).then_some(Ranking { name, stage, mode, fuse, top_k })
}

/// Every retrieval, and what the reranker makes of the baseline's: alone and, where it can be
/// told to, fused with it.
fn ablation(depths: &[u32], baseline: ModeArg, fuses: bool) -> Vec<Ranking> {
    let retrieve = |name, mode| (name, Stage::Retrieve, mode, None);
    let rerank = |name, fuse| (name, Stage::Rerank, baseline, fuse);
    let mut systems = vec![
        retrieve("dense", ModeArg::Dense),
        retrieve("lexical", ModeArg::Lexical),
        retrieve("hybrid", ModeArg::Hybrid),
        rerank("reranked", fuses.then_some(false)),
    ];
    if fuses {
        systems.push(rerank("fused", Some(true)));
    }
    let at = |(name, stage, mode, fuse)| {
        depths.iter().map(move |&top_k| Ranking { name, stage, mode, fuse, top_k })
    };
    systems.into_iter().flat_map(at).collect()
}

/// Whether this bundle's gateway takes the field `fuse`.
async fn fuses(node: &Node) -> bool {
    let body = json!({ "query": "x", "passages": ["x"], "fuse": true });
    post(node, "/v1/rerank", &body).await.is_ok()
}

#[derive(Deserialize)]
struct Retrieved {
    candidates: Vec<Candidate>,
    timings_ms: Timings,
}

#[derive(Deserialize)]
struct Candidate {
    source: String,
    title: String,
    text: String,
    retrieval_score: f32,
}

#[derive(Deserialize)]
struct Reranked {
    results: Vec<Scored>,
    timings_ms: Timings,
}

#[derive(Deserialize)]
struct Scored {
    index: usize,
    score: f32,
}

#[derive(Deserialize)]
struct Timings {
    total: f64,
}

/// Milliseconds of each stage, a value a query.
#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<f64>>);

impl Times {
    fn add(&mut self, stage: &'static str, ms: f64) {
        self.0.entry(stage).or_default().push(ms);
    }

    fn latencies(self) -> BTreeMap<&'static str, Latency> {
        self.0.into_iter().filter_map(|(stage, ms)| Some((stage, Latency::of(ms)?))).collect()
    }
}

/// Every query through the gateway and the stages behind it.
async fn rank_all(
    node: &Node,
    queries: &[Query],
    ranking: Ranking,
    args: &Eval,
) -> Result<(Run, BTreeMap<&'static str, Latency>)> {
    let (mut run, mut times) = (Run::default(), Times::default());
    let bar =
        crate::progress::counting(format!("{} {}", ranking.name, ranking.top_k), queries.len());
    for query in queries {
        let ranked = rank(node, &query.text, ranking, args, &mut times).await;
        let ranked = ranked.with_context(|| format!("query {}", query.id))?;
        run.insert(&query.id, best_passages(ranked))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((run, times.latencies()))
}

/// Documents and their scores, best first.
async fn rank(
    node: &Node,
    query: &str,
    ranking: Ranking,
    args: &Eval,
    times: &mut Times,
) -> Result<Vec<(String, f32)>> {
    let mut body = as_it_stands(query, args);
    body.insert("top_k".to_owned(), json!(ranking.top_k));
    body.insert("mode".to_owned(), json!(ranking.mode.name()));
    body.insert("snippet".to_owned(), json!(0));
    let retrieved = post(node, "/v1/retrieve", &body.into()).await?;
    let Retrieved { candidates, timings_ms: retrieve } = serde_json::from_slice(&retrieved)?;
    times.add("retrieve", retrieve.total);
    if ranking.stage != Stage::Rerank || candidates.is_empty() {
        times.add("total", retrieve.total);
        return Ok(candidates.into_iter().map(|c| (c.source, c.retrieval_score)).collect());
    }
    let passage = |Candidate { title, text, retrieval_score, .. }: &Candidate| json!({ "title": title, "text": text, "retrieval_score": retrieval_score });
    let passages: Vec<Value> = candidates.iter().map(passage).collect();
    let body = with_fuse(json!({ "query": query, "passages": passages }), ranking.fuse);
    let reranked = post(node, "/v1/rerank", &body).await?;
    let Reranked { results, timings_ms: rerank } = serde_json::from_slice(&reranked)?;
    times.add("rerank", rerank.total);
    times.add("total", retrieve.total + rerank.total);
    let source = |scored: &Scored| candidates.get(scored.index).map(|c| c.source.clone());
    Ok(results.iter().filter_map(|s| Some((source(s)?, s.score))).collect())
}

/// A request's fields that every stage has. Judgements are of the query as it stands.
pub fn as_it_stands(query: &str, args: &Eval) -> Map<String, Value> {
    let fields = json!({
        "query": query, "exact": args.exact, "fusion": args.fusion.json(), "decompose": "off",
        "spelling": "off",
    });
    fields.as_object().cloned().unwrap_or_default()
}

/// The field `fuse` is there only where something is asked of it.
fn with_fuse(mut body: Value, fuse: Option<bool>) -> Value {
    if let Some(fuse) = fuse {
        body["fuse"] = json!(fuse);
    }
    body
}

/// A document ranks where its best passage does.
fn best_passages(mut ranking: Vec<(String, f32)>) -> Vec<(String, f32)> {
    let mut seen = HashSet::new();
    ranking.retain(|(document, _)| seen.insert(document.clone()));
    ranking
}
