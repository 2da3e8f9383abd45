//! The engine under many callers, and under inputs that are wrong in every way there is.

mod common;

use common::{bits, inputs, late_inputs, named, only, tiny, tiny_engine};
use futures::executor::block_on;
use futures::future::join_all;
use trine_inference::{EngineOptions, InferenceError, Tensor, TensorData, View};
use trine_text::tokens::Encoded;

fn options() -> EngineOptions {
    EngineOptions { threads: 2, ..EngineOptions::default() }
}

/// Texts of many lengths; the window is 64 tokens.
fn texts() -> Vec<Encoded> {
    tiny().cases.iter().map(|case| case.encoded()).collect()
}

/// One of the three graphs on some of the texts, different for each number.
fn call(texts: &[Encoded], number: usize) -> (&'static str, Vec<(String, Tensor)>) {
    let from = number % texts.len();
    let some = &texts[from..texts.len().min(from + 1 + number % 3)];
    match number % 5 {
        0 | 1 => ("encoder", inputs(some)),
        2 | 3 => ("cross", inputs(some)),
        _ => {
            let passages: Vec<&[u32]> = some.iter().map(|t| &t.ids[..]).collect();
            ("late", late_inputs(&texts[0].ids, &passages))
        }
    }
}

#[test]
fn many_callers_get_the_bits_that_one_gets() {
    let texts = texts();
    let engine = tiny_engine(options());
    let alone: Vec<_> = (0..200)
        .map(|number| {
            let (graph, inputs) = call(&texts, number);
            only(engine.compute_blocking(graph, inputs).unwrap())
        })
        .collect();
    assert!(alone.iter().all(|(_, _, values)| values.iter().all(|x| x.is_finite())));
    // Eight threads of 25 calls, all under way together, so that the queue makes batches.
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (engine, texts, alone) = (engine.clone(), &texts, &alone);
            scope.spawn(move || {
                let numbers: Vec<usize> = (thread * 25..thread * 25 + 25).collect();
                let calls = numbers.iter().map(|&number| {
                    let (graph, inputs) = call(texts, number);
                    engine.compute(graph, inputs)
                });
                for (result, number) in block_on(join_all(calls)).into_iter().zip(numbers) {
                    let (name, dims, values) = only(result.unwrap());
                    let expected = &alone[number];
                    assert_eq!((&name, &dims), (&expected.0, &expected.1), "call {number}");
                    assert_eq!(bits(&values), bits(&expected.2), "call {number}");
                }
            });
        }
    });
}

#[test]
fn embeddings_do_not_depend_on_how_they_are_cut_into_calls() {
    let texts = texts();
    let whole = tiny_engine(options()).embed_blocking("encoder", &texts).unwrap();
    assert_eq!(whole.len(), texts.len());
    for batch_tokens in [1, 64, 100] {
        let engine = tiny_engine(EngineOptions { batch_tokens, ..options() });
        let parts = engine.embed_blocking("encoder", &texts).unwrap();
        for (a, b) in whole.iter().zip(&parts) {
            assert_eq!(bits(a), bits(b), "{batch_tokens}");
        }
        assert_eq!(whole.len(), parts.len());
    }
    assert!(tiny_engine(options()).embed_blocking("encoder", &[]).unwrap().is_empty());
}

#[test]
fn an_encoder_pads_with_zeros_and_segments_are_optional() {
    let texts = texts();
    let engine = tiny_engine(options());
    let single: Vec<Encoded> = texts[..3]
        .iter()
        .map(|t| Encoded { type_ids: vec![0; t.ids.len()], ..t.clone() })
        .collect();
    let with_types = only(engine.compute_blocking("encoder", inputs(&single)).unwrap());
    let mut without = inputs(&single);
    without.retain(|(name, _)| name != "token_type_ids");
    // The order and the width of the numbers make no difference.
    without.reverse();
    for (_, tensor) in &mut without {
        let TensorData::I64(values) = &tensor.data else { panic!() };
        tensor.data = TensorData::I32(values.iter().map(|&v| v as i32).collect());
    }
    let without = only(engine.compute_blocking("encoder", without).unwrap());
    assert_eq!(with_types, without);
    let width = single.iter().map(|t| t.ids.len()).max().unwrap();
    assert_eq!(without.1, [3, width, 32]);
    for (row, text) in without.2.chunks_exact(width * 32).zip(&single) {
        let (live, padding) = row.split_at(text.ids.len() * 32);
        assert!(live.iter().any(|&x| x != 0.0) && padding.iter().all(|&x| x == 0.0));
    }
}

#[test]
fn a_call_withdrawn_or_ahead_of_the_end_hangs_nobody() {
    let engine = tiny_engine(EngineOptions { queue_depth: 1, ..options() });
    let texts = texts();
    for number in 0..50 {
        let (graph, inputs) = call(&texts, number);
        let mut future = Box::pin(engine.compute(graph, inputs));
        let waker = futures::task::noop_waker();
        let _ = future.as_mut().poll(&mut std::task::Context::from_waker(&waker));
        drop(future);
    }
    // Whether a place is free at this moment is the thread's affair; that one becomes free is not.
    let (graph, inputs) = call(&texts, 0);
    loop {
        match engine.compute_blocking(graph, inputs.clone()) {
            Ok(_) => break,
            Err(InferenceError::Busy { waiting }) => assert_eq!(waiting, 1),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn graphs_are_known_by_name() {
    let engine = tiny_engine(options());
    assert_eq!(engine.graphs().collect::<Vec<_>>(), ["cross", "encoder", "late"]);
    assert_eq!(engine.info("late").unwrap().0, View::LateInteraction);
    assert_eq!(engine.info("cross").unwrap().1.labels, 1);
    assert!(engine.info("other").is_none());
    assert!(engine.device().contains("2 threads"), "{}", engine.device());
    let error = engine.compute_blocking("other", vec![]).unwrap_err();
    assert_eq!(error.to_string(), "no graph is called `other`; there are: cross, encoder, late");
    let error = engine.embed_blocking("late", &texts()).unwrap_err();
    assert!(matches!(error, InferenceError::WrongView { name, .. } if name == "late"));
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
    let (name, dims, scores) = only(
        tiny_engine(options())
            .compute_blocking("late", late_inputs(&[2, 9, 3], &[&[2, 9, 3], &[2, 3]]))
            .unwrap(),
    );
    assert_eq!((name.as_str(), dims), ("scores", vec![2]));
    assert!((scores[0] - 1.0).abs() < 1e-6, "a text against itself is {}", scores[0]);
    assert!(scores[1] < scores[0]);
}
