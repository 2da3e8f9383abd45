//! The command: what it prints, where, and with which status it ends.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{run, trine, trine_with_model};
use crate::fixture::{bundle, corpus, model};

const QUESTION: &str = "How long may a hand tool be kept?";
const OFF_TOPIC: &str = "Which enzyme unwinds the double helix of DNA?";

fn fields(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .keys()
        .map(String::as_str)
        .collect()
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn ask_prints_an_answer_with_its_citations() {
    let Some(bundle) = bundle() else { return };
    let asked = run(trine_with_model(&[&"ask", &bundle, &QUESTION]));
    assert_eq!(asked.code, 0, "{asked:?}");
    assert!(asked.out.contains("fourteen days"), "{asked:?}");
    let line = asked.out.lines().find(|line| line.starts_with("[1] borrowing.md, bytes "));
    let (start, end) = line.unwrap().rsplit_once(' ').unwrap().1.split_once("..").unwrap();
    let file = fs::read(corpus().join("borrowing.md")).unwrap();
    let quote = &file[start.parse().unwrap()..end.parse().unwrap()];
    assert!(asked.out.contains(std::str::from_utf8(quote).unwrap()), "{asked:?}");
    assert!(asked.err.contains("retrieved in") && asked.err.contains("reranked in"), "{asked:?}");
}

#[test]
fn ask_ends_with_3_when_it_abstains() {
    let Some(bundle) = bundle() else { return };
    let asked = run(trine_with_model(&[&"ask", &bundle, &OFF_TOPIC]));
    assert_eq!(asked.code, 3, "{asked:?}");
    assert_eq!(asked.out.lines().next(), Some("Not found in these documents."), "{asked:?}");
    let forced = run(trine_with_model(&[&"ask", &bundle, &OFF_TOPIC, &"--threshold", &"0"]));
    assert_eq!(forced.code, 0, "{forced:?}");
    let strict =
        run(trine_with_model(&[&"ask", &bundle, &QUESTION, &"--threshold", &"1", &"--json"]));
    assert_eq!((strict.code, &strict.json()["abstained"]), (3, &json!(true)));
}

#[test]
fn ask_ends_with_1_on_what_the_application_refuses() {
    let Some(bundle) = bundle() else { return };
    let ask = |more: &[&'static str]| {
        let mut command = trine_with_model(&[&"ask", &bundle]);
        command.args(more);
        run(command)
    };
    ask(&[""]).failed(1, &["empty"]);
    ask(&["a", "--top-k", "0"]).failed(1, &["top_k is 0", "1 to 200"]);
    ask(&["a", "--top-n", "201"]).failed(1, &["top_n is 201", "1 to 200"]);
    ask(&["a", "--max-sentences", "0"]).failed(1, &["max_sentences", "1 to 20"]);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let wrong: [&[&str]; 17] = [
        &[],
        &["ask"],
        &["ask", "a.trine", "question", "--colour", "red"],
        &["ask", "a.trine", "question", "--top-k", "many"],
        &["ask", "a.trine", "question", "--threshold", "1.5"],
        &["ask", "a.trine", "question", "--threshold", "NaN"],
        &["search", "a.trine"],
        &["search", "a.trine", "query", "--mode", "bm25"],
        &["search", "a.trine", "query", "--filter", "[]"],
        &["ask", "a.trine", "question", "--context", "page"],
        &["ask", "a.trine", "question", "--fusion", "reciprocal-rank:0"],
        &["serve", "a.trine", "--listen", "nowhere"],
        &["serve", "a.trine", "--concurrency", "0"],
        &["index", "docs"],
        &["index", "docs", "-o", "a.trine", "--language", "klingon"],
        &["eval", "folder", "--stage", "guess"],
        &["--model", "name", "models", "list"],
    ];
    for arguments in wrong {
        let mut command = trine(&[]);
        command.args(arguments);
        let ended = run(command);
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.out.is_empty() && ended.err.contains("--help"), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn ask_in_json_has_the_documented_fields() {
    let Some(bundle) = bundle() else { return };
    let asked = run(trine_with_model(&[&"ask", &bundle, &QUESTION, &"--json", &"--top-n", &"3"]));
    assert_eq!(asked.code, 0, "{asked:?}");
    let answer = asked.json();
    let expected = [
        "abstained",
        "answer",
        "citations",
        "evidence",
        "finish_reason",
        "models",
        "passages",
        "query",
        "short_answer",
        "threshold",
        "timings_ms",
        "warnings",
    ];
    assert_eq!(fields(&answer), BTreeSet::from(expected));
    for (at, citation) in answer["citations"].as_array().unwrap().iter().enumerate() {
        let mut expected = BTreeSet::from(["source", "start", "end", "quote", "passage"]);
        // The words that were read are the first one's.
        expected.extend((at == 0).then_some("answer"));
        assert_eq!(fields(citation), expected);
    }
    let passages = answer["passages"].as_array().unwrap();
    assert_eq!(passages.len(), 3);
    for passage in passages {
        let expected = [
            "dense_score",
            "end",
            "fused_score",
            "headings",
            "id",
            "lexical_score",
            "media_type",
            "retrieval_score",
            "score",
            "source",
            "start",
            "text",
            "title",
        ];
        assert_eq!(fields(passage), BTreeSet::from(expected));
        assert!(passage["score"].is_f64() && passage["retrieval_score"].is_f64());
    }
    let times = ["retrieve", "rerank", "generate", "total"];
    assert_eq!(fields(&answer["timings_ms"]), BTreeSet::from(times));
    assert_eq!(fields(&answer["models"]), BTreeSet::from(["generator", "reranker", "scoring"]));
}

#[test]
fn files_that_cannot_be_read_are_skipped_and_named() {
    let Some(_) = model() else { return };
    let documents = folder(&[
        ("good.md", b"# Bees\n\nThe hive stands behind the orchard."),
        ("latin.txt", b"The caf\xe9 opens at nine."),
        ("binary.txt", b"\0\x01\x02\0\0"),
        ("empty.md", b""),
        ("picture.png", b"\x89PNG"),
        ("folder.md/inner.md", b"The ladder leans against the barn."),
        ("broken.pdf", b"%PDF-1.4 and no more"),
    ]);
    std::os::unix::fs::symlink("nowhere.md", documents.path().join("broken.md")).unwrap();
    let output = tempfile::tempdir().unwrap();
    let bundle = output.path().join("some.trine");
    let indexed = run(trine_with_model(&[&"index", &documents.path(), &"-o", &bundle]));
    assert_eq!(indexed.code, 0, "{indexed:?}");
    for name in ["binary.txt", "empty.md", "broken.pdf", "broken.md"] {
        let skipped = indexed.err.lines().any(|l| l.starts_with(&format!("skipped {name}: ")));
        assert!(skipped, "{name} is not named in: {}", indexed.err);
    }
    assert!(indexed.err.contains("warning: ") && indexed.err.contains("latin.txt"), "{indexed:?}");
    assert!(indexed.err.contains("not read: 1 files png"), "{indexed:?}");
    assert!(indexed.out.contains("3 documents"), "{indexed:?}");
    let asked = run(trine_with_model(&[&"ask", &bundle, &"Where does the ladder lean?"]));
    assert!(asked.code == 0 && asked.out.contains("folder.md/inner.md"), "{asked:?}");
}

#[test]
fn nothing_to_index_is_an_error_that_leaves_no_file() {
    let Some(_) = model() else { return };
    let output = tempfile::tempdir().unwrap();
    let bundle = output.path().join("none.trine");
    let index = |path: &Path| run(trine_with_model(&[&"index", &path, &"-o", &bundle]));
    let empty = tempfile::tempdir().unwrap();
    index(empty.path()).failed(1, &["no documents", ".md"]);
    index(&empty.path().join("missing")).failed(1, &["missing", "exist"]);
    let blank = folder(&[("a.md", b""), ("b.txt", b" \n")]);
    index(blank.path()).failed(1, &["a.md"]);
    assert!(is_empty(output.path()));

    let nowhere = output.path().join("no/such/folder/b.trine");
    run(trine_with_model(&[&"index", &corpus(), &"-o", &nowhere])).failed(1, &["no/such/folder"]);
}

#[test]
fn a_failed_index_leaves_the_old_bundle() {
    let Some(bundle) = bundle() else { return };
    let output = tempfile::tempdir().unwrap();
    let copy = output.path().join("old.trine");
    fs::copy(bundle, &copy).unwrap();
    let empty = tempfile::tempdir().unwrap();
    run(trine_with_model(&[&"index", &empty.path(), &"-o", &copy])).failed(1, &["no documents"]);
    assert_eq!(fs::read(&copy).unwrap(), fs::read(bundle).unwrap());
    assert_eq!(fs::read_dir(output.path()).unwrap().count(), 1);
}

#[test]
fn inspect_shows_what_a_bundle_holds() {
    let Some(bundle) = bundle() else { return };
    let shown = run(trine(&[&"inspect", &bundle]));
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.out.contains("every digest matches") && shown.out.contains("documents   6"),
        "{shown:?}"
    );
    let json = run(trine(&[&"inspect", &bundle, &"--json"])).json();
    let expected = [
        "about",
        "dead_bytes",
        "delta_passages",
        "digest",
        "generation",
        "removed_passages",
        "sections",
    ];
    assert_eq!(fields(&json), BTreeSet::from(expected));
    let names: Vec<&str> =
        json["sections"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    for name in ["bundle.json", "spin.toml", "component/gateway.wasm", "component/retriever.wasm"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

/// What is extracted is an application that `--app` takes, its components filled already.
#[test]
fn what_inspect_extracts_can_be_indexed_again() {
    let Some(bundle) = bundle() else { return };
    let output = tempfile::tempdir().unwrap();
    let app = output.path().join("app");
    let extracted = run(trine(&[&"inspect", &bundle, &"--extract", &app]));
    assert_eq!(extracted.code, 0, "{extracted:?}");
    let text = fs::read_to_string(app.join("spin.toml")).unwrap();
    let manifest = trine_runtime::manifest::Manifest::parse(&text).unwrap();
    for file in manifest.files() {
        assert!(app.join(file).is_file(), "{file} was not extracted");
        assert!(extracted.out.contains(file), "{extracted:?}");
    }
    let again = output.path().join("again.trine");
    let manifest = app.join("spin.toml");
    let indexed = run(trine_with_model(&[&"index", &corpus(), &"-o", &again, &"--app", &manifest]));
    assert_eq!(indexed.code, 0, "{indexed:?}");
    let asked = run(trine_with_model(&[&"ask", &again, &QUESTION]));
    assert!(asked.code == 0 && asked.out.contains("fourteen days"), "{asked:?}");
}

#[test]
fn eval_measures_a_collection() {
    let Some(_) = model() else { return };
    let corpus = r#"{"_id": "bees", "title": "", "text": "Bees make honey from the nectar of flowers."}
{"_id": "rails", "title": "", "text": "The night train to Vienna leaves from platform nine."}
{"_id": "bread", "title": "", "text": "Sourdough bread rises for twelve hours."}
"#;
    let queries = r#"{"_id": "q1", "text": "Where does the train to Vienna leave?"}
{"_id": "q2", "text": "How long does bread rise?"}
{"_id": "unjudged", "text": "Who asks?"}
"#;
    let qrels = "query-id\tcorpus-id\tscore\nq1\trails\t1\nq2\tbread\t1\n";
    let collection = folder(&[
        ("corpus.jsonl", corpus.as_bytes()),
        ("queries.jsonl", queries.as_bytes()),
        ("qrels/test.tsv", qrels.as_bytes()),
    ]);
    let ranking = collection.path().join("run.trec");
    for (stage, mode) in [("dense", "dense"), ("rerank", "hybrid")] {
        let measured = run(trine_with_model(&[
            &"eval",
            &collection.path(),
            &"--stage",
            &stage,
            &"--json",
            &"--run",
            &ranking,
        ]));
        assert_eq!(measured.code, 0, "{measured:?}");
        let report = measured.json();
        assert_eq!((&report["stage"], &report["queries"]), (&json!(stage), &json!(2)), "{report}");
        assert_eq!(report["mode"], mode, "{report}");
        let ndcg = report.as_object().unwrap().iter().find(|(name, _)| name.contains("ndcg"));
        assert_eq!(ndcg.unwrap().1, 1.0, "{report}");
        let lines = fs::read_to_string(&ranking).unwrap();
        assert!(lines.starts_with("q1 Q0 rails 1 "), "{lines}");
        assert_eq!(lines.lines().count(), 6, "{lines}");
    }
    let eval = |more: &[&dyn AsRef<OsStr>]| {
        let mut command = trine_with_model(&[&"eval", &collection.path()]);
        command.args(more.iter().map(AsRef::as_ref));
        run(command)
    };
    let table = eval(&[&"--stage", &"dense,bm25,retrieve", &"--fusion", &"reciprocal-rank:10"]);
    let lines: Vec<&str> = table.out.lines().collect();
    assert_eq!((table.code, lines.len()), (0, 4), "{table:?}");
    assert!(lines[0].contains("ndcg@10") && lines[2].starts_with("lexical   lexical"), "{table:?}");
    assert!(lines[3].starts_with("retrieve  hybrid"), "{table:?}");
    eval(&[&"--stage", &"dense", &"--mode", &"lexical"]).failed(1, &["exclude each other"]);
    eval(&[&"--stage", &"dense,hybrid", &"--run", &ranking]).failed(1, &["one --stage"]);
    run(trine_with_model(&[&"eval", &collection.path().join("qrels")]))
        .failed(1, &["corpus.jsonl"]);
}

/// Listing devices works with and without any, says what `auto` takes, and keeps standard error
/// clean of what drivers have to say of missing desktops.
#[test]
fn devices_are_listed() {
    let mut command = trine(&[&"devices"]);
    command.env_remove("XDG_RUNTIME_DIR");
    let ended = run(command);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert!(ended.out.contains("instructions") && ended.out.contains("auto takes"), "{ended:?}");
    let devices = run(trine(&[&"devices", &"--json"])).json();
    assert_eq!(devices[0]["device"], "cpu");
    assert!(devices[0]["fast_precisions"].as_str().unwrap().starts_with("f32"), "{devices}");
    let gpus = trine_inference::gpu::Adapter::all().len();
    assert_eq!(devices.as_array().unwrap().len(), 1 + gpus);
}

#[test]
fn a_precision_is_one_of_those_there_are() {
    for precision in ["auto", "f32", "bf16", "int8"] {
        assert_eq!(run(trine(&[&"--precision", &precision, &"devices"])).code, 0, "{precision}");
    }
    let ended = run(trine(&[&"--precision", &"f16", &"devices"]));
    assert!(ended.code == 2 && ended.err.contains("auto, f32, bf16, int8"), "{ended:?}");
}

/// A GPU that is not there is an error that says what is.
#[test]
fn a_missing_gpu_is_no_silent_cpu() {
    let Some(bundle) = bundle() else { return };
    let asked: [&dyn AsRef<OsStr>; 5] = [&"--device", &"gpu:99", &"ask", &bundle, &QUESTION];
    run(trine_with_model(&asked)).failed(1, &["`gpu:99`: there is no such GPU; found: "]);
    let ended = run(trine(&[&"--device", &"tpu", &"devices"]));
    assert!(ended.code == 2 && ended.err.contains("gpu:N"), "{ended:?}");
}
