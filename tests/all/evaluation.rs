//! `trine eval`: answers, ablations and reports of a small collection.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, run, trine_with_model};
use crate::fixture::model;

const FILES: [(&str, &str); 5] = [
    (
        "corpus.jsonl",
        r#"{"_id": "bees", "title": "Bees", "text": "Bees make honey. A hive holds 50,000 bees."}
{"_id": "rails", "title": "", "text": "The night train to Vienna leaves from platform nine."}
{"_id": "bread", "title": "", "text": "Sourdough bread – naïve or not – rises for twelve hours. Salt it."}
"#,
    ),
    (
        "queries.jsonl",
        r#"{"_id": "q1", "text": "Where does the train to Vienna leave?"}
{"_id": "q2", "text": "How long does bread rise?"}
"#,
    ),
    ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\trails\t1\nq2\tbread\t1\n"),
    (
        "qa.jsonl",
        r#"{"_id": "q1", "question": "Where does the train to Vienna leave?", "passage_id": "rails", "answers": [{"text": "platform nine", "answer_start": 39}]}
{"_id": "q2", "question": "How long does bread rise?", "passage_id": "bread", "answers": [{"text": "Sourdough bread – naïve or not – rises for twelve hours.", "answer_start": 0}]}
"#,
    ),
    (
        "unanswerable.jsonl",
        r#"{"_id": "u1", "question": "Who invented the telephone?", "passage_id": "bees", "answers": []}
"#,
    ),
];

fn collection(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn eval(collection: &Path, more: &[&dyn AsRef<OsStr>]) -> Ended {
    let mut command = trine_with_model(&[&"eval", &collection]);
    command.args(more.iter().map(AsRef::as_ref));
    run(command)
}

#[test]
fn answers_are_measured_against_the_accepted_ones() {
    let Some(_) = model() else { return };
    let collection = collection(&FILES);
    // Whole sentences, whose words can be counted.
    let measured =
        eval(collection.path(), &[&"--stage", &"answer", &"--reader", &"none", &"--json"]);
    assert_eq!(measured.code, 0, "{measured:?}");
    let report = measured.json();
    // One answer is the very sentence, the other two words of nine that count.
    assert_eq!(
        (&report["em"], &report["answerable_auroc"]),
        (&50.0.into(), &1.0.into()),
        "{report}"
    );
    let f1 = report["f1"].as_f64().unwrap();
    assert!((f1 - (100.0 + 200.0 * 2.0 / (2.0 + 8.0)) / 2.0).abs() < 1e-9, "{report}");
    assert_eq!((&report["questions"], &report["unanswerable"]), (&2.into(), &1.into()));
    assert_eq!((&report["citations"], &report["citations_wrong"]), (&3.into(), &0.into()));
    assert_eq!((&report["context_recall"], &report["stage"]), (&1.0.into(), &"answer".into()));
    assert!(report["latency_ms"]["generate"]["p99"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["threshold"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn the_gold_passage_is_all_that_is_read() {
    let Some(_) = model() else { return };
    // Said to be answered by a document that does not.
    let mut files = FILES;
    let wrong = FILES[3].1.replace("\"passage_id\": \"rails\"", "\"passage_id\": \"bees\"");
    files[3].1 = &wrong;
    let collection = collection(&files);
    let json = collection.path().join("all.json");
    let arguments: [&dyn AsRef<OsStr>; 9] = [
        &"--stage",
        &"rerank,answer",
        &"--gold-passage",
        &"--reader",
        &"none",
        &"--threshold",
        &"1",
        &"--json",
        &json,
    ];
    let measured = eval(collection.path(), &arguments);
    assert_eq!(measured.code, 0, "{measured:?}");
    assert!(measured.out.contains("ndcg@10") && measured.out.contains("squad2_f1"), "{measured:?}");
    let study: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let answers = &study["answers"];
    assert_eq!((&answers["gold_passage"], &answers["context_recall"]), (&true.into(), &1.0.into()));
    assert_eq!((&answers["em"], &answers["coverage"]), (&50.0.into(), &0.0.into()), "{answers}");
    let mistakes = answers["mistakes"].as_array().unwrap();
    let of_bees = |m: &Value| {
        ["Bees make", "A hive"].iter().any(|s| m["answer"].as_str().unwrap().starts_with(s))
    };
    assert!(mistakes.len() == 2 && mistakes.iter().all(of_bees), "{answers}");
    assert_eq!(study["rankings"]["rows"][0]["system"], "rerank");
}

#[test]
fn an_ablation_compares_every_ranking() {
    let Some(_) = model() else { return };
    let collection = collection(&FILES);
    let (json, html) = (collection.path().join("all.json"), collection.path().join("all.html"));
    let arguments: [&dyn AsRef<OsStr>; 5] = [&"--ablate=1,3", &"--json", &json, &"--html", &html];
    let measured = eval(collection.path(), &arguments);
    assert_eq!(measured.code, 0, "{measured:?}");
    let study: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let rankings = &study["rankings"];
    let rows = rankings["rows"].as_array().unwrap();
    let named = |row: &Value| (row["system"].as_str().unwrap().to_owned(), row["top_k"].as_u64());
    let names: Vec<_> = rows.iter().map(named).collect();
    for system in ["dense", "lexical", "hybrid", "reranked"] {
        for top_k in [1, 3] {
            assert!(names.contains(&(system.to_owned(), Some(top_k))), "{names:?}");
        }
    }
    assert_eq!(measured.out.lines().count(), 2 + rows.len(), "{measured:?}");
    for row in rows {
        let versus = row["ndcg@10"].get("versus_baseline");
        assert_eq!(versus.is_none(), row["system"] == "hybrid", "{row}");
        assert_eq!(row["recall@k"]["values"].as_array().unwrap().len(), 2, "{row}");
        assert!(row["latency_ms"]["total"]["p50"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert!(study["settings"]["embedder"].as_str().unwrap().contains("sha256:"), "{study}");
    let html = fs::read_to_string(&html).unwrap();
    assert!(html.contains("<svg") && html.contains("reranked") && html.contains("sha256:"));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let Some(_) = model() else { return };
    let collection = collection(&FILES[..3]);
    let folder = collection.path();
    eval(folder, &[&"--gold-passage"]).failed(1, &["--stage answer"]);
    eval(folder, &[&"--stage", &"answer", &"--run", &"x"]).failed(1, &["a ranking"]);
    eval(folder, &[&"--stage", &"answer"]).failed(1, &["qa.jsonl"]);
    eval(folder, &[&"--ablate", &"--top-k", &"5"]).failed(2, &["--top-k"]);
    eval(folder, &[&"--ablate=0"]).failed(2, &["1..=200"]);
    eval(folder, &[&"--threshold", &"2"]).failed(2, &["0 to 1"]);
}
