//! Answers measured as SQuAD's script measures them (see `golden/make_squad.py`), and the figures
//! made of many.

use std::path::Path;

use serde::Deserialize;
use trine_eval::{
    Answering, Latency, Likeness, Outcome, auroc, likeness, normalized, operating_points,
};

#[derive(Deserialize)]
struct Case {
    answer: String,
    accepted: Vec<String>,
    normalized: String,
    exact: f64,
    f1: f64,
}

#[test]
fn likeness_is_that_of_the_official_script() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/squad.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut exact, mut partial) = (0, 0);
    for case in &cases {
        assert_eq!(normalized(&case.answer), case.normalized, "{:?}", case.answer);
        let found = likeness(&case.answer, case.accepted.iter().map(String::as_str));
        let what = format!("{:?} for {:?}", case.answer, case.accepted);
        assert_eq!(found.exact, case.exact, "{what}");
        assert!((found.f1 - case.f1).abs() < 1e-12, "{found:?}, not {}: {what}", case.f1);
        exact += usize::from(found.exact == 1.0);
        partial += usize::from(found.f1 > 0.0 && found.f1 < 1.0);
    }
    assert!(exact > 50 && partial > 30, "{exact} exact and {partial} partial cases");
}

fn outcome(answerable: bool, likeness: Option<(f64, f64)>, evidence: f64) -> Outcome {
    let likeness = likeness.map(|(exact, f1)| Likeness { exact, f1 });
    Outcome { likeness, answerable, evidence, gold_read: evidence > 0.2 }
}

#[test]
fn abstaining_is_right_where_nothing_answers() {
    let outcomes = [
        outcome(true, Some((1.0, 1.0)), 0.9),
        outcome(true, Some((0.0, 0.5)), 0.5),
        outcome(true, Some((1.0, 1.0)), 0.1),
        outcome(false, None, 0.6),
        outcome(false, None, 0.3),
        outcome(false, None, f64::NEG_INFINITY),
    ];
    let found = Answering::of(&outcomes, 0.5);
    assert_eq!((found.questions, found.unanswerable), (3, 3));
    // Of the answerable ones, as if nothing abstained.
    assert!((found.em.unwrap() - 200.0 / 3.0).abs() < 1e-9);
    assert!((found.f1.unwrap() - 250.0 / 3.0).abs() < 1e-9);
    let interval = found.f1_interval.unwrap();
    assert!(interval.low <= found.f1.unwrap() && found.f1.unwrap() <= interval.high);
    // 1 and 0 answered, 0.5 in F1; one not; one fooled, two not.
    assert!((found.squad2_em.unwrap() - 300.0 / 6.0).abs() < 1e-9);
    assert!((found.squad2_f1.unwrap() - 350.0 / 6.0).abs() < 1e-9);
    assert!((found.precision_at_threshold.unwrap() - 2.0 / 3.0).abs() < 1e-9);
    assert!((found.coverage - 0.5).abs() < 1e-9 && found.answerable_coverage > 0.66);
    assert!((found.context_recall - 2.0 / 3.0).abs() < 1e-9);
    // 3 + 2 + 1 of 9 pairs.
    assert!((found.answerable_auroc.unwrap() - 6.0 / 9.0).abs() < 1e-9);
}

#[test]
fn thresholds_are_those_of_the_outcomes() {
    let answered = |at: u32| outcome(true, Some((1.0, 1.0)), f64::from(at) / 20.0);
    let refused = |at: u32| outcome(false, None, f64::from(at) / 20.0);
    // The weakest half is unanswerable, but for one that was abstained from at any threshold.
    let mut outcomes: Vec<Outcome> = (0..10).map(refused).chain((10..20).map(answered)).collect();
    outcomes[0].evidence = f64::NEG_INFINITY;
    let points = operating_points(&outcomes);
    assert_eq!(points.len(), 9, "the lowest is no threshold");
    let best = points.iter().find(|point| point.threshold == 0.5).unwrap();
    let whole = (best.answerable_coverage, best.unanswerable_refused, best.squad2_f1);
    assert_eq!(whole, (1.0, 1.0, 100.0));
    let last = points.last().unwrap();
    assert!((last.answerable_coverage - 0.2).abs() < 1e-9 && last.squad2_f1 < 61.0, "{last:?}");
    assert_eq!(operating_points(&outcomes[..10]), []);
    assert_eq!(operating_points(&vec![outcomes[15].clone(); 3]), []);
}

#[test]
fn what_cannot_be_measured_is_left_out() {
    let found = Answering::of(&[outcome(true, None, 0.1)], 0.5);
    assert_eq!((found.em, found.f1, found.squad2_f1), (None, None, None));
    assert_eq!((found.answerable_auroc, found.precision_at_threshold), (None, None));
    let json = serde_json::to_value(&found).unwrap();
    assert!(json.get("em").is_none() && json["questions"] == 1, "{json}");
    assert_eq!(Answering::of(&[], 0.5).coverage, 0.0);
}

#[test]
fn the_area_under_the_curve_counts_ties_half() {
    assert_eq!(auroc([2.0, 3.0], [0.0, 1.0]), Some(1.0));
    assert_eq!(auroc([0.0], [1.0, 2.0]), Some(0.0));
    assert_eq!(auroc([1.0, 1.0], [1.0]), Some(0.5));
    assert_eq!(auroc([0.0, 2.0], [1.0, 2.0, -0.0]), Some(3.0 / 6.0));
    assert_eq!(auroc([], [1.0]), None);
    // A comparison of all pairs says the same.
    let values = |n: u32, step: u32| (0..n).map(|i| f64::from(i * step % 13)).collect::<Vec<_>>();
    let (above, below) = (values(40, 7), values(31, 5));
    let pairs = above.iter().flat_map(|a| below.iter().map(move |b| (a, b)));
    let wins: f64 =
        pairs.map(|(a, b)| if a > b { 1.0 } else { 0.5 * f64::from(u8::from(a == b)) }).sum();
    assert_eq!(auroc(above, below), Some(wins / (40.0 * 31.0)));
}

#[test]
fn percentiles_are_times_that_were_measured() {
    let found = Latency::of((1..=200).rev().map(f64::from)).unwrap();
    assert_eq!((found.p50, found.p90, found.p99), (100.0, 180.0, 198.0));
    assert_eq!(Latency::of([]), None);
    let one = Latency::of([7.0]).unwrap();
    assert_eq!((one.p50, one.p99), (7.0, 7.0));
}
