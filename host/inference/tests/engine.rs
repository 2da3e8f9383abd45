//! The engine under many callers.

mod common;

use common::{bits, inputs, late_inputs, only, tiny, tiny_engine};
use futures::executor::block_on;
use futures::future::join_all;
use trine_inference::{EngineOptions, InferenceError, PrecisionOption, Tensor, TensorData, View};
use trine_text::tokens::Encoded;

fn options() -> EngineOptions {
    EngineOptions { threads: 2, precision: PrecisionOption::F32, ..EngineOptions::default() }
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
            engine.compute_blocking(graph, inputs).unwrap()
        })
        .collect();
    let values = |outputs: &[(String, Tensor)]| -> Vec<f32> {
        outputs.iter().flat_map(|(_, tensor)| tensor.as_f32().unwrap()).copied().collect()
    };
    assert!(alone.iter().all(|outputs| values(outputs).iter().all(|x| x.is_finite())));
    // Eight threads of 25 calls, all under way together, so that the queue makes batches.
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (engine, texts, alone) = (engine.clone(), &texts, &alone);
            scope.spawn(move || {
                let numbers: Vec<usize> = (thread * 25..thread * 25 + 25).collect();
                let calls = numbers.iter().map(|&number| {
                    let (graph, inputs) = call(texts, number);
                    engine.compute(graph, inputs, None)
                });
                for (result, number) in block_on(join_all(calls)).into_iter().zip(numbers) {
                    let (found, expected) = (result.unwrap(), &alone[number]);
                    for ((name, tensor), (expected, other)) in found.iter().zip(expected) {
                        assert_eq!((name, &tensor.dims), (expected, &other.dims), "call {number}");
                    }
                    assert_eq!(found.len(), expected.len(), "call {number}");
                    assert_eq!(bits(&values(&found)), bits(&values(expected)), "call {number}");
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
        let mut future = Box::pin(engine.compute(graph, inputs, None));
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
    assert!(engine.devices().any(|d| d.contains("2 threads")));
    let error = engine.compute_blocking("other", vec![]).unwrap_err();
    assert_eq!(error.to_string(), "no graph is called `other`; there are: cross, encoder, late");
    let error = engine.embed_blocking("late", &texts()).unwrap_err();
    assert!(matches!(error, InferenceError::WrongView { name, .. } if name == "late"));
}
