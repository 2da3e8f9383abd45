//! What the answers to a collection's questions are worth, and whether their evidence tells
//! questions with an answer from those without.

use serde::Serialize;

use crate::bootstrap::{Interval, Resamples};
use crate::squad::Likeness;

/// One question, answered without abstaining.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How like an accepted answer it is; `None` of a question that has none to compare with.
    pub likeness: Option<Likeness>,
    /// Whether the documents answer the question at all.
    pub answerable: bool,
    /// How strong its evidence is, greater is stronger. `-inf` where nothing was found.
    pub evidence: f64,
    /// Whether the passage that answers was among those read; of answerable questions.
    pub gold_read: bool,
}

/// The answers to a collection's questions, measured. Shares are 0 to 1; `em`, `f1` and their like
/// are percentages, as SQuAD's are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answering {
    /// Questions that the documents answer.
    pub questions: usize,
    /// Questions that they do not.
    pub unanswerable: usize,
    /// Exact match, over answerable questions that state an answer, when nothing abstains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub em: Option<f64>,
    /// Its 95 % interval over questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub em_interval: Option<Interval>,
    /// Likeness in words, over the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// Its 95 % interval over questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1_interval: Option<Interval>,
    /// How often an answerable question's evidence is stronger than an unanswerable one's, ties
    /// counting half: the area under the ROC curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answerable_auroc: Option<f64>,
    /// The evidence under which there is no answer.
    pub threshold: f64,
    /// The share of answerable questions among those whose evidence reaches the threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision_at_threshold: Option<f64>,
    /// The share of all questions whose evidence reaches it.
    pub coverage: f64,
    /// The share of answerable questions whose evidence reaches it.
    pub answerable_coverage: f64,
    /// Exact match as SQuAD 2.0 counts it: over all questions, at the threshold, where abstaining
    /// is right of an unanswerable question and wrong of another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squad2_em: Option<f64>,
    /// F1 likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squad2_f1: Option<f64>,
    /// The share of answerable questions whose gold passage was among those read.
    pub context_recall: f64,
    /// Quotes that answers were given with.
    pub citations: usize,
    /// Those of them that are not what the source has at their offsets.
    pub citations_wrong: usize,
}

impl Answering {
    /// Measures `outcomes` at a threshold. Quotes are the caller's to count.
    pub fn of(outcomes: &[Outcome], threshold: f64) -> Answering {
        let (with, without): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.answerable);
        let reaches = |o: &&&Outcome| o.evidence >= threshold;
        let (found, fooled) =
            (with.iter().filter(reaches).count(), without.iter().filter(reaches).count());
        let compared: Vec<Likeness> = with.iter().filter_map(|o| o.likeness).collect();
        let percent = |of: fn(&Likeness) -> f64| {
            let column = compared.iter().map(|likeness| 100.0 * of(likeness)).collect();
            (!compared.is_empty()).then(|| Resamples::of(&[column]))
        };
        let (exact, f1) = (percent(|l| l.exact), percent(|l| l.f1));
        let squad2 = |of| (!compared.is_empty()).then(|| 100.0 * squad2(outcomes, threshold, of));
        Answering {
            questions: with.len(),
            unanswerable: without.len(),
            em: exact.as_ref().map(|r| r.mean(0)),
            em_interval: exact.as_ref().map(|r| r.interval(0)),
            f1: f1.as_ref().map(|r| r.mean(0)),
            f1_interval: f1.as_ref().map(|r| r.interval(0)),
            answerable_auroc: auroc(
                with.iter().map(|o| o.evidence),
                without.iter().map(|o| o.evidence),
            ),
            threshold,
            precision_at_threshold: (found + fooled > 0).then(|| share(found, found + fooled)),
            coverage: share(found + fooled, outcomes.len()),
            answerable_coverage: share(found, with.len()),
            squad2_em: squad2(|l| l.exact),
            squad2_f1: squad2(|l| l.f1),
            context_recall: share(with.iter().filter(|o| o.gold_read).count(), with.len()),
            citations: 0,
            citations_wrong: 0,
        }
    }
}

/// What a threshold of evidence would give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OperatingPoint {
    /// The evidence under which there is no answer.
    pub threshold: f64,
    /// The share of answerable questions that are answered, rightly or not.
    pub answerable_coverage: f64,
    /// The share of unanswerable questions that are not.
    pub unanswerable_refused: f64,
    /// F1 as SQuAD 2.0 counts it, a percentage.
    pub squad2_f1: f64,
}

/// Thresholds among the evidence of `outcomes`, each under another tenth of them, the lowest first; none
/// where either kind of question is missing.
pub fn operating_points(outcomes: &[Outcome]) -> Vec<OperatingPoint> {
    let (with, without): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.answerable);
    if with.is_empty() || without.is_empty() {
        return vec![];
    }
    let mut evidence: Vec<f64> = outcomes.iter().map(|o| o.evidence).collect();
    evidence.sort_by(f64::total_cmp);
    let mut thresholds: Vec<f64> = (0..10).map(|n| evidence[n * evidence.len() / 10]).collect();
    thresholds.retain(|threshold| threshold.is_finite());
    thresholds.dedup();
    let point = |threshold| {
        let reach = |some: &[&Outcome]| some.iter().filter(|o| o.evidence >= threshold).count();
        OperatingPoint {
            threshold,
            answerable_coverage: share(reach(&with), with.len()),
            unanswerable_refused: 1.0 - share(reach(&without), without.len()),
            squad2_f1: 100.0 * squad2(outcomes, threshold, |l| l.f1),
        }
    };
    thresholds.into_iter().map(point).collect()
}

/// The mean over questions of a likeness where one is answered that should be, 0 where it is not, and 1
/// where one is not that should not be.
fn squad2(outcomes: &[Outcome], threshold: f64, of: fn(&Likeness) -> f64) -> f64 {
    let right = |o: &Outcome| match (o.answerable, o.evidence >= threshold) {
        (true, true) => o.likeness.as_ref().map(of),
        (true, false) => o.likeness.map(|_| 0.0),
        (false, reaches) => Some(f64::from(u8::from(!reaches))),
    };
    let scores: Vec<f64> = outcomes.iter().filter_map(right).collect();
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

/// How often one of `above` is greater than one of `below`, ties counting half (Mann and Whitney,
/// 1947). `None` where either is empty.
pub fn auroc(
    above: impl IntoIterator<Item = f64>,
    below: impl IntoIterator<Item = f64>,
) -> Option<f64> {
    let marked = |mark: bool| move |value: f64| (value, mark);
    let mut all: Vec<(f64, bool)> = above.into_iter().map(marked(true)).collect();
    let positives = all.len();
    all.extend(below.into_iter().map(marked(false)));
    let pairs = positives * (all.len() - positives);
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut lower, mut wins) = (0.0, 0.0);
    for ties in all.chunk_by(|a, b| a.0 == b.0) {
        let positive = ties.iter().filter(|(_, positive)| *positive).count() as f64;
        let negative = ties.len() as f64 - positive;
        wins += positive * (lower + negative / 2.0);
        lower += negative;
    }
    (pairs > 0).then(|| wins / pairs as f64)
}

/// 0 of nothing.
fn share(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}
