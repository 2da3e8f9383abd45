//! `trine eval`: a test collection through the real components.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;
use trine_eval::{Collection, Query, Report, Run, evaluate};
use trine_node::{Input, Node, OpenOptions, open};
use trine_runtime::AppOptions;

use crate::args::{Build, ChunkingArg, Common, Eval, Stage};

pub fn run(args: Eval, common: &Common) -> Result<()> {
    let collection = Collection::open(&args.collection)?;
    let qrels = collection.qrels()?;
    let mut queries = collection.queries()?;
    queries.retain(|q| qrels.get(&q.id).is_some());
    queries.truncate(args.limit.unwrap_or(usize::MAX));
    ensure!(!queries.is_empty(), "no query of {} is judged", args.collection.display());

    let scratch = tempfile::tempdir()?;
    let bundle = match &args.bundle {
        Some(path) => path.clone(),
        None => scratch.path().join("collection.trine"),
    };
    if !bundle.exists() {
        index(&args, &bundle, common)?;
    }
    let options = OpenOptions {
        engine: common.engine()?,
        app: AppOptions { cache: Some(common.cache()?.join("compiled")), ..AppOptions::default() },
    };
    let runtime = crate::ask::runtime()?;
    let node = open(&bundle, &options, &common.store()?)?;

    let started = Instant::now();
    let ranked = runtime.block_on(rank(&node, &queries, &args))?;
    let seconds = started.elapsed().as_secs_f64();
    if let Some(path) = &args.run {
        ranked.write(path, "trine")?;
    }
    let judged = match args.limit {
        None => qrels,
        Some(_) => qrels.only(queries.iter().map(|q| q.id.as_str())),
    };
    let evaluation = evaluate(&judged, &ranked)?;
    let report = Report::of(&evaluation, node.about.documents as usize)
        .with("collection", collection.name())?
        .with("stage", stage_name(args.stage))?
        .with("exact", args.exact)?
        .with("top_k", args.top_k)?
        .with("embedder", &node.about.embedder.name)?
        .with("reranker", &node.about.reranker.name)?
        .with("seconds", seconds)?;
    if args.json {
        out!("{}", report.to_json());
    } else {
        print(&report, seconds);
    }
    Ok(())
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
async fn rank(node: &Node, queries: &[Query], args: &Eval) -> Result<Run> {
    let mut run = Run::default();
    for query in queries {
        let ranking = rank_one(node, &query.text, args).await;
        let ranking = ranking.with_context(|| format!("query {}", query.id))?;
        run.insert(&query.id, best_passages(ranking))?;
    }
    Ok(run)
}

/// Documents and their scores, best first.
async fn rank_one(node: &Node, query: &str, args: &Eval) -> Result<Vec<(String, f32)>> {
    let body = json!({ "query": query, "top_k": args.top_k, "exact": args.exact });
    let retrieved = crate::ask::post(node, "/v1/retrieve", &body).await?;
    let Retrieved { candidates } = serde_json::from_slice(&retrieved)?;
    if args.stage == Stage::Dense || candidates.is_empty() {
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

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Dense => "dense",
        Stage::Rerank => "rerank",
    }
}

fn print(report: &Report, seconds: f64) {
    let value = report.to_value();
    for (name, value) in value.as_object().into_iter().flatten() {
        match value.as_f64() {
            Some(number) if !value.is_u64() => out!("{name:<12} {number:.4}"),
            _ => out!("{name:<12} {value}"),
        }
    }
    eprintln!("{seconds:.1} s");
}
