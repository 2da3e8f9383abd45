//! `trine bench rerank` and `trine bench embed`.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trine_inference::{Model, ModelKind, cpu_instructions, measure};

use crate::args::{BenchRerank, Common};

/// Of random weights, where there is no model.
const SEED: u64 = 1;
/// Whose tokenizer cuts passages for a model of random weights.
const TOKENIZER: &str = "all-MiniLM-L6-v2";
/// Asked of every passage.
const QUESTION: &str = "How do I ask for a day off?";

pub fn rerank(args: &BenchRerank, common: &Common) -> Result<()> {
    let model = model(args.reranker.as_deref(), ModelKind::CrossEncoder, common)?;
    let count = usize::from(args.pairs);
    let pairs = if args.passages.is_empty() {
        measure::random_pairs(count, usize::from(args.tokens))
    } else {
        let folder = common.store()?.folder(args.reranker.as_deref().unwrap_or(TOKENIZER))?;
        let path = folder.join("tokenizer.json");
        let tokenizer = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let window = model.info().max_tokens.min(256);
        trine_node::pairs(&args.passages, QUESTION, count, (&tokenizer, window))?
    };
    let report = measure::rerank(model, common.engine()?, &pairs, args.rounds as usize)?;
    let value = with_setting(serde_json::to_value(&report)?, common);
    if args.json {
        out!("{value}");
        return Ok(());
    }
    let (pairs, tokens, longest) = (report.pairs, report.tokens, report.longest);
    out!("{}: {pairs} pairs, {tokens} tokens, the longest {longest}", report.device);
    out!("{:.1} pairs/s, {:.2} ms a call", report.pairs_per_second, report.ms);
    if let Some(padded) = report.padded {
        let (rate, ratio) = (padded.pairs_per_second, padded.packed_over_padded);
        out!("padded to the longest: {rate:.1} pairs/s; packed is {ratio:.2} times as fast");
    }
    if let Some(error) = report.error {
        let (largest, share) = (error.largest, error.of_range * 100.0);
        out!(
            "largest error of {} logits: {largest:.2e}, {share:.2} % of their range in f32",
            error.logits
        );
    }
    Ok(())
}

pub fn embed(
    tokens: u16,
    embedder: Option<&str>,
    rounds: u32,
    json: bool,
    common: &Common,
) -> Result<()> {
    let model = model(embedder, ModelKind::Encoder, common)?;
    let report = measure::embed(model, common.engine()?, usize::from(tokens), rounds as usize)?;
    if json {
        out!("{}", with_setting(serde_json::to_value(&report)?, common));
        return Ok(());
    }
    out!("{}: a text of {tokens} tokens", report.device);
    out!("{:.3} ms, {:.3} ms the 99th percentile", report.ms, report.p99_ms);
    out!("cosine to f32: {:.6}", report.cosine);
    Ok(())
}

/// The model of a name or folder, or one of random weights.
fn model(name: Option<&str>, kind: ModelKind, common: &Common) -> Result<Arc<Model>> {
    Ok(match name {
        Some(name) => common.store()?.model(name)?,
        None => Arc::new(Model::random_minilm(kind, SEED)?),
    })
}

/// Adds what the figures hold for.
fn with_setting(mut report: Value, common: &Common) -> Value {
    report["precision"] = json!(common.precision.here().name());
    report["threads"] = json!(common.threads());
    report["isa"] = json!(cpu_instructions());
    report
}
