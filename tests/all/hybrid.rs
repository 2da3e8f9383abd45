//! Retrieval by meaning, by words and by both, through the whole application.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::fixture::{Serving, build_options, index, limits, model, scratch, server};

/// Error messages that differ in their code and in little else.
const CODES: u32 = 40;

/// A server over a handbook of error messages, one a file, and a guide of many sections.
fn handbook() -> Option<&'static Serving> {
    static SERVER: OnceLock<Serving> = OnceLock::new();
    model()?;
    Some(SERVER.get_or_init(|| {
        let folder = scratch().join("handbook");
        fs::create_dir_all(&folder).unwrap();
        for number in 0..CODES {
            let text = format!(
                "# Message\n\nThe code `{}` is reported by the pump when its controller notices \
                 a fault. Call the service and tell them the code.\n",
                code(number)
            );
            fs::write(folder.join(format!("message-{number}.md")), text).unwrap();
        }
        let section = |n: u32| {
            let body = "Turn the valve until the needle stands still. ".repeat(30);
            format!("## Step {n}\n\n{body}\n\n")
        };
        let guide: String = (0..12).map(section).collect();
        fs::write(folder.join("guide.md"), format!("# Guide to the valves\n\n{guide}")).unwrap();
        let bundle = index("handbook.trine", &[folder], &build_options());
        Serving::start(&bundle, limits())
    }))
}

/// Digits in an order of their own, so that neighbours' codes are not alike.
fn code(number: u32) -> String {
    format!("ERR_{:04}", 1000 + number * 7919 % 9000)
}

#[track_caller]
fn retrieve(server: &Serving, body: &Value) -> Value {
    server.post("/v1/retrieve", body).ok()
}

fn candidates(reply: &Value) -> &[Value] {
    reply["candidates"].as_array().unwrap()
}

fn sources(reply: &Value) -> Vec<&str> {
    candidates(reply).iter().map(|c| c["source"].as_str().unwrap()).collect()
}

#[test]
fn a_code_that_vectors_do_not_tell_apart_is_found_by_its_letters() {
    let Some(server) = handbook() else { return };
    let found = |mode: &str| -> usize {
        let first = |number: &u32| {
            let query = format!("What does {} mean?", code(*number));
            let reply = retrieve(server, &json!({ "query": query, "mode": mode, "top_k": 5 }));
            sources(&reply)[0] == format!("message-{number}.md")
        };
        (0..CODES).filter(first).count()
    };
    let (dense, lexical, hybrid) = (found("dense"), found("lexical"), found("hybrid"));
    println!("first of {CODES}: dense {dense}, lexical {lexical}, hybrid {hybrid}");
    assert_eq!((lexical, hybrid), (CODES as usize, CODES as usize));
    assert!(dense < hybrid);
}

#[test]
fn each_mode_scores_by_what_it_compares() {
    let Some(server) = server() else { return };
    let ask = |body: Value| {
        let mut whole = json!({ "query": "deposit for the lathe", "top_k": 8 });
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        retrieve(server, &whole)
    };
    for (body, dense, lexical) in [
        (json!({}), true, true),
        (json!({ "mode": "hybrid" }), true, true),
        (json!({ "fusion": { "reciprocal_rank": 60 } }), true, true),
        (json!({ "mode": "dense" }), true, false),
        (json!({ "mode": "lexical" }), false, true),
    ] {
        let reply = ask(body.clone());
        let all = candidates(&reply);
        assert!(!all.is_empty());
        for candidate in all {
            assert_eq!(candidate["dense_score"].is_number(), dense, "{body}");
            assert_eq!(candidate["lexical_score"].is_number(), lexical, "{body}");
        }
        let scores: Vec<f64> = all.iter().map(|c| c["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{body} {scores:?}");
    }
    assert_eq!(ask(json!({}))["candidates"], ask(json!({ "mode": "hybrid" }))["candidates"]);
    // The same passage has the same scores, whatever it is compared by.
    let score = |mode: &str, name: &str| -> BTreeMap<u64, f64> {
        let reply = ask(json!({ "mode": mode, "exact": true }));
        let of = |c: &Value| (c["id"].as_u64().unwrap(), c[name].as_f64().unwrap());
        candidates(&reply).iter().map(of).collect()
    };
    for (mode, name) in [("dense", "dense_score"), ("lexical", "lexical_score")] {
        let (alone, both) = (score(mode, name), score("hybrid", name));
        let shared: Vec<_> = alone.iter().filter(|(id, _)| both.contains_key(id)).collect();
        assert!(shared.len() > 1);
        assert!(shared.iter().all(|&(id, score)| both[id] == *score));
    }
}

#[test]
fn words_that_no_passage_has_find_nothing_by_words() {
    let Some(server) = server() else { return };
    let query = json!({ "query": "xylophone quartet", "mode": "lexical", "spelling": "off" });
    assert_eq!(retrieve(server, &query)["candidates"], json!([]));
    let answer = server.post("/v1/answer", &query).ok();
    assert_eq!(answer["abstained"], true);
    let query = json!({ "query": "xylophone quartet", "top_k": 3 });
    assert_eq!(candidates(&retrieve(server, &query)).len(), 3);
}

#[test]
fn a_misspelt_word_is_read_as_the_nearest_and_reported() {
    let Some(server) = server() else { return };
    let ask = |mode: &str, spelling: &str| {
        let query = "introdction to the lathe";
        retrieve(server, &json!({ "query": query, "mode": mode, "spelling": spelling }))
    };
    for mode in ["lexical", "hybrid", "dense"] {
        let reply = ask(mode, "auto");
        let expected = json!([{ "written": "introdction", "read_as": "introduction" }]);
        assert_eq!(reply["corrections"], expected);
        assert_eq!(sources(&reply)[0], "workshop.md");
        let right = json!({ "query": "introduction to the lathe", "mode": mode });
        assert_eq!(reply["candidates"], retrieve(server, &right)["candidates"]);
        let reply = ask(mode, "off");
        assert!(reply.get("corrections").is_none_or(|none| *none == json!([])));
    }
}

#[test]
fn a_filter_counts_during_the_search() {
    let Some(server) = handbook() else { return };
    let filter = json!({ "field": "source", "in": ["message-7.md", "message-31.md"] });
    for mode in ["dense", "lexical", "hybrid"] {
        let body = json!({
            "query": "which valve or pump needs a code", "mode": mode, "filter": filter, "top_k": 9,
        });
        let reply = retrieve(server, &body);
        let found: BTreeSet<&str> = sources(&reply).into_iter().collect();
        assert_eq!(found, BTreeSet::from(["message-7.md", "message-31.md"]), "{mode}");
    }
    let body = json!({ "query": "pump", "filter": { "field": "colour", "eq": "red" } });
    let reply = server.post("/v1/retrieve", &body);
    assert!(reply.status == 400 && reply.json.to_string().contains("colour"), "{reply:?}");
}

#[test]
fn one_document_does_not_fill_the_list() {
    let Some(server) = handbook() else { return };
    let ask = |limit: Value| {
        let query = "turn the valve until the needle stands still";
        let body = json!({ "query": query, "top_k": 12, "per_document": limit });
        retrieve(server, &body)
    };
    let guides = |reply: &Value| sources(reply).iter().filter(|s| **s == "guide.md").count();
    let (free, limited) = (ask(json!(null)), ask(json!(2)));
    assert!(guides(&free) > 2);
    assert_eq!((guides(&limited), candidates(&limited).len()), (2, 12));
}

#[test]
fn diversity_prefers_what_is_new() {
    let Some(server) = handbook() else { return };
    let ask = |diversity: Value| -> Vec<u64> {
        let query = "turn the valve until the needle stands still";
        let body = json!({ "query": query, "top_k": 8, "mode": "dense", "diversity": diversity });
        let reply = retrieve(server, &body);
        candidates(&reply).iter().map(|c| c["id"].as_u64().unwrap()).collect()
    };
    let plain = ask(json!(null));
    assert_eq!(ask(json!(1.0)), plain);
    let diverse = ask(json!(0.3));
    assert_eq!(diverse[0], plain[0]);
    assert_ne!(diverse, plain);
}

#[test]
fn the_passages_around_one_come_with_it() {
    let Some(server) = handbook() else { return };
    let body = json!({ "query": "guide step 5", "top_k": 1, "context": { "neighbours": 1 },
        "filter": { "field": "source", "eq": "guide.md" } });
    let reply = retrieve(server, &body);
    let candidate = &candidates(&reply)[0];
    let id = candidate["id"].as_u64().unwrap();
    let around: Vec<u64> = candidate["context"]
        .as_array()
        .unwrap()
        .iter()
        .map(|passage| {
            assert_eq!(passage["source"], "guide.md");
            passage["id"].as_u64().unwrap()
        })
        .collect();
    assert!(!around.is_empty() && around.iter().all(|other| other.abs_diff(id) == 1), "{reply}");
}

#[test]
fn the_parts_of_a_question_are_searched_for_one_by_one() {
    let Some(server) = server() else { return };
    let query = "When is the counter open, and what does membership cost a year?";
    let split = retrieve(server, &json!({ "query": query, "top_k": 2, "decompose": "auto" }));
    assert_eq!(split["parts"].as_array().map(Vec::len), Some(2), "{split}");
    let found: BTreeSet<&str> = sources(&split).into_iter().collect();
    assert_eq!(found, BTreeSet::from(["opening-hours.md", "membership.md"]));
    let whole = retrieve(server, &json!({ "query": query, "decompose": "off" }));
    assert!(whole.get("parts").is_none_or(|none| *none == json!([])));
}
