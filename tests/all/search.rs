//! Searching without an answer: what is found, by what, how it is shown, over HTTP and by command.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::command::{run, trine_with_model};
use crate::fixture::{Serving, bundle, corpus, server};

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no list `{name}` in {value}"))
}

fn offset(value: &Value, name: &str) -> usize {
    value[name].as_u64().unwrap_or_else(|| panic!("no `{name}` in {value}")) as usize
}

/// What `/v1/retrieve` finds.
fn candidates(server: &Serving, body: Value) -> Vec<Value> {
    list(&server.post("/v1/retrieve", &body).ok(), "candidates").to_vec()
}

fn sources(candidates: &[Value]) -> BTreeSet<&str> {
    candidates.iter().map(|c| c["source"].as_str().unwrap()).collect()
}

#[test]
fn a_mode_compares_by_what_it_says() {
    let Some(server) = server() else { return };
    let found = |mode: &str| candidates(server, json!({ "query": "lathe", "mode": mode }));
    let has = |c: &Value, name: &str| c.get(name).is_some();
    let lexical = found("lexical");
    assert_eq!(sources(&lexical), BTreeSet::from(["workshop.md"]));
    assert!(lexical.iter().all(|c| !has(c, "dense_score") && c["score"] == c["lexical_score"]));
    let dense = found("dense");
    assert!(dense.len() > lexical.len());
    assert!(dense.iter().all(|c| has(c, "dense_score") && c["score"] == c["retrieval_score"]));
    let hybrid = found("hybrid");
    assert!(hybrid.iter().all(|c| has(c, "dense_score") && has(c, "lexical_score")));
    let unsaid = candidates(server, json!({ "query": "lathe" }));
    assert_eq!(unsaid, hybrid);
    let ranks = json!({ "query": "lathe", "fusion": { "reciprocal_rank": 60 } });
    let best = candidates(server, ranks)[0]["score"].as_f64().unwrap();
    assert!((best - 2.0 / 61.0).abs() < 1e-3, "{best}");
}

#[test]
fn a_snippet_is_the_documents_bytes_with_the_words_marked() {
    let Some(server) = server() else { return };
    let body = json!({ "query": "deposit for a power tool", "snippet": 120, "top_k": 8 });
    let found = candidates(server, body);
    assert!(list(&found[0]["snippet"], "highlights").len() > 1, "{}", found[0]);
    for candidate in &found {
        let file = fs::read(corpus().join(candidate["source"].as_str().unwrap())).unwrap();
        let snippet = &candidate["snippet"];
        let text = snippet["text"].as_str().unwrap();
        let (start, end) = (offset(snippet, "start"), offset(snippet, "end"));
        assert!(text.len() <= 120 && text.as_bytes() == &file[start..end], "{candidate}");
        for mark in list(snippet, "highlights") {
            let (from, to) = (offset(mark, "start"), offset(mark, "end"));
            let word = text[from..to].to_lowercase();
            let asked = ["deposit", "power", "tool"].iter().any(|stem| word.starts_with(stem));
            assert!(asked, "{word} in {candidate}");
            let absolute = json!({ "start": start + from, "end": start + to });
            assert!(list(candidate, "highlights").contains(&absolute), "{candidate}");
        }
    }
    let bare = candidates(server, json!({ "query": "deposit", "snippet": 0 }));
    assert!(bare.iter().all(|c| c.get("snippet").is_none() && c.get("highlights").is_none()));
}

#[test]
fn a_filter_counts_during_the_search() {
    let Some(server) = server() else { return };
    let filter = json!({ "field": "source", "glob": "cafe.*" });
    for mode in ["dense", "hybrid"] {
        let body = json!({ "query": "lathe", "mode": mode, "filter": filter });
        assert_eq!(sources(&candidates(server, body)), BTreeSet::from(["cafe.md"]));
    }
    let get = "&filter=%7B%22field%22%3A%22source%22%2C%22glob%22%3A%22cafe.*%22%7D&threshold=0";
    let answer = server.ask("What does the lathe cost?", get).ok();
    assert_eq!(sources(list(&answer, "supporting_docs")), BTreeSet::from(["cafe.md"]));
}

#[test]
fn one_passage_a_document_is_one() {
    let Some(server) = server() else { return };
    let found = candidates(server, json!({ "query": "tool", "per_document": 1, "mode": "dense" }));
    assert_eq!((found.len(), sources(&found).len()), (6, 6));
}

#[test]
fn what_is_around_a_passage_comes_in_the_documents_order() {
    let Some(server) = server() else { return };
    let body = json!({ "query": "Late returns", "top_k": 1, "context": { "neighbours": 1 } });
    let found = candidates(server, body);
    let around = list(&found[0], "context");
    assert!(!around.is_empty() && around.len() <= 2, "{}", found[0]);
    assert!(around.is_sorted_by_key(|p| offset(p, "start")));
    for passage in around {
        assert!(passage["source"] == found[0]["source"] && passage["id"] != found[0]["id"]);
        assert!(passage.get("score").is_none());
    }

    let body = json!({ "query": "What does a late hand tool cost?", "top_n": 1, "threshold": 0,
        "context": { "neighbours": 1 } });
    let answer = server.post("/v1/answer", &body).ok();
    let [kept, around @ ..] = list(&answer, "passages") else { panic!("{answer}") };
    assert!(kept.get("context_of").is_none() && !around.is_empty(), "{answer}");
    assert!(around.iter().all(|p| p["context_of"] == 0 && p["source"] == kept["source"]));
    for citation in list(&answer, "citations") {
        let cited = &answer["passages"][offset(citation, "passage")];
        assert!(offset(cited, "start") <= offset(citation, "start"), "{answer}");
        assert!(offset(citation, "end") <= offset(cited, "end"), "{answer}");
    }
}

#[test]
fn a_question_of_two_parts_is_searched_for_in_two() {
    let Some(server) = server() else { return };
    let question = "What deposit is taken for a power tool and where does the first-aid box hang?";
    let parts =
        json!(["What deposit is taken for a power tool", "where does the first-aid box hang?",]);
    let answer = server.ask(question, "&top_n=4").ok();
    assert_eq!(answer["parts"], parts);
    let found = candidates(server, json!({ "query": question, "top_k": 4 }));
    let both = BTreeSet::from(["borrowing.md", "workshop.md"]);
    assert!(sources(&found).is_superset(&both), "{found:?}");
    let whole = server.ask(question, "&decompose=off").ok();
    assert!(whole.get("parts").is_none(), "{whole}");
}

#[test]
fn a_word_that_no_document_has_is_read_as_one_that_does() {
    let Some(server) = server() else { return };
    let body = |spelling: &str| json!({ "query": "cement mixxer", "mode": "lexical", "spelling": spelling, "top_k": 1 });
    let read = server.post("/v1/retrieve", &body("auto")).ok();
    assert_eq!(read["corrections"], json!([{ "written": "mixxer", "read_as": "mixer" }]));
    assert_eq!(read["candidates"][0]["source"], "borrowing.md");
    let verbatim = server.post("/v1/retrieve", &body("off")).ok();
    assert!(verbatim.get("corrections").is_none(), "{verbatim}");
}

#[test]
fn the_command_prints_where_and_what() {
    let Some(bundle) = bundle() else { return };
    let search = |arguments: &[&str]| {
        let mut command = trine_with_model(&[&"search", &bundle]);
        command.args(arguments);
        run(command)
    };
    let found = search(&["first-aid box", "--top-k", "2"]);
    assert_eq!(found.code, 0, "{found:?}");
    let first = found.out.lines().next().unwrap();
    assert!(first.starts_with("[1] workshop.md > ") && first.contains(", bytes "), "{found:?}");
    assert!(found.out.contains("The first-aid box hangs") && found.out.contains("[2] "));
    assert!(!found.out.contains('\x1b'), "marks are for terminals: {found:?}");

    let spelt = search(&["cement mixxer", "--source", "borrowing.*", "--per-document", "1"]);
    assert!(spelt.err.contains("read `mixxer` as `mixer`"), "{spelt:?}");
    assert!(spelt.out.contains("[1] borrowing.md") && !spelt.out.contains("[2]"), "{spelt:?}");
    let split = search(&["Who may use the lathe and when is the counter open?"]);
    assert!(split.err.contains("searched for: when is the counter open?"), "{split:?}");

    let json = search(&["lathe", "--json", "--mode", "lexical", "--context", "1"]).json();
    assert_eq!(json["candidates"][0]["source"], "workshop.md");
    assert!(!list(&json["candidates"][0], "context").is_empty(), "{json}");
    let nothing = search(&["zebra", "--mode", "lexical", "--no-spelling"]);
    assert_eq!((nothing.code, nothing.out.trim()), (3, "Nothing was found."), "{nothing:?}");
    search(&["lathe", "--filter", "{\"field\": 1}"]).failed(1, &["filter"]);
}
