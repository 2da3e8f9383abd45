//! Reading collections and runs: the real ones where they are at hand, and every malformed line.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};
use trine_eval::{Collection, Error, Metrics, Qrels, Report, Run, evaluate, measure};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Third-party collections, which are not in the repository.
fn shared(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3)?;
    let root = std::env::var_os("TRINE_SHARED").map_or(beside.join("shared"), PathBuf::from);
    let path = root.join("data").join(path);
    if !path.is_dir() {
        println!("skipped: no {}; set TRINE_SHARED", path.display());
        return None;
    }
    Some(path)
}

fn line_error<T: std::fmt::Debug>(result: Result<T, Error>) -> (u64, String) {
    match result.unwrap_err() {
        Error::Line { line, reason, .. } => (line, reason),
        other => panic!("not a line's error: {other}"),
    }
}

#[test]
fn a_small_collection_is_read_whole() {
    let folder = folder(&[
        (
            "corpus.jsonl",
            "{\"_id\":\"a\",\"title\":\"T\",\"text\":\"x\",\"metadata\":{}}\n\n{\"_id\":\"b\"}",
        ),
        ("queries.jsonl", "{\"_id\":\"q\",\"text\":\"what?\"}\r\n"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\ta\t2\nq\tb\t-1\nq\ta\t2\n"),
    ]);
    let collection = Collection::open(folder.path()).unwrap();
    let documents: Vec<_> = collection.documents().unwrap().map(Result::unwrap).collect();
    assert_eq!(documents.len(), 2);
    assert_eq!((documents[0].title.as_str(), documents[1].text.as_str()), ("T", ""));
    assert_eq!(collection.queries().unwrap()[0].text, "what?");
    assert_eq!(collection.qrels().unwrap().get("q").unwrap()["b"], -1);
    assert_eq!(collection.questions().unwrap(), None);
}

#[test]
fn a_missing_file_is_named() {
    let empty = tempdir().unwrap();
    let message = Collection::open(empty.path()).unwrap_err().to_string();
    assert!(message.contains("holds no corpus.jsonl"), "{message}");
    let folder = folder(&[("corpus.jsonl", ""), ("queries.jsonl", "")]);
    let collection = Collection::open(folder.path()).unwrap();
    let message = collection.qrels().unwrap_err().to_string();
    assert!(message.contains("qrels/test.tsv"), "{message}");
}

#[test]
fn a_bad_line_is_named_and_ends_the_stream() {
    let folder = folder(&[
        ("corpus.jsonl", "{\"_id\":\"a\"}\n{\"_id\":7}\n{\"_id\":\"c\"}\n"),
        ("queries.jsonl", "{\"_id\":\"q\",\"text\":\"\"}\n{\"_id\":\"q\",\"text\":\"\"}\n"),
    ]);
    let collection = Collection::open(folder.path()).unwrap();
    let mut documents = collection.documents().unwrap();
    assert!(documents.next().unwrap().is_ok());
    assert_eq!(line_error(documents.next().unwrap()).0, 2);
    assert!(documents.next().is_none());
    let (line, reason) = line_error(collection.queries());
    assert!(line == 2 && reason.contains("second time"), "{line}: {reason}");
}

#[test]
fn bytes_that_are_no_text_or_no_gzip_are_errors() {
    let folder = folder(&[("queries.jsonl", "")]);
    fs::write(folder.path().join("corpus.jsonl"), b"{\"_id\":\"\xff\"}\n").unwrap();
    let collection = Collection::open(folder.path()).unwrap();
    let (line, reason) = line_error(collection.documents().unwrap().next().unwrap());
    assert!(line == 1 && reason.contains("UTF-8"), "{line}: {reason}");

    fs::remove_file(folder.path().join("corpus.jsonl")).unwrap();
    fs::write(folder.path().join("corpus.jsonl.gz"), b"not gzip at all").unwrap();
    let error = collection.documents().unwrap().next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn bad_qrels_are_refused_by_line() {
    let header = "query-id\tcorpus-id\tscore\n";
    let cases = [
        ("q\ta\t1\n".to_owned(), 1, "header"),
        (format!("{header}q a 1\n"), 2, "three tab-separated"),
        (format!("{header}q\ta\t1\t0\n"), 2, "three tab-separated"),
        (format!("{header}q\ta\t1\nq\ta\tyes\n"), 3, "not an integer"),
        (format!("{header}q\ta\t1\nq\ta\t0\n"), 3, "1 before"),
    ];
    for (text, line, part) in cases {
        let folder = folder(&[("qrels.tsv", &text)]);
        let found = line_error(Qrels::read(&folder.path().join("qrels.tsv")));
        assert!(found.0 == line && found.1.contains(part), "{text:?}: {found:?}");
    }
}

#[test]
fn bad_runs_are_refused() {
    for line in ["q Q0 d 1 0.5", "q Q0 d 1 nan t", "q Q0 d 1 1e39 t", "q Q0 d 1 x t"] {
        let folder = folder(&[("run.trec", line)]);
        let (number, reason) = line_error(Run::read(&folder.path().join("run.trec")));
        assert_eq!(number, 1, "{line}: {reason}");
    }
    let twice = folder(&[("run.trec", "q Q0 d 1 0.5 t\nq Q0 d 2 0.4 t\n")]);
    let message = Run::read(&twice.path().join("run.trec")).unwrap_err().to_string();
    assert!(message.contains("comes twice"), "{message}");

    let mut run = Run::default();
    assert!(run.insert("q", [("d".into(), f32::NAN)]).is_err());
    assert!(run.insert("q", [("d".into(), 1.0), ("d".into(), 0.5)]).is_err());
    assert!(run.is_empty());
    run.insert("q", [("two words".into(), 1.0)]).unwrap();
    let path = twice.path().join("new.trec");
    assert!(run.write(&path, "t").is_err() && !path.exists());
}

#[test]
fn nothing_relevant_is_an_error_and_nothing_found_is_zero() {
    let mut qrels = Qrels::default();
    qrels.insert("q", "d", 0).unwrap();
    assert!(matches!(evaluate(&qrels, &Run::default()), Err(Error::NothingRelevant)));
    qrels.insert("q", "e", 1).unwrap();
    let found = evaluate(&qrels, &Run::default()).unwrap();
    assert_eq!((found.per_query.len(), found.mean), (1, Metrics::default()));
}

/// Worked by hand: scores 3, 0, 1 at ranks 1, 2, 3 of the relevant 3, 1 and a 2 not found.
#[test]
fn one_ranking_measures_as_worked_out_by_hand() {
    let judgements = [("a", 3), ("b", 0), ("c", 1), ("d", 2)];
    let judgements = judgements.map(|(d, s)| (d.to_owned(), s)).into();
    let found = measure(&judgements, ["a", "b", "c"]);
    let ideal = 3.0 + 2.0 / 3_f64.log2() + 1.0 / 2.0;
    assert!((found.ndcg_at_10 - 3.5 / ideal).abs() < 1e-12);
    assert!((found.map - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    assert_eq!((found.mrr_at_10, found.p_at_1), (1.0, 1.0));
    assert!((found.recall_at_5 - 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn a_report_is_one_flat_object() {
    let report = Report::new(Metrics::default(), 3, 9).with("dataset", "toy").unwrap();
    let value: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    let names = [
        "ndcg@10",
        "mrr@10",
        "hit@5",
        "recall@5",
        "recall@10",
        "recall@50",
        "recall@100",
        "p@1",
        "map",
        "queries",
        "documents",
        "dataset",
    ];
    assert_eq!(value.as_object().unwrap().len(), names.len());
    assert!(names.iter().all(|name| value.get(name).is_some()), "{value}");
    assert!(!report.to_json().contains('\n'));
    assert!(report.with("ndcg@10", 1.0).is_err());
}

#[test]
fn the_real_collections_read_whole() {
    let Some(root) = shared("ir") else { return };
    // Documents, queries and judged queries.
    let counts = [("cranfield", 1400, 225, 225), ("cisi", 1460, 112, 76), ("cacm", 3204, 65, 52)];
    for (name, documents, queries, judged) in counts {
        let collection = Collection::open(root.join(name)).unwrap();
        assert_eq!(collection.name(), name);
        let found = collection.documents().unwrap().map(Result::unwrap).count();
        assert_eq!((found, collection.queries().unwrap().len()), (documents, queries), "{name}");
        let qrels = collection.qrels().unwrap();
        assert_eq!(qrels.len(), judged, "{name}");

        // The ideal run must reach 1 in every metric that can.
        let mut run = Run::default();
        for (query, judgements) in qrels.iter() {
            let mut ideal: Vec<_> = judgements.iter().filter(|(_, s)| **s > 0).collect();
            ideal.sort_by_key(|(_, score)| -**score);
            run.insert(query, ideal.iter().map(|(d, s)| ((*d).clone(), **s as f32))).unwrap();
        }
        let mean = evaluate(&qrels, &run).unwrap().mean;
        for value in [mean.ndcg_at_10, mean.mrr_at_10, mean.p_at_1, mean.map] {
            assert!((value - 1.0).abs() < 1e-9, "{name}: {mean:?}");
        }
    }
}

#[test]
fn every_real_answer_stands_where_it_is_said_to() {
    let Some(root) = shared("qa/squad_dev_visible") else {
        return;
    };
    let collection = Collection::open(root).unwrap();
    let texts: std::collections::HashMap<_, _> = collection
        .documents()
        .unwrap()
        .map(|document| document.map(|d| (d.id, d.text)).unwrap())
        .collect();
    let mut answers = 0;
    for question in collection.questions().unwrap().unwrap() {
        let passage = &texts[&question.passage_id];
        for answer in &question.answers {
            let range = answer.byte_range(passage);
            assert!(range.is_some(), "{}: {answer:?}", question.id);
            answers += 1;
        }
    }
    assert!(answers > 1000, "only {answers} answers");
}
