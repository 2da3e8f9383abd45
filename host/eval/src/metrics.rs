//! The metrics of a ranking, defined as trec_eval defines them (<https://github.com/usnistgov/trec_eval>)
//! and tested against pytrec_eval.
//!
//! Which queries count: those of the qrels with at least one relevant document. A query of theirs
//! that the run lacks, or for which it found nothing, counts 0 in every metric; a query of the run
//! that has no relevant document, or no judgement, is left out. (This is `trec_eval -c` on qrels
//! whose every query has a relevant document. Without `-c` it averages over the queries that both
//! files name, which forgives a system the queries it found nothing for.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Judgements, Qrels, Result, Run};

/// The metrics of one ranking, or their means over queries; each in `0.0..=1.0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Normalised discounted cumulative gain of the first ten: linear gain,
    /// `sum of score / log2(rank + 1)` over that of the ideal order of the qrels. trec_eval's
    /// `ndcg_cut_10`.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// 1 / the rank of the first relevant document, 0 beyond rank 10. trec_eval's `recip_rank`, cut.
    #[serde(rename = "mrr@10")]
    pub mrr_at_10: f64,
    /// The share of the relevant documents among the first five. trec_eval's `recall_5`.
    #[serde(rename = "recall@5")]
    pub recall_at_5: f64,
    /// The same among the first ten.
    #[serde(rename = "recall@10")]
    pub recall_at_10: f64,
    /// The same among the first fifty.
    #[serde(rename = "recall@50")]
    pub recall_at_50: f64,
    /// The same among the first hundred.
    #[serde(rename = "recall@100")]
    pub recall_at_100: f64,
    /// 1 where one of the first five is relevant, else 0. trec_eval's `success_5`.
    #[serde(rename = "hit@5")]
    pub hit_at_5: f64,
    /// 1 where the first document is relevant, else 0. trec_eval's `P_1`.
    #[serde(rename = "p@1")]
    pub p_at_1: f64,
    /// Average precision over the whole ranking: the mean, over all relevant documents, of the
    /// precision at each one's rank (0 for one that was not found). trec_eval's `map`.
    pub map: f64,
}

/// A run measured by qrels.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The means over the queries that count.
    pub mean: Metrics,
    /// The metrics of each query that counts, by its id.
    pub per_query: BTreeMap<String, Metrics>,
}

/// Measures `run` by `qrels`; the module's opening says which queries count.
///
/// # Errors
/// [`Error::NothingRelevant`] if none does.
pub fn evaluate(qrels: &Qrels, run: &Run) -> Result<Evaluation> {
    let per_query: BTreeMap<String, Metrics> = qrels
        .iter()
        .filter(|(_, judgements)| judgements.values().any(|&score| score > 0))
        .map(|(query, judgements)| {
            let ranking = run.ranking(query).iter().map(|hit| hit.document.as_str());
            (query.to_owned(), measure(judgements, ranking))
        })
        .collect();
    if per_query.is_empty() {
        return Err(Error::NothingRelevant);
    }
    let mean = mean(per_query.values());
    Ok(Evaluation { mean, per_query })
}

/// Measures one ranking, best document first, each document once. All 0 where nothing is relevant.
pub fn measure<'a>(judgements: &Judgements, ranking: impl IntoIterator<Item = &'a str>) -> Metrics {
    let relevant = judgements.values().filter(|&&score| score > 0).count() as f64;
    if relevant == 0.0 {
        return Metrics::default();
    }
    let mut metrics = Metrics::default();
    let (mut gain, mut found) = (0.0, 0.0);
    for (rank, document) in (1_u32..).zip(ranking) {
        let score = judgements.get(document).copied().unwrap_or(0);
        if score <= 0 {
            continue;
        }
        found += 1.0;
        metrics.map += found / f64::from(rank);
        if rank == 1 {
            metrics.p_at_1 = 1.0;
        }
        if rank <= 5 {
            metrics.hit_at_5 = 1.0;
        }
        if rank <= 10 {
            gain += discounted(score, rank);
            metrics.mrr_at_10 = metrics.mrr_at_10.max(1.0 / f64::from(rank));
        }
        for (depth, recall) in metrics.recalls() {
            if rank <= depth {
                *recall = found / relevant;
            }
        }
    }
    metrics.map /= relevant;
    metrics.ndcg_at_10 = gain / ideal_gain(judgements);
    metrics
}

impl Metrics {
    fn recalls(&mut self) -> [(u32, &mut f64); 4] {
        [
            (5, &mut self.recall_at_5),
            (10, &mut self.recall_at_10),
            (50, &mut self.recall_at_50),
            (100, &mut self.recall_at_100),
        ]
    }

    fn fields(&mut self) -> [&mut f64; 9] {
        [
            &mut self.ndcg_at_10,
            &mut self.mrr_at_10,
            &mut self.recall_at_5,
            &mut self.recall_at_10,
            &mut self.recall_at_50,
            &mut self.recall_at_100,
            &mut self.hit_at_5,
            &mut self.p_at_1,
            &mut self.map,
        ]
    }
}

fn discounted(score: i32, rank: u32) -> f64 {
    f64::from(score) / f64::from(rank + 1).log2()
}

/// The gain of the best ten documents in the best order.
fn ideal_gain(judgements: &Judgements) -> f64 {
    let mut scores: Vec<i32> = judgements.values().copied().filter(|&s| s > 0).collect();
    scores.sort_unstable_by(|a, b| b.cmp(a));
    (1..=10).zip(scores).map(|(rank, score)| discounted(score, rank)).sum()
}

fn mean<'a>(all: impl ExactSizeIterator<Item = &'a Metrics>) -> Metrics {
    let count = all.len() as f64;
    let mut mean = Metrics::default();
    for metrics in all {
        let mut metrics = *metrics;
        for (sum, value) in mean.fields().into_iter().zip(metrics.fields()) {
            *sum += *value;
        }
    }
    for sum in mean.fields() {
        *sum /= count;
    }
    mean
}
