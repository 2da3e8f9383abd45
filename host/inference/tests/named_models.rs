//! Models of the kinds that people bring by name, against sentence-transformers and transformers
//! (see `tests/golden/make_named_models.py`, which says how their weights are made).

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use common::{golden, inputs, only};
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use trine_inference::Pooling::{Cls, Mean};
use trine_inference::{
    DeviceChoice, Engine, EngineOptions, Graphs, Model, ModelError, ModelKind, PrecisionOption,
    View,
};
use trine_text::tokens::Encoded;

#[derive(Deserialize)]
struct Golden {
    models: Vec<Named>,
}

#[derive(Clone, Deserialize)]
struct Named {
    name: String,
    /// The folder's JSON files.
    files: BTreeMap<String, Value>,
    /// Names and shapes, in the order that their numbers come in.
    tensors: Vec<(String, Vec<usize>)>,
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
struct Case {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    output: Vec<f32>,
}

fn models() -> Vec<Named> {
    let text = fs::read(golden("named-models.json")).unwrap();
    serde_json::from_slice::<Golden>(&text).unwrap().models
}

fn named(name: &str) -> Named {
    models().into_iter().find(|model| model.name == name).unwrap()
}

/// SplitMix64 (Steele, Lea and Flood 2014), its upper 24 bits as a share of 2^24, less 0.5.
fn number(seed: u64, place: u64) -> f32 {
    let mut x = seed.wrapping_add((place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 40) as f32 / (1 << 24) as f32 - 0.5
}

impl Named {
    /// The model's folder.
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in &self.files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content.to_string()).unwrap();
        }
        let tensor = |(place, (name, shape)): (u64, &(String, Vec<usize>))| {
            let bytes: Vec<u8> = (0..shape.iter().product::<usize>() as u64)
                .map(|at| number(place << 32, at))
                .map(|x| if shape.len() == 1 { x / 2.0 } else { x })
                .map(|x| if name.ends_with("LayerNorm.weight") { x + 1.0 } else { x })
                .flat_map(f32::to_le_bytes)
                .collect();
            (name.clone(), shape.clone(), bytes)
        };
        let made: Vec<_> = (0..).zip(&self.tensors).map(tensor).collect();
        let views = made.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        folder
    }

    /// What the model makes of all cases in one call, a row a case.
    fn outputs(&self, model: Model) -> Vec<Vec<f32>> {
        let view = match model.info().kind {
            ModelKind::Encoder => View::SentenceEmbedding,
            ModelKind::CrossEncoder => View::CrossEncoder,
            ModelKind::Reader => View::Reader,
        };
        let mut graphs = Graphs::new();
        graphs.insert("model", Arc::new(model), view).unwrap();
        let (device, precision) = (DeviceChoice::Cpu, PrecisionOption::F32);
        let options = EngineOptions { device, precision, ..EngineOptions::default() };
        let encoded = |case: &Case| Encoded {
            ids: case.ids.clone(),
            type_ids: case.type_ids.clone(),
            truncated: 0,
        };
        let texts: Vec<Encoded> = self.cases.iter().map(encoded).collect();
        let engine = Engine::start(graphs, options).unwrap();
        let (_, dims, values) = only(engine.compute_blocking("model", inputs(&texts)).unwrap());
        assert_eq!(dims[0], texts.len());
        values.chunks(dims[1]).map(<[f32]>::to_vec).collect()
    }
}

#[test]
fn every_kind_computes_what_its_library_does() {
    let models = models();
    assert_eq!(models.len(), 5);
    for named in models {
        let folder = named.folder();
        let outputs = named.outputs(Model::open(folder.path()).unwrap());
        for (case, found) in named.cases.iter().zip(outputs) {
            assert_eq!(found.len(), case.output.len(), "{}", named.name);
            let largest = case.output.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            for (found, expected) in found.iter().zip(&case.output) {
                let off = (found - expected).abs() / largest;
                assert!(off < 2e-5, "{}: {found}, not {expected}", named.name);
            }
        }
    }
}

#[test]
fn what_a_model_is_comes_from_its_files() {
    for (name, kind, pooling, normalize, window) in [
        ("mean pooling, normalised", ModelKind::Encoder, Mean, true, 40),
        ("cls pooling", ModelKind::Encoder, Cls, false, 40),
        ("cross-encoder", ModelKind::CrossEncoder, Mean, false, 48),
        ("dpr question encoder", ModelKind::Encoder, Cls, false, 48),
        ("dpr context encoder", ModelKind::Encoder, Cls, false, 48),
    ] {
        let model = Model::open(named(name).folder().path()).unwrap();
        let info = model.info();
        let found = (info.kind, info.pooling, info.normalize, info.max_tokens);
        assert_eq!(found, (kind, pooling, normalize, window), "{name}");
    }
}

#[test]
fn a_file_may_say_how_dpr_is_pooled_and_how_long_texts_are() {
    let mut named = named("dpr question encoder");
    named.files.insert("1_Pooling/config.json".to_owned(), json!({ "pooling_mode": "mean" }));
    for (most, window) in [(json!(32), 32), (json!(1e30), 48), (json!(-1), 48), (json!(null), 48)] {
        named.files.insert("tokenizer_config.json".to_owned(), json!({ "model_max_length": most }));
        let model = Model::open(named.folder().path()).unwrap();
        assert_eq!((model.info().pooling, model.info().max_tokens), (Mean, window), "{most}");
    }
    named.files.insert("sentence_bert_config.json".to_owned(), json!({ "max_seq_length": 24 }));
    assert_eq!(Model::open(named.folder().path()).unwrap().info().max_tokens, 24);
}

#[test]
fn a_projection_is_refused() {
    let mut named = named("dpr context encoder");
    named.files.get_mut("config.json").unwrap()["projection_dim"] = json!(16);
    let error = Model::open(named.folder().path()).err().unwrap();
    let field = "projection_dim";
    assert!(matches!(error, ModelError::Unsupported { field: f, .. } if f == field), "{error}");
}
