//! What a model takes on a device: pairs scored, and a text embedded.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use trine_text::tokens::Encoded;

use super::{logits, text};
use crate::{
    DeviceChoice, Engine, EngineOptions, Graphs, InferenceError, Model, PrecisionOption, View,
};

/// The one graph of an engine.
const GRAPH: &str = "model";
/// Pairs whose scores are compared with those in f32.
const COMPARED: usize = 32;

/// Pairs scored in one call, from ids in the host's memory to scores there.
#[derive(Debug, Serialize)]
pub struct Rerank {
    /// The device.
    pub device: String,
    /// How many pairs.
    pub pairs: usize,
    /// Tokens of all of them.
    pub tokens: usize,
    /// Tokens of the longest.
    pub longest: usize,
    /// Calls that were timed.
    pub rounds: usize,
    /// Milliseconds of a call, the median.
    pub ms: f64,
    /// Pairs a second at that.
    pub pairs_per_second: f64,
    /// The same pairs padded to the longest; `None` where all are as long.
    pub padded: Option<Padded>,
    /// How far the logits are from those in f32 on the CPU; `None` where they are the same.
    pub error: Option<RoundingError>,
}

/// Pairs padded to the longest and computed with their padding, as a server that stacks them to a
/// rectangle computes them; in turn with the same pairs packed.
#[derive(Debug, Serialize)]
pub struct Padded {
    /// Milliseconds of a call, the median.
    pub ms: f64,
    /// Pairs a second at that.
    pub pairs_per_second: f64,
    /// The median of the rounds' ratios, above 1 where packing is faster.
    pub packed_over_padded: f64,
}

/// The error of logits against the same model in f32 on the CPU.
#[derive(Debug, Serialize)]
pub struct RoundingError {
    /// Logits that were compared.
    pub logits: usize,
    /// The largest difference.
    pub largest: f64,
    /// The same as a part of the distance between the least and the largest logit in f32.
    pub of_range: f64,
}

/// One text embedded, from ids in the host's memory to the vector there.
#[derive(Debug, Serialize)]
pub struct EmbedReport {
    /// The device.
    pub device: String,
    /// Tokens of the text.
    pub tokens: usize,
    /// Calls that were timed.
    pub rounds: usize,
    /// Milliseconds of a call, the median.
    pub ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// Cosine between the vector and that in f32 on the CPU.
    pub cosine: f64,
}

/// So many pairs of so many tokens at random, the same at every run.
pub fn random_pairs(count: usize, tokens: usize) -> Vec<Encoded> {
    (0..count).map(|i| text(tokens, i)).collect()
}

/// Times a cross-encoder on pairs, `rounds` times. Fails for other models.
pub fn rerank(
    model: Arc<Model>,
    options: EngineOptions,
    pairs: &[Encoded],
    rounds: usize,
) -> Result<Rerank, InferenceError> {
    let engine = start(&model, View::CrossEncoder, options.clone())?;
    let lengths = || pairs.iter().map(|pair| pair.ids.len());
    let (tokens, longest) = (lengths().sum::<usize>(), lengths().max().unwrap_or_default());
    let rectangle: Option<Vec<Encoded>> =
        (tokens < longest * pairs.len()).then(|| pairs.iter().map(|p| pad(p, longest)).collect());
    let time = |pairs: &[Encoded]| -> Result<f64, InferenceError> {
        let started = Instant::now();
        logits(&engine, GRAPH, pairs)?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    };
    let (mut packed, mut padded) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let ms = (time(pairs)?, rectangle.as_deref().map(time).transpose()?);
        // The first round warms the memory.
        if round > 0 {
            packed.push(ms.0);
            padded.extend(ms.1);
        }
    }
    let ratios: Vec<f64> =
        packed.iter().zip(&padded).map(|(packed, padded)| padded / packed).collect();
    let per_second = |ms: f64| pairs.len() as f64 / ms * 1e3;
    let ms = quantile(packed, 0.5);
    let padded = rectangle.map(|_| {
        let ms = quantile(padded, 0.5);
        Padded { ms, pairs_per_second: per_second(ms), packed_over_padded: quantile(ratios, 0.5) }
    });
    let compared = &pairs[..pairs.len().min(COMPARED)];
    let found = logits(&engine, GRAPH, compared)?;
    let device = engine.devices().collect();
    drop(engine);
    let exact = logits(&start(&model, View::CrossEncoder, exact(options))?, GRAPH, compared)?;
    Ok(Rerank {
        device,
        pairs: pairs.len(),
        tokens,
        longest,
        rounds,
        ms,
        pairs_per_second: per_second(ms),
        padded,
        error: (found != exact).then(|| error(&found, &exact)),
    })
}

/// Times an encoder on one text of random tokens, `rounds` times. Fails for other models.
pub fn embed(
    model: Arc<Model>,
    options: EngineOptions,
    tokens: usize,
    rounds: usize,
) -> Result<EmbedReport, InferenceError> {
    let engine = start(&model, View::SentenceEmbedding, options.clone())?;
    let text = random_pairs(1, tokens);
    let embed = |engine: &Engine| -> Result<Vec<f32>, InferenceError> {
        Ok(engine.embed_blocking(GRAPH, &text)?.concat())
    };
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds + rounds / 10 {
        let started = Instant::now();
        embed(&engine)?;
        if round >= rounds / 10 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let found = embed(&engine)?;
    let device = engine.devices().collect();
    drop(engine);
    let exact = embed(&start(&model, View::SentenceEmbedding, exact(options))?)?;
    let (ms, p99_ms) = (quantile(times.clone(), 0.5), quantile(times, 0.99));
    Ok(EmbedReport { device, tokens, rounds, ms, p99_ms, cosine: cosine(&found, &exact) })
}

fn start(model: &Arc<Model>, view: View, options: EngineOptions) -> Result<Engine, InferenceError> {
    let mut graphs = Graphs::new();
    let refused = |e: crate::ModelError| InferenceError::Failed(e.to_string());
    graphs.insert(GRAPH, model.clone(), view).map_err(refused)?;
    Engine::start(graphs, EngineOptions { call_tokens: usize::MAX, ..options })
}

/// What results are compared with.
fn exact(options: EngineOptions) -> EngineOptions {
    EngineOptions { device: DeviceChoice::Cpu, precision: PrecisionOption::F32, ..options }
}

/// A pair with padding that is computed: what is under the mask counts as a token.
fn pad(pair: &Encoded, length: usize) -> Encoded {
    let mut padded = pair.clone();
    padded.ids.resize(length, 0);
    padded.type_ids.resize(length, 0);
    padded
}

fn error(found: &[f32], exact: &[f32]) -> RoundingError {
    let differences = found.iter().zip(exact).map(|(a, b)| f64::from((a - b).abs()));
    let largest = differences.fold(0.0, f64::max);
    let ends =
        |fold: fn(f64, f64) -> f64, from: f64| exact.iter().map(|&x| x.into()).fold(from, fold);
    let range = ends(f64::max, f64::NEG_INFINITY) - ends(f64::min, f64::INFINITY);
    RoundingError { logits: exact.len(), largest, of_range: largest / range }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Arc<Model> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-cross-encoder");
        Arc::new(Model::open(folder).unwrap())
    }

    fn options(precision: PrecisionOption) -> EngineOptions {
        EngineOptions {
            device: DeviceChoice::Cpu,
            threads: 2,
            precision,
            ..EngineOptions::default()
        }
    }

    #[test]
    fn pairs_are_scored_packed_and_padded() {
        let model = tiny();
        let words = model.info().vocabulary as u32;
        let mut pairs: Vec<Encoded> = (1..9).map(|tokens| text(tokens, 1)).collect();
        pairs.iter_mut().flat_map(|pair| &mut pair.ids).for_each(|id| *id %= words);
        let report = rerank(model.clone(), options(PrecisionOption::F32), &pairs, 2).unwrap();
        assert_eq!((report.pairs, report.tokens, report.longest), (8, 36, 8));
        assert!(report.padded.is_some() && report.error.is_none(), "{report:?}");
        let report = rerank(model.clone(), options(PrecisionOption::Int8), &pairs[7..], 1).unwrap();
        assert!(report.padded.is_none());
        let error = report.error.unwrap();
        assert!(error.largest > 0.0 && error.largest < 0.5, "{error:?}");
        assert!(embed(model, options(PrecisionOption::F32), 4, 10).is_err());
    }

    #[test]
    fn errors_are_parts_of_the_range() {
        let found = error(&[1.0, 2.5, 5.0], &[1.0, 2.0, 5.0]);
        assert_eq!((found.logits, found.largest, found.of_range), (3, 0.5, 0.125));
        assert!((cosine(&[3.0, 4.0], &[4.0, 3.0]) - 0.96).abs() < 1e-12);
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.5), 2.0);
    }
}
