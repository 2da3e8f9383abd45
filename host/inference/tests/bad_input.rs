//! Inputs that are wrong in every way there is: each is refused by a typed error that names the
//! input and says why.

mod common;

use common::{late_inputs, named, only, tiny_engine};
use trine_inference::{EngineOptions, InferenceError, PrecisionOption, Tensor};
use trine_text::tokens::Encoded;

fn options() -> EngineOptions {
    EngineOptions { threads: 2, precision: PrecisionOption::F32, ..EngineOptions::default() }
}

/// Asserts that a graph refuses inputs, naming `input` and a part of the reason.
fn refused(graph: &str, inputs: Vec<(String, Tensor)>, input: &str, part: &str) {
    let engine = tiny_engine(EngineOptions { call_tokens: 200, ..options() });
    match engine.compute_blocking(graph, inputs) {
        Err(InferenceError::InvalidInput { input: found, reason }) => {
            assert_eq!(found, input, "{reason}");
            assert!(reason.contains(part), "`{reason}` does not say `{part}`");
        }
        other => panic!("{input}, {part}: {other:?}"),
    }
}

/// An encoder's ids `[2, 3]` and mask, one of them replaced.
fn replaced(name: &str, tensor: Tensor) -> Vec<(String, Tensor)> {
    let mut inputs = named([
        ("input_ids", Tensor::i64([2, 3], vec![2, 9, 3, 2, 3, 0])),
        ("attention_mask", Tensor::i64([2, 3], vec![1, 1, 1, 1, 1, 0])),
    ]);
    inputs.retain(|(n, _)| n != name);
    inputs.push((name.to_owned(), tensor));
    inputs
}

#[test]
fn names_that_are_wrong_are_refused() {
    let good = || replaced("token_type_ids", Tensor::i64([2, 3], vec![0; 6]));
    for graph in ["encoder", "cross"] {
        assert!(tiny_engine(options()).compute_blocking(graph, good()).is_ok());
        for missing in ["input_ids", "attention_mask"] {
            let inputs = good().into_iter().filter(|(name, _)| name != missing).collect();
            refused(graph, inputs, missing, "missing");
        }
        let mut inputs = good();
        inputs.push(("position_ids".to_owned(), Tensor::i64([2, 3], vec![0; 6])));
        refused(graph, inputs, "position_ids", "takes input_ids, attention_mask, token_type_ids");
        let mut inputs = good();
        inputs.push(inputs[0].clone());
        refused(graph, inputs, "input_ids", "twice");
    }
    refused("late", good(), "token_type_ids", "unknown");
    refused("encoder", vec![], "input_ids", "missing");
}

#[test]
fn shapes_and_types_that_are_wrong_are_refused() {
    let ids = |dims: &[usize], data| replaced("input_ids", Tensor::i64(dims, data));
    refused("encoder", ids(&[6], vec![2; 6]), "input_ids", "rank 1");
    refused("encoder", ids(&[1, 2, 3], vec![2; 6]), "input_ids", "rank 3");
    refused("encoder", ids(&[], vec![]), "input_ids", "rank 0");
    refused("encoder", ids(&[2, 3], vec![2; 5]), "input_ids", "5 values");
    refused("encoder", ids(&[usize::MAX, 2], vec![2; 6]), "input_ids", "6 values");
    refused("encoder", ids(&[0, 3], vec![]), "input_ids", "1 to 200");
    refused("encoder", ids(&[2, 0], vec![]), "input_ids", "1 to 200");
    refused("encoder", ids(&[67, 3], vec![2; 201]), "input_ids", "1 to 200");
    refused("encoder", ids(&[3, 2], vec![2; 6]), "attention_mask", "[3, 2]");
    let types = Tensor::i64([1, 6], vec![0; 6]);
    refused("encoder", replaced("token_type_ids", types), "token_type_ids", "[2, 3]");
    let floats = Tensor::f32([2, 3], vec![1.0; 6]);
    refused("encoder", replaced("input_ids", floats.clone()), "input_ids", "f32");
    refused("encoder", replaced("attention_mask", floats), "attention_mask", "f32");
}

#[test]
fn ids_and_masks_that_are_wrong_are_refused() {
    let with = |name, data| replaced(name, Tensor::i64([2, 3], data));
    let ids = |data| with("input_ids", data);
    refused("encoder", ids(vec![2, -1, 3, 2, 3, 0]), "input_ids", "row 0 holds -1");
    refused("encoder", ids(vec![2, 9, 3, 2, 400, 0]), "input_ids", "row 1 holds 400");
    refused("encoder", ids(vec![2, i64::MAX, 3, 2, 3, 0]), "input_ids", "0 to 399");
    refused("encoder", ids(vec![2, 1 << 32, 3, 2, 3, 0]), "input_ids", "row 0");
    let types = |data| with("token_type_ids", data);
    refused("encoder", types(vec![0, 2, 0, 0, 0, 0]), "token_type_ids", "0 to 1");
    let mask = |data| with("attention_mask", data);
    refused("encoder", mask(vec![1, 0, 1, 1, 1, 0]), "attention_mask", "row 0");
    refused("encoder", mask(vec![1, 1, 1, 0, 1, 1]), "attention_mask", "row 1");
    refused("encoder", mask(vec![1, 2, 0, 1, 1, 0]), "attention_mask", "2");
    refused("encoder", mask(vec![1, -1, 0, 1, 1, 0]), "attention_mask", "-1");
    refused("encoder", mask(vec![1, 1, 1, 0, 0, 0]), "attention_mask", "row 1 has no token");
    // What the mask hides is not looked at.
    let hidden = ids(vec![2, 9, 3, 2, 3, -100]);
    assert!(tiny_engine(options()).compute_blocking("encoder", hidden).is_ok());
    // A text longer than the model's positions, and the longest that is not.
    let long = |length| {
        let (ids, mask) = common::rectangle(&[&vec![9; length]]);
        named([("input_ids", ids), ("attention_mask", mask)])
    };
    refused("encoder", long(65), "input_ids", "65 tokens; the model takes 1 to 64");
    assert!(tiny_engine(options()).compute_blocking("encoder", long(64)).is_ok());
    let unequal = Encoded { ids: vec![2, 3], type_ids: vec![0], truncated: 0 };
    let embed = |text: Encoded| tiny_engine(options()).embed_blocking("encoder", &[text]);
    let is_refused = |result| matches!(result, Err(InferenceError::InvalidInput { .. }));
    assert!(is_refused(embed(unequal)));
    assert!(is_refused(embed(Encoded { ids: vec![], type_ids: vec![], truncated: 0 })));
    assert!(is_refused(embed(Encoded { ids: vec![400], type_ids: vec![0], truncated: 0 })));
    assert!(is_refused(embed(Encoded { ids: vec![2], type_ids: vec![2], truncated: 0 })));
    assert!(is_refused(embed(Encoded { ids: vec![2; 65], type_ids: vec![0; 65], truncated: 0 })));
}

#[test]
fn late_interaction_takes_one_query() {
    let replaced = |name: &str, tensor: Tensor| {
        let mut inputs = late_inputs(&[2, 9, 3], &[&[2, 9, 3], &[2, 3]]);
        inputs.iter_mut().filter(|(n, _)| n == name).for_each(|(_, t)| *t = tensor.clone());
        inputs
    };
    let two = Tensor::i64([2, 3], vec![2; 6]);
    refused("late", replaced("query_input_ids", two), "query_input_ids", "2 rows");
    let wide = Tensor::i64([1, 4], vec![1; 4]);
    refused("late", replaced("query_attention_mask", wide), "query_attention_mask", "[1, 4]");
    let empty = Tensor::i64([1, 3], vec![0; 3]);
    refused("late", replaced("query_attention_mask", empty), "query_attention_mask", "no token");
    let large = Tensor::i64([1, 3], vec![2, 9, 4000]);
    refused("late", replaced("query_input_ids", large), "query_input_ids", "4000");
    let mut outputs = tiny_engine(options())
        .compute_blocking("late", late_inputs(&[2, 9, 3], &[&[2, 9, 3], &[2, 3]]))
        .unwrap();
    let (name, vectors) = outputs.pop().unwrap();
    assert_eq!((name.as_str(), vectors.dims.len(), vectors.dims[0]), ("sentence_embedding", 2, 2));
    let (name, dims, scores) = only(outputs);
    assert_eq!((name.as_str(), dims), ("scores", vec![2]));
    assert!((scores[0] - 1.0).abs() < 1e-6, "a text against itself is {}", scores[0]);
    assert!(scores[1] < scores[0]);
}
