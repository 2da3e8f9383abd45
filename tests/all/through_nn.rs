//! Answers that are written through wasi:nn alone: the writer, the decoder and the stages behind them in
//! one component, and a graph of logits.

use serde_json::{Value, json};
use trine_node::{BuildOptions, LanguageModel, Node};
use trine_runtime::Limits;

use crate::fixture::{build_options, bundle, corpus, index, limits};
use crate::scripted;
use crate::wit::imports;
use crate::writing::{QUESTION, events, librarian, librarian_file, serve_bundle};

/// What of an answer does not tell how it was computed.
fn said(answer: &Value) -> Vec<&Value> {
    let whole = ["answer", "citations", "sentences", "finish_reason", "abstained", "warnings"];
    let usage = ["prompt_tokens", "generated_tokens"].map(|name| &answer["usage"][name]);
    whole.iter().map(|name| &answer[name]).chain(usage).collect()
}

#[test]
fn the_same_is_written_through_wasi_nn_as_through_trine_inference() {
    let (Some(bundle), Some(server)) = (bundle(), librarian()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_, reader) = Node::about(bundle).unwrap();
    let model = LanguageModel::open("librarian", librarian_file()).unwrap();
    trine_node::extract(&reader, folder.path(), Some(&model)).unwrap();
    let imported = imports(&std::fs::read(folder.path().join("generator.wasm")).unwrap());
    let allowed = |name: &String| name.starts_with("wasi:nn/") || name == "trine:rag/types@0.1.0";
    assert!(imported.iter().all(allowed), "{imported:?}");
    let options = BuildOptions { app: Some(folder.path().join("spin.toml")), ..build_options() };
    let bundle = index("through-nn.trine", &[corpus()], &options);
    // Each token is a call with the whole text, of which only what the cache has not is counted.
    let limits = Limits { language_tokens: 3000, ..limits() };
    let plain = serve_bundle(&bundle, &scripted::models(librarian_file(), 64), limits);

    let off_topic = "Which enzyme unwinds the double helix of DNA?";
    for more in [
        json!({}),
        json!({ "temperature": 1.5, "seed": 3, "max_tokens": 30 }),
        json!({ "temperature": 2, "seed": 4, "sample_top_k": 5, "repetition_penalty": 1.5 }),
        json!({ "stop": ["cheese"], "logit_bias": { "97": 0.5 } }),
        json!({ "model": "extractive" }),
        json!({ "query": off_topic }),
    ] {
        let mut body = json!({ "query": QUESTION });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let [theirs, ours] = [server, &plain].map(|s| s.post("/v1/answer", &body).ok());
        assert_eq!(said(&ours), said(&theirs), "{body}");
    }
    let body = json!({ "query": QUESTION, "stream": true });
    let text = |(name, data): &(String, Value)| (name == "text").then(|| data["text"].clone());
    let [theirs, ours] = [server, &plain].map(|server| {
        events(server, "/v1/answer", &body).iter().filter_map(text).collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs, "piece by piece");
    plain.join();
}
