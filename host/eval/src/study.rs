//! Everything that one evaluation found, for a file of JSON or a page.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bootstrap::{Difference, Interval, Resamples};
use crate::{
    Answering, Evaluation, Judgements, Latency, Metrics, OperatingPoint, Qrels, Query, Result, Run,
    evaluate,
};

/// Depths at which recall is drawn.
const DEPTHS: [u32; 8] = [1, 2, 5, 10, 20, 50, 100, 200];
/// Queries that are listed for what they lost.
const LOSSES: usize = 20;

/// An evaluation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Study {
    /// The collection's name.
    pub collection: String,
    /// What was measured with what, on what.
    pub settings: Map<String, Value>,
    /// Rankings, in the order in which they are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rankings: Option<Comparison>,
    /// Answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answered>,
}

/// A run by one system.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What it is called: `hybrid`, `reranked`.
    pub system: String,
    /// Documents that were ranked for each query.
    pub top_k: u32,
    /// Whether this is a second stage's ranking of what a first found.
    pub reranks: bool,
    /// What it found.
    pub run: Run,
    /// What each stage took, by its name.
    pub latency_ms: BTreeMap<&'static str, Latency>,
}

/// Rankings held against each other.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The system that others are compared with, at the same depth.
    pub baseline: String,
    /// The queries' ids, in the order of each measure's values.
    pub queries: Vec<String>,
    /// A row for each run.
    pub rows: Vec<Row>,
    /// What reranking made worse, worst first.
    pub losses: Vec<Loss>,
}

/// One run's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The system.
    pub system: String,
    /// Documents that were ranked for each query.
    pub top_k: u32,
    /// NDCG@10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: Measure,
    /// MRR@10.
    #[serde(rename = "mrr@10")]
    pub mrr_at_10: Measure,
    /// P@1.
    #[serde(rename = "p@1")]
    pub p_at_1: Measure,
    /// Recall at `top_k`.
    #[serde(rename = "recall@k")]
    pub recall_at_k: Measure,
    /// Mean recall at some depths up to `top_k`: `(depth, recall)`.
    pub recall: Vec<(u32, f64)>,
    /// What each stage took, by its name.
    pub latency_ms: BTreeMap<&'static str, Latency>,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    /// Its mean over the queries.
    pub mean: f64,
    /// The mean's 95 % interval.
    #[serde(flatten)]
    pub interval: Interval,
    /// How it differs from the baseline's; `None` of the baseline itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versus_baseline: Option<Difference>,
    /// Each query's value.
    pub values: Vec<f64>,
}

/// A query that was better off before reranking.
#[derive(Clone, Debug, Serialize)]
pub struct Loss {
    /// Its id.
    pub id: String,
    /// What was asked.
    pub text: String,
    /// NDCG@10 of the baseline.
    pub before: f64,
    /// NDCG@10 of the reranking.
    pub after: f64,
    /// The first document of the baseline.
    pub first_before: String,
    /// The first document of the reranking.
    pub first_after: String,
    /// The baseline's rank of its first relevant document, if it found one.
    pub rank_before: Option<usize>,
    /// The reranking's.
    pub rank_after: Option<usize>,
}

/// Answers, with what one would want to look at.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// Whether the generator was given the passage that answers, and no other.
    pub gold_passage: bool,
    /// The figures.
    #[serde(flatten)]
    pub answering: Answering,
    /// What other thresholds would give.
    pub operating_points: Vec<OperatingPoint>,
    /// What each stage took, by its name.
    pub latency_ms: BTreeMap<&'static str, Latency>,
    /// Wrong answers, those with the strongest evidence first.
    pub mistakes: Vec<Mistake>,
}

/// A wrong answer, or one to a question that has none.
#[derive(Clone, Debug, Serialize)]
pub struct Mistake {
    /// The question's id.
    pub id: String,
    /// What was asked.
    pub question: String,
    /// What was answered.
    pub answer: String,
    /// What would have been right; empty of a question without an answer.
    pub accepted: Vec<String>,
    /// The answer's evidence.
    pub evidence: f64,
}

impl Comparison {
    /// Measures runs by `qrels` and holds them against the baseline's at the same depth.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn of(
        qrels: &Qrels,
        queries: &[Query],
        runs: &[Measured],
        baseline: &str,
    ) -> Result<Comparison> {
        let evaluations: Vec<Evaluation> =
            runs.iter().map(|m| evaluate(qrels, &m.run)).collect::<Result<_>>()?;
        let columns: Vec<Vec<f64>> = runs
            .iter()
            .zip(&evaluations)
            .flat_map(|(measured, evaluation)| columns(qrels, measured, evaluation))
            .collect();
        let resamples = Resamples::of(&columns);
        let baseline_at =
            |top_k| runs.iter().position(|m| m.system == baseline && m.top_k == top_k);
        let row = |(place, run): (usize, &Measured)| {
            let before = baseline_at(run.top_k).filter(|before| *before != place);
            let measures = std::array::from_fn(|column| {
                let at = |place| place * COLUMNS + column;
                let values = columns[at(place)].clone();
                Measure::of(&resamples, values, at(place), before.map(at))
            });
            Row::of(qrels, run, measures)
        };
        let losses = reranking(runs)
            .and_then(|after| Some((baseline_at(runs[after].top_k)?, after)))
            .map(|(before, after)| {
                let change = |id: &str| {
                    let ndcg = |at: usize| evaluations[at].per_query[id].ndcg_at_10;
                    (ndcg(before), ndcg(after))
                };
                losses(qrels, queries, [&runs[before].run, &runs[after].run], change)
            });
        Ok(Comparison {
            baseline: baseline.to_owned(),
            queries: judged(qrels).map(|(id, _)| id.to_owned()).collect(),
            rows: runs.iter().enumerate().map(row).collect(),
            losses: losses.unwrap_or_default(),
        })
    }
}

impl Row {
    fn of(qrels: &Qrels, run: &Measured, measures: [Measure; COLUMNS]) -> Row {
        let [ndcg_at_10, mrr_at_10, p_at_1, recall_at_k] = measures;
        let depths = DEPTHS.iter().filter(|depth| **depth <= run.top_k);
        Row {
            system: run.system.clone(),
            top_k: run.top_k,
            ndcg_at_10,
            mrr_at_10,
            p_at_1,
            recall_at_k,
            recall: depths.map(|&depth| (depth, mean_recall(qrels, run, depth))).collect(),
            latency_ms: run.latency_ms.clone(),
        }
    }
}

impl Measure {
    /// A column's figures, held against those of the column `before`.
    fn of(
        resamples: &Resamples,
        values: Vec<f64>,
        column: usize,
        before: Option<usize>,
    ) -> Measure {
        Measure {
            mean: resamples.mean(column),
            interval: resamples.interval(column),
            versus_baseline: before.map(|before| resamples.difference(column, before)),
            values,
        }
    }
}

/// Columns of a run: NDCG@10, MRR@10, P@1, recall at its depth.
const COLUMNS: usize = 4;

fn columns(qrels: &Qrels, run: &Measured, evaluation: &Evaluation) -> [Vec<f64>; COLUMNS] {
    let of = |metric: fn(&Metrics) -> f64| evaluation.per_query.values().map(metric).collect();
    let recalls = judged(qrels).map(|(id, judgements)| recall(judgements, &run.run, id, run.top_k));
    [of(|m| m.ndcg_at_10), of(|m| m.mrr_at_10), of(|m| m.p_at_1), recalls.collect()]
}

/// The queries that count, as [`evaluate`] has them.
fn judged(qrels: &Qrels) -> impl Iterator<Item = (&str, &Judgements)> {
    qrels.iter().filter(|(_, judgements)| judgements.values().any(|&score| score > 0))
}

fn recall(judgements: &Judgements, run: &Run, query: &str, depth: u32) -> f64 {
    let relevant = |document: &str| judgements.get(document).is_some_and(|&score| score > 0);
    let all = judgements.values().filter(|&&score| score > 0).count();
    let found = run.ranking(query).iter().take(depth as usize);
    found.filter(|hit| relevant(&hit.document)).count() as f64 / all.max(1) as f64
}

fn mean_recall(qrels: &Qrels, run: &Measured, depth: u32) -> f64 {
    let recalls: Vec<f64> =
        judged(qrels).map(|(id, judgements)| recall(judgements, &run.run, id, depth)).collect();
    recalls.iter().sum::<f64>() / recalls.len().max(1) as f64
}

/// The reranking whose losses are listed: of the last system that reranks, at the depth of 50 that
/// requests have by default, or the last there is.
fn reranking(runs: &[Measured]) -> Option<usize> {
    let last = runs.iter().rposition(|run| run.reranks)?;
    let same = |run: &Measured| run.system == runs[last].system && run.top_k == 50;
    Some(runs.iter().position(same).unwrap_or(last))
}

fn losses(
    qrels: &Qrels,
    queries: &[Query],
    [before, after]: [&Run; 2],
    change: impl Fn(&str) -> (f64, f64),
) -> Vec<Loss> {
    let texts: BTreeMap<&str, &str> =
        queries.iter().map(|query| (query.id.as_str(), query.text.as_str())).collect();
    let first = |run: &Run, id: &str| {
        run.ranking(id).first().map_or_else(String::new, |hit| hit.document.clone())
    };
    let loss = |(id, judgements): (&str, &Judgements)| {
        let rank = |run: &Run| {
            let relevant = |d: &str| judgements.get(d).is_some_and(|&score| score > 0);
            run.ranking(id).iter().position(|hit| relevant(&hit.document)).map(|at| at + 1)
        };
        let (ndcg_before, ndcg_after) = change(id);
        Loss {
            id: id.to_owned(),
            text: texts.get(id).copied().unwrap_or_default().to_owned(),
            before: ndcg_before,
            after: ndcg_after,
            first_before: first(before, id),
            first_after: first(after, id),
            rank_before: rank(before),
            rank_after: rank(after),
        }
    };
    let mut losses: Vec<Loss> = judged(qrels).map(loss).filter(|l| l.after < l.before).collect();
    losses.sort_by(|a, b| (a.after - a.before).total_cmp(&(b.after - b.before)));
    losses.truncate(LOSSES);
    losses
}
