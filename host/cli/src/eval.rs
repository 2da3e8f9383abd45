//! `trine eval`: a test collection through the real components.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use trine_eval::{Collection, Query, Report, Run, evaluate};
use trine_node::{Bm25, Input, Node};

use crate::args::{Build, ChunkingArg, Common, Eval, ModeArg, Stage};

pub fn run(args: Eval, common: &Common) -> Result<()> {
    let rankings = rankings(&args)?;
    let collection = Collection::open(&args.collection)?;
    let mut qrels = collection.qrels()?;
    let mut queries = collection.queries()?;
    queries.retain(|q| qrels.get(&q.id).is_some());
    if let Some(limit) = args.limit {
        queries.truncate(limit);
        qrels = qrels.only(queries.iter().map(|q| q.id.as_str()));
    }
    ensure!(!queries.is_empty(), "no query of {} is judged", args.collection.display());

    let scratch = tempfile::tempdir()?;
    let bundle = match &args.bundle {
        Some(path) => path.clone(),
        None => scratch.path().join("collection.trine"),
    };
    if !bundle.exists() {
        index(&args, &bundle, common)?;
    }
    let runtime = crate::ask::runtime()?;
    let node = crate::ask::open(&bundle, common)?;

    let mut reports = Vec::new();
    for ranking in rankings {
        let started = Instant::now();
        let ranked = runtime.block_on(rank(&node, &queries, ranking, &args))?;
        let seconds = started.elapsed().as_secs_f64();
        if let Some(path) = &args.run {
            ranked.write(path, "trine")?;
        }
        let report = Report::of(&evaluate(&qrels, &ranked)?, node.about.documents as usize)
            .with("collection", collection.name())?
            .with("stage", ranking.stage.name())?
            .with("mode", ranking.mode.name())?
            .with("fusion", args.fusion.json())?
            .with("exact", args.exact)?
            .with("top_k", args.top_k)?
            .with("embedder", &node.about.embedder.name)?
            .with("reranker", &node.about.reranker.name)?
            .with("seconds", seconds)?;
        if args.json {
            out!("{}", report.to_json());
        }
        reports.push(report.to_value());
    }
    match reports.as_slice() {
        _ if args.json => {}
        [report] => print(report),
        reports => print_table(reports),
    }
    Ok(())
}

/// One ranking to measure.
#[derive(Clone, Copy)]
struct Ranking {
    stage: Stage,
    mode: ModeArg,
}

/// What `--stage` and `--mode` ask for together.
fn rankings(args: &Eval) -> Result<Vec<Ranking>> {
    let several = args.stages.len() > 1;
    ensure!(!several || args.run.is_none(), "--run writes one ranking; give one --stage");
    let ranking = |&stage: &Stage| {
        let named = stage.mode();
        if let (Some(named), Some(mode)) = (named, args.mode) {
            let stage = stage.name();
            let mode_name = mode.name();
            ensure!(named == mode, "--stage {stage} and --mode {mode_name} exclude each other");
        }
        Ok(Ranking { stage, mode: named.or(args.mode).unwrap_or(ModeArg::Hybrid) })
    };
    args.stages.iter().map(ranking).collect()
}

/// Test collections judge whole documents, so a document is a passage.
fn index(args: &Eval, bundle: &Path, common: &Common) -> Result<()> {
    let corpus = ["corpus.jsonl", "corpus.jsonl.gz"]
        .iter()
        .map(|name| args.collection.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{} holds no corpus.jsonl[.gz]", args.collection.display()))?;
    let build = Build {
        embedder: args.embedder.clone(),
        reranker: args.reranker.clone(),
        chunking: ChunkingArg::Whole,
        overlap: 0,
        bm25_k1: Bm25::default().k1,
        bm25_b: Bm25::default().b,
        vectors: args.vectors,
        app: None,
    };
    let paths: [PathBuf; 1] = [corpus];
    crate::index::shown(&Input { paths: &paths, output: bundle }, &build, common, false)?;
    Ok(())
}

#[derive(Deserialize)]
struct Retrieved {
    candidates: Vec<Candidate>,
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
}

#[derive(Deserialize)]
struct Scored {
    index: usize,
    score: f32,
}

/// Every query through the gateway and the stages behind it.
async fn rank(node: &Node, queries: &[Query], ranking: Ranking, args: &Eval) -> Result<Run> {
    let mut run = Run::default();
    for query in queries {
        let ranked = rank_one(node, &query.text, ranking, args).await;
        let ranked = ranked.with_context(|| format!("query {}", query.id))?;
        run.insert(&query.id, best_passages(ranked))?;
    }
    Ok(run)
}

/// Documents and their scores, best first.
async fn rank_one(
    node: &Node,
    query: &str,
    ranking: Ranking,
    args: &Eval,
) -> Result<Vec<(String, f32)>> {
    // Judgements are of the query as it stands.
    let body = json!({
        "query": query, "top_k": args.top_k, "exact": args.exact, "mode": ranking.mode.name(),
        "fusion": args.fusion.json(), "decompose": "off", "spelling": "off", "snippet": 0,
    });
    let retrieved = crate::ask::post(node, "/v1/retrieve", &body).await?;
    let Retrieved { candidates } = serde_json::from_slice(&retrieved)?;
    if ranking.stage != Stage::Rerank || candidates.is_empty() {
        return Ok(candidates.into_iter().map(|c| (c.source, c.retrieval_score)).collect());
    }
    let passages: Vec<_> =
        candidates.iter().map(|c| json!({ "title": c.title, "text": c.text })).collect();
    let body = json!({ "query": query, "passages": passages });
    let reranked = crate::ask::post(node, "/v1/rerank", &body).await?;
    let Reranked { results } = serde_json::from_slice(&reranked)?;
    let source = |scored: &Scored| candidates.get(scored.index).map(|c| c.source.clone());
    Ok(results.iter().filter_map(|s| Some((source(s)?, s.score))).collect())
}

/// A document ranks where its best passage does.
fn best_passages(mut ranking: Vec<(String, f32)>) -> Vec<(String, f32)> {
    let mut seen = HashSet::new();
    ranking.retain(|(document, _)| seen.insert(document.clone()));
    ranking
}

fn print(report: &Value) {
    for (name, value) in report.as_object().into_iter().flatten() {
        match value.as_f64() {
            Some(number) if !value.is_u64() => out!("{name:<12} {number:.4}"),
            _ => out!("{name:<12} {value}"),
        }
    }
}

/// A line for each ranking.
fn print_table(reports: &[Value]) {
    const METRICS: [&str; 6] = ["ndcg@10", "mrr@10", "hit@5", "recall@10", "recall@100", "seconds"];
    let heads: Vec<String> = METRICS.iter().map(|name| format!("{name:>11}")).collect();
    out!("{:<9} {:<8}{}", "stage", "mode", heads.concat());
    for report in reports {
        let number = |name: &&str| format!("{:>11.4}", report[*name].as_f64().unwrap_or_default());
        let numbers: Vec<String> = METRICS.iter().map(number).collect();
        let name = |field: &str| report[field].as_str().unwrap_or_default();
        out!("{:<9} {:<8}{}", name("stage"), name("mode"), numbers.concat());
    }
}
