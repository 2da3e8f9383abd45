//! A cross-encoder in the reranker's place: a tiny one of random weights, whose logits PyTorch
//! wrote down.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Value, json};
use trine_node::BuildOptions;

use crate::fixture::{Serving, build_options, corpus, here, index, limits, model};

fn tiny() -> PathBuf {
    here().join("golden/tiny-cross-encoder")
}

fn server() -> Option<Serving> {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    model()?;
    let bundle = BUNDLE.get_or_init(|| {
        let reranker = tiny().to_str().unwrap().to_owned();
        let options = BuildOptions { reranker, ..build_options() };
        index("cross-encoder.trine", &[corpus()], &options)
    });
    // The bundle knows the model by its name alone.
    let mut store = crate::fixture::store(model()?);
    store.folders.insert("tiny-cross-encoder".to_owned(), tiny());
    Some(Serving::with_store(bundle, &store, limits()))
}

#[test]
fn its_logits_are_the_scores() {
    let Some(server) = server() else { return };
    let text = fs::read_to_string(tiny().join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let (query, passage) = (case["first"].as_str().unwrap(), case["second"].as_str().unwrap());
        if query.is_empty() {
            continue; // the gateway refuses an empty query
        }
        let body = json!({ "query": query, "passages": [passage] });
        let reply = server.post("/v1/rerank", &body).ok();
        assert_eq!(
            (&reply["scoring"], &reply["model"]),
            (&json!("cross-encoder"), &json!("tiny-cross-encoder"))
        );
        let result = &reply["results"][0];
        let (got, expected) =
            (result["score"].as_f64().unwrap(), case["logits"][0].as_f64().unwrap());
        assert!((got - expected).abs() < 1e-4, "{got} is not {expected}: {query:?} {passage:?}");
        assert_eq!(result["truncated_tokens"], case["truncated"], "{query:?} {passage:?}");
        compared += 1;
    }
    assert!(compared >= 10, "{compared} cases");
    server.join();
}

#[test]
fn it_ranks_the_passages_of_an_answer() {
    let Some(server) = server() else { return };
    let answer = server.ask("When is the counter open?", "&threshold=0&top_n=8&fuse=false").ok();
    assert_eq!(answer["models"]["scoring"], "cross-encoder");
    assert_eq!(answer["models"]["reranker"], "tiny-cross-encoder");
    let scores: Vec<f64> = answer["supporting_docs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["score"].as_f64().unwrap())
        .collect();
    assert!(scores.len() == 8 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    server.join();
}
