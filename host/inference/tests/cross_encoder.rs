//! A tiny random BertForSequenceClassification against transformers, and its files spoilt.

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use common::{Case, bits, golden, inputs, only, tiny, tiny_with};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use trine_inference::{
    DeviceChoice, Engine, EngineOptions, Graphs, Model, ModelError, ModelKind, PrecisionOption,
    View,
};

fn engine(folder: &Path, precision: PrecisionOption) -> Engine {
    let mut graphs = Graphs::new();
    graphs.insert("cross", Arc::new(Model::open(folder).unwrap()), View::CrossEncoder).unwrap();
    // Precisions are the CPU's.
    let device = DeviceChoice::Cpu;
    let options = EngineOptions { device, precision, ..EngineOptions::default() };
    Engine::start(graphs, options).unwrap()
}

/// The logits of all golden pairs, in one call.
fn logits(folder: &Path) -> Vec<f32> {
    logits_at(folder, PrecisionOption::F32)
}

fn logits_at(folder: &Path, precision: PrecisionOption) -> Vec<f32> {
    let pairs: Vec<_> = tiny().cases.iter().map(|case| case.encoded()).collect();
    let outputs = engine(folder, precision).compute_blocking("cross", inputs(&pairs)).unwrap();
    let (name, dims, logits) = only(outputs);
    assert_eq!((name.as_str(), dims), ("logits", vec![pairs.len(), 1]));
    logits
}

#[test]
fn logits_are_those_of_transformers() {
    let folder = golden("tiny-cross-encoder");
    let info = Model::open(&folder).unwrap().info().clone();
    assert_eq!((info.kind, info.labels, info.max_tokens), (ModelKind::CrossEncoder, 1, 64));
    let found = logits(&folder);
    let cases = tiny().cases;
    assert!(cases.len() >= 10);
    for (case, found) in cases.iter().zip(found) {
        let expected = case.logits[0];
        assert!((found - expected).abs() <= 1e-4 * expected.abs(), "{found}, not {expected}");
    }
}

#[test]
fn narrow_precisions_stay_near_transformers() {
    let cases = tiny().cases;
    let largest = cases.iter().map(|case| case.logits[0].abs()).fold(0.0, f32::max);
    // Parts of the largest logit. Random weights and vectors of 32 make much of what is rounded; a
    // trained model of 384 is ten times as exact. Measured: 0.044 and 0.046.
    for (precision, most) in [(PrecisionOption::Bf16, 0.07), (PrecisionOption::Int8, 0.12)] {
        let found = logits_at(&golden("tiny-cross-encoder"), precision);
        let error = |(case, found): (&Case, &f32)| (found - case.logits[0]).abs() / largest;
        let worst = cases.iter().zip(&found).map(error).fold(0.0, f32::max);
        println!("{precision:?}: off by {worst:e} of the largest logit");
        assert!(worst < most, "{precision:?}: {worst:e}");
        assert!(worst > 1e-5, "{precision:?}: nothing was rounded");
    }
}

/// A copy of the tiny model whose tensors have passed through `change`.
fn with_weights(change: impl Fn(&str, Vec<f32>) -> Option<(Dtype, Vec<u8>)>) -> tempfile::TempDir {
    let folder = tiny_with(|_| {});
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let changed: HashMap<String, (Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .filter_map(|(name, view)| {
            let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
            let (dtype, bytes) = change(name, values.collect())?;
            Some((name.to_owned(), (dtype, view.shape().to_vec(), bytes)))
        })
        .collect();
    let views = changed.iter().map(|(name, (dtype, shape, bytes))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    folder
}

fn bytes<const N: usize>(values: Vec<f32>, to: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    values.into_iter().flat_map(to).collect()
}

#[test]
fn half_precision_weights_are_read_exactly() {
    for (dtype, round) in [
        (Dtype::F16, (|x| f16::from_f32(x).to_f32()) as fn(f32) -> f32),
        (Dtype::BF16, |x| bf16::from_f32(x).to_f32()),
    ] {
        let short = with_weights(|_, values| {
            Some((
                dtype,
                match dtype {
                    Dtype::F16 => bytes(values, |x| f16::from_f32(x).to_le_bytes()),
                    _ => bytes(values, |x| bf16::from_f32(x).to_le_bytes()),
                },
            ))
        });
        let long = with_weights(|_, v| Some((Dtype::F32, bytes(v, |x| round(x).to_le_bytes()))));
        let found = logits(short.path());
        assert_eq!(bits(&found), bits(&logits(long.path())), "{dtype:?}");
        assert_ne!(bits(&found), bits(&logits(&golden("tiny-cross-encoder"))), "{dtype:?}");
    }
}

#[test]
fn names_without_a_prefix_are_found() {
    let folder = tiny_with(|config| config["architectures"] = json!(["BertModel"]));
    let path = folder.path().join("model.safetensors");
    let data = std::fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&data).unwrap();
    let stripped = tensors.iter().filter_map(|(n, view)| Some((n.strip_prefix("bert.")?, view)));
    std::fs::write(&path, safetensors::serialize(stripped, None).unwrap()).unwrap();
    assert_eq!(Model::open(folder.path()).unwrap().info().kind, ModelKind::Encoder);
}

fn error(folder: &Path) -> ModelError {
    Model::open(folder).err().expect("the folder is spoilt")
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let name = "bert.encoder.layer.1.output.dense.weight";
    let plain = |v| Some((Dtype::F32, bytes(v, f32::to_le_bytes)));
    let missing = with_weights(|n, v| if n == name { None } else { plain(v) });
    assert!(matches!(error(missing.path()), ModelError::MissingTensor { name: n } if n == name));
    let whole_numbers = with_weights(|n, v| {
        if n == name {
            Some((Dtype::I32, bytes(v, |x| (x as i32).to_le_bytes())))
        } else {
            plain(v)
        }
    });
    assert!(matches!(
        error(whole_numbers.path()),
        ModelError::TensorType { name: n, found } if n == name && found == "I32"
    ));
    let wider = tiny_with(|config| config["intermediate_size"] = json!(73));
    assert!(matches!(
        error(wider.path()),
        ModelError::TensorShape { name, found, expected }
            if name.contains("layer.0.intermediate") && found == [72, 32] && expected == [73, 32]
    ));
    let labels = tiny_with(|config| config["id2label"] = json!({"0": "no", "1": "yes"}));
    assert!(matches!(
        error(labels.path()),
        ModelError::TensorShape { name, .. } if name == "classifier.weight"
    ));
}

#[test]
fn what_is_not_implemented_is_named() {
    for (field, value) in [
        ("hidden_act", json!("gelu_new")),
        ("position_embedding_type", json!("relative_key")),
        ("model_type", json!("roberta")),
        ("architectures", json!(["BertForMaskedLM"])),
        ("architectures", json!([])),
    ] {
        let folder = tiny_with(|config| config[field] = value);
        let error = error(folder.path());
        assert!(
            matches!(error, ModelError::Unsupported { field: f, .. } if f == field),
            "{field}: {error}"
        );
    }
    for (file, content) in [
        ("modules.json", json!([{"type": "sentence_transformers.models.Dense"}])),
        ("1_Pooling/config.json", json!({"pooling_mode_max_tokens": true})),
        (
            "1_Pooling/config.json",
            json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}),
        ),
        ("1_Pooling/config.json", json!({"pooling_mode": "weightedmean"})),
    ] {
        let folder = tiny_with(|_| {});
        std::fs::create_dir_all(folder.path().join("1_Pooling")).unwrap();
        std::fs::write(folder.path().join(file), content.to_string()).unwrap();
        let error = error(folder.path());
        assert!(matches!(error, ModelError::Unsupported { .. }), "{file}: {error}");
    }
}

#[test]
fn both_ways_to_write_the_pooling_are_read() {
    use trine_inference::Pooling::{Cls, Mean};
    for (content, pooling) in [
        (json!({"pooling_mode": "mean", "include_prompt": true}), Mean),
        (json!({"pooling_mode": "cls"}), Cls),
        (json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}), Mean),
        (json!({"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": true}), Cls),
    ] {
        let folder = tiny_with(|config| config["architectures"] = json!(["BertModel"]));
        std::fs::create_dir_all(folder.path().join("1_Pooling")).unwrap();
        std::fs::write(folder.path().join("1_Pooling/config.json"), content.to_string()).unwrap();
        let modules = json!([{"type": "sentence_transformers.models.Normalize"}]);
        std::fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
        let sentence = json!({"max_seq_length": 48});
        let at = folder.path().join("sentence_bert_config.json");
        std::fs::write(at, sentence.to_string()).unwrap();
        let model = Model::open(folder.path()).unwrap();
        let info = model.info();
        assert_eq!((info.pooling, info.normalize, info.max_tokens), (pooling, true, 48));
    }
}

#[test]
fn numbers_that_make_no_model_are_named() {
    for (field, value) in [
        ("num_attention_heads", json!(0)),
        ("hidden_size", json!(33)),
        ("hidden_size", json!(u64::MAX)),
        ("vocab_size", json!(1u64 << 40)),
        ("layer_norm_eps", json!(-1.0)),
    ] {
        let folder = tiny_with(|config| config[field] = value);
        let error = error(folder.path());
        assert!(
            matches!(error, ModelError::Config { field: f, .. } if f == field),
            "{field}: {error}"
        );
    }
}

#[test]
fn files_that_are_missing_or_damaged_are_named() {
    let spoil = |file: &str, content: Option<&[u8]>| {
        let folder = tiny_with(|_| {});
        let path = folder.path().join(file);
        match content {
            None => std::fs::remove_file(path).unwrap(),
            Some(content) => std::fs::write(path, content).unwrap(),
        }
        error(folder.path())
    };
    let file = |error: &ModelError, name: &str| match error {
        ModelError::File { path, .. } | ModelError::Format { path, .. } => path.ends_with(name),
        _ => false,
    };
    let weights = std::fs::read(golden("tiny-cross-encoder/model.safetensors")).unwrap();
    for (name, content) in [
        ("config.json", None),
        ("config.json", Some(&b"{"[..])),
        ("config.json", Some(b"{}")),
        ("modules.json", Some(b"7")),
        ("model.safetensors", None),
        ("model.safetensors", Some(b"")),
        ("model.safetensors", Some(&[0xff; 64])),
        ("model.safetensors", Some(&weights[..weights.len() - 1])),
    ] {
        let error = spoil(name, content);
        assert!(file(&error, name), "{name}: {error}");
    }
}

#[test]
fn a_graph_is_what_its_model_can_be() {
    let cross = Arc::new(Model::open(golden("tiny-cross-encoder")).unwrap());
    let encoder = Arc::new(common::tiny_encoder());
    let mut graphs = Graphs::new();
    for (model, view) in
        [(&cross, View::Encoder), (&cross, View::LateInteraction), (&encoder, View::CrossEncoder)]
    {
        let error = graphs.insert("graph", model.clone(), view).unwrap_err();
        assert!(matches!(error, ModelError::View { .. }), "{error}");
    }
    graphs.insert("graph", encoder.clone(), View::Encoder).unwrap();
    let error = graphs.insert("graph", encoder, View::LateInteraction).unwrap_err();
    assert!(matches!(error, ModelError::DuplicateGraph(name) if name == "graph"));
}
