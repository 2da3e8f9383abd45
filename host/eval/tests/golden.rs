//! The metrics agree with pytrec_eval (see `golden/make_golden.py`) on rankings with ties, scores
//! equal in 32 bits, graded, zero and negative judgements, and missing queries.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use trine_eval::{Metrics, Qrels, Run, evaluate};

const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    per_query: BTreeMap<String, Metrics>,
    mean: Metrics,
}

fn golden(file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(file)
}

fn expected() -> Golden {
    let text = std::fs::read_to_string(golden("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The metrics by name, through their JSON form: the names are part of the contract.
fn values(metrics: &Metrics) -> BTreeMap<String, f64> {
    serde_json::from_value(serde_json::to_value(metrics).unwrap()).unwrap()
}

fn assert_close(found: &Metrics, expected: &Metrics, what: &str) {
    let (found, expected) = (values(found), values(expected));
    assert_eq!(found.len(), 9);
    for (name, value) in expected {
        let difference = (found[&name] - value).abs();
        assert!(difference <= TOLERANCE, "{what}, {name}: {} against {value}", found[&name]);
    }
}

#[test]
fn every_query_and_the_means_agree_with_pytrec_eval() {
    let run = Run::read(&golden("run.trec")).unwrap();
    let qrels = Qrels::read(&golden("qrels.tsv")).unwrap();
    let expected = expected();
    let found = evaluate(&qrels, &run).unwrap();

    assert!(expected.per_query.len() >= 30, "the golden file has shrunk");
    assert!(found.per_query.keys().eq(expected.per_query.keys()));
    for (query, metrics) in &expected.per_query {
        assert_close(&found.per_query[query], metrics, query);
    }
    assert_close(&found.mean, &expected.mean, "mean");
}

#[test]
fn the_golden_file_has_the_cases_it_is_for() {
    let run = Run::read(&golden("run.trec")).unwrap();
    let qrels = Qrels::read(&golden("qrels.tsv")).unwrap();
    let grades: Vec<i32> = qrels.iter().flat_map(|(_, j)| j.values().copied()).collect();
    assert!(grades.iter().any(|&g| g < 0) && grades.contains(&0) && grades.contains(&3));
    assert!(qrels.iter().any(|(q, _)| run.ranking(q).is_empty()));
    assert!(qrels.iter().any(|(_, j)| j.values().all(|&g| g <= 0)));
    let ties = |query: &str| {
        let hits = run.ranking(query);
        hits.windows(2).filter(|pair| pair[0].score == pair[1].score).count()
    };
    assert!(qrels.iter().map(|(q, _)| ties(q)).sum::<usize>() > 100);
    assert!(qrels.iter().any(|(q, _)| run.ranking(q).len() > 100));
}

#[test]
fn a_run_written_from_ranks_reads_back_in_the_same_order() {
    let read = Run::read(&golden("run.trec")).unwrap();
    let qrels = Qrels::read(&golden("qrels.tsv")).unwrap();
    // Reversed, the scores rise: the written scores must carry the order all by themselves.
    let mut reversed = Run::default();
    for (query, _) in qrels.iter() {
        let hits = read.ranking(query).iter().rev();
        reversed.insert(query, hits.map(|h| (h.document.clone(), h.score))).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reversed.trec");
    reversed.write(&path, "test").unwrap();
    let back = Run::read(&path).unwrap();

    let order = |run: &Run, query: &str| -> Vec<String> {
        run.ranking(query).iter().map(|h| h.document.clone()).collect()
    };
    for (query, _) in qrels.iter() {
        assert_eq!(order(&back, query), order(&reversed, query), "{query}");
    }
    assert_eq!(evaluate(&qrels, &back).unwrap(), evaluate(&qrels, &reversed).unwrap());
    assert_ne!(evaluate(&qrels, &back).unwrap().mean, evaluate(&qrels, &read).unwrap().mean);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "a temporary file was left: {left:?}");
}
