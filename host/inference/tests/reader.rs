//! A tiny random BertForQuestionAnswering, made by an adapter, against transformers.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{golden, inputs, rectangle};
use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use trine_inference::{
    Adapter, DeviceChoice, Engine, EngineOptions, Graphs, InferenceError, Model, ModelError,
    ModelKind, PrecisionOption, View,
};
use trine_text::tokens::Encoded;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
struct Case {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    start: Vec<f32>,
    end: Vec<f32>,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read(golden("tiny-reader/golden.json")).unwrap();
    serde_json::from_slice::<Golden>(&text).unwrap().cases
}

fn model() -> Model {
    let adapter = Adapter::open(golden("tiny-reader/adapter.safetensors")).unwrap();
    Model::open_adapted(golden("tiny-cross-encoder"), &adapter).unwrap()
}

fn engine(model: Model) -> Engine {
    let mut graphs = Graphs::new();
    graphs.insert("reader", Arc::new(model), View::Reader).unwrap();
    let (device, precision) = (DeviceChoice::Cpu, PrecisionOption::F32);
    Engine::start(graphs, EngineOptions { device, precision, ..EngineOptions::default() }).unwrap()
}

fn encoded(case: &Case) -> Encoded {
    Encoded { ids: case.ids.clone(), type_ids: case.type_ids.clone(), truncated: 0 }
}

/// The start and end logits of some cases, and the width of their rows.
fn logits(engine: &Engine, cases: &[Case]) -> (usize, Vec<f32>, Vec<f32>) {
    let texts: Vec<Encoded> = cases.iter().map(encoded).collect();
    let outputs = engine.compute_blocking("reader", inputs(&texts)).unwrap();
    let [(start, starts), (end, ends)] = <[_; 2]>::try_from(outputs).unwrap();
    assert_eq!((start.as_str(), end.as_str()), ("start_logits", "end_logits"));
    let width = cases.iter().map(|case| case.ids.len()).max().unwrap();
    assert_eq!((&starts.dims, &ends.dims), (&vec![cases.len(), width], &vec![cases.len(), width]));
    (width, starts.as_f32().unwrap().to_vec(), ends.as_f32().unwrap().to_vec())
}

#[test]
fn logits_are_those_of_transformers_with_the_adapter_merged() {
    let adapter = Adapter::open(golden("tiny-reader/adapter.safetensors")).unwrap();
    assert_eq!((adapter.base(), adapter.kind()), ("tiny-cross-encoder", ModelKind::Reader));
    assert_eq!(model().info().max_tokens, 48);
    let cases = cases();
    assert!(cases.len() >= 10);
    let (width, starts, ends) = logits(&engine(model()), &cases);
    for (row, case) in cases.iter().enumerate() {
        for (found, expected) in [(&starts, &case.start), (&ends, &case.end)] {
            let found = &found[row * width..][..width];
            for (found, expected) in found.iter().zip(expected) {
                let close = (found - expected).abs() <= 1e-4 * expected.abs().max(1.0);
                assert!(close, "{found}, not {expected}");
            }
            assert!(found[expected.len()..].iter().all(|&padding| padding == 0.0));
        }
    }
    // A text's logits do not depend on its neighbours.
    let (_, alone, _) = logits(&engine(model()), &cases[3..4]);
    assert_eq!(alone, starts[3 * width..][..alone.len()]);
}

#[test]
fn a_third_row_says_how_relevant_a_text_is() {
    // Relevance is made what the first two rows say of the first token, one less the other.
    let whole = std::fs::read(golden("tiny-reader/adapter.safetensors")).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&whole).unwrap();
    let tensors = SafeTensors::deserialize(&whole).unwrap();
    let third = |name: &str| {
        let two: Vec<f16> = tensors
            .tensor(name)
            .unwrap()
            .data()
            .chunks_exact(2)
            .map(|b| f16::from_le_bytes([b[0], b[1]]))
            .collect();
        let (start, end) = two.split_at(two.len() / 2);
        let third = start.iter().zip(end).map(|(a, b)| f16::from_f32(a.to_f32() - b.to_f32()));
        two.iter().copied().chain(third).flat_map(f16::to_le_bytes).collect::<Vec<u8>>()
    };
    let (weight, bias) = (third("qa_outputs.weight"), third("qa_outputs.bias"));
    let mut all = tensors.tensors();
    for (name, tensor) in &mut all {
        let data = match name.as_str() {
            "qa_outputs.weight" => &weight,
            "qa_outputs.bias" => &bias,
            _ => continue,
        };
        let shape = std::iter::once(3).chain(tensor.shape()[1..].iter().copied()).collect();
        *tensor = TensorView::new(Dtype::F16, shape, data).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.safetensors");
    let bytes = safetensors::serialize(all, metadata.metadata().clone()).unwrap();
    std::fs::write(&path, bytes).unwrap();

    let cases = cases();
    let texts: Vec<Encoded> = cases.iter().map(encoded).collect();
    let outputs = engine(opened(&path).unwrap()).compute_blocking("reader", inputs(&texts));
    let [(_, starts), (_, ends), (name, relevance)] = <[_; 3]>::try_from(outputs.unwrap()).unwrap();
    assert_eq!((name.as_str(), &relevance.dims), ("relevance", &vec![cases.len()]));
    let (width, two, _) = logits(&engine(model()), &cases);
    assert_eq!(starts.as_f32().unwrap(), two, "a reader that ranks reads no worse");
    let difference =
        |row: usize| starts.as_f32().unwrap()[row * width] - ends.as_f32().unwrap()[row * width];
    for (row, found) in relevance.as_f32().unwrap().iter().enumerate() {
        assert!((found - difference(row)).abs() < 0.02, "{found}, not {}", difference(row));
    }
}

#[test]
fn weights_kept_packed_are_the_adapted_ones() {
    let kept = tempfile::tempdir().unwrap();
    let cached = || engine(model().with_weight_cache(kept.path().to_owned()));
    let (_, first, _) = logits(&cached(), &cases());
    let (_, again, _) = logits(&cached(), &cases());
    let base = Model::open(golden("tiny-cross-encoder")).unwrap();
    let mut graphs = Graphs::new();
    let base = base.with_weight_cache(kept.path().to_owned());
    graphs.insert("base", Arc::new(base), View::CrossEncoder).unwrap();
    drop(Engine::start(graphs, EngineOptions::default()).unwrap());
    let (_, after, _) = logits(&cached(), &cases());
    assert_eq!((&first, &first), (&again, &after));
}

#[test]
fn a_reader_is_no_encoder_and_a_damaged_adapter_is_refused() {
    let mut graphs = Graphs::new();
    for view in [View::Encoder, View::CrossEncoder, View::LateInteraction] {
        let refused = graphs.insert("x", Arc::new(model()), view).unwrap_err();
        assert!(matches!(refused, ModelError::View { .. }), "{refused}");
    }
    let (ids, mask) = rectangle(&[&[1, 2, 400]]);
    let inputs = common::named([("input_ids", ids), ("attention_mask", mask)]);
    let refused = engine(model()).compute_blocking("reader", inputs).unwrap_err();
    assert!(matches!(refused, InferenceError::InvalidInput { .. }), "{refused}");

    let whole = std::fs::read(golden("tiny-reader/adapter.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter.safetensors");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        opened(&path)
    };
    for length in (0..whole.len()).step_by(97) {
        assert!(open(&whole[..length]).is_err(), "cut at {length}");
    }
    // Another base: its matrices are of other shapes.
    let other = String::from_utf8_lossy(&whole).replace("[96,3]", "[95,3]");
    assert!(open(other.as_bytes()).is_err());
    let nameless = SafeTensors::deserialize(&whole).unwrap();
    let bytes = safetensors::serialize(nameless.tensors(), None).unwrap();
    let error = open(&bytes).err().unwrap().to_string();
    assert!(error.contains("base"), "{error}");
}

fn opened(path: &Path) -> Result<Model, ModelError> {
    Model::open_adapted(golden("tiny-cross-encoder"), &Adapter::open(path)?)
}
