//! What the tests share: golden files, the real model where there is one, inputs.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use trine_inference::{Engine, EngineOptions, Graphs, Model, Tensor, View};
use trine_text::tokens::Encoded;

/// A file made by a script in `tests/golden`.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

/// The folder of all-MiniLM-L6-v2: TRINE_TEST_MODEL or the user's cache. Without one, a line says
/// that the test was skipped.
pub fn minilm() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let folder = std::env::var_os("TRINE_TEST_MODEL")
        .map(PathBuf::from)
        .or_else(|| Some(cache?.join("trine/models/all-MiniLM-L6-v2")))?;
    if !folder.join("model.safetensors").exists() {
        println!("skipped: no model in {}; set TRINE_TEST_MODEL", folder.display());
        return None;
    }
    Some(folder)
}

/// The tiny random cross-encoder's outputs by transformers.
#[derive(Deserialize)]
pub struct Tiny {
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
pub struct Case {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    pub logits: Vec<f32>,
}

impl Case {
    pub fn encoded(&self) -> Encoded {
        Encoded { ids: self.ids.clone(), type_ids: self.type_ids.clone(), truncated: 0 }
    }
}

pub fn tiny() -> Tiny {
    serde_json::from_slice(&std::fs::read(golden("tiny-cross-encoder/golden.json")).unwrap())
        .unwrap()
}

/// Copies the tiny model, its configuration changed by `edit`.
pub fn tiny_with(edit: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = golden("tiny-cross-encoder");
    let mut config =
        serde_json::from_slice(&std::fs::read(from.join("config.json")).unwrap()).unwrap();
    edit(&mut config);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let weights = "model.safetensors";
    std::fs::copy(from.join(weights), folder.path().join(weights)).unwrap();
    folder
}

/// The tiny model's encoder alone, with the pooling files of sentence-transformers.
pub fn tiny_encoder() -> Model {
    let folder = tiny_with(|config| config["architectures"] = serde_json::json!(["BertModel"]));
    Model::open(folder.path()).unwrap()
}

/// An engine of the tiny model under the names `cross`, `encoder` and `late`.
pub fn tiny_engine(options: EngineOptions) -> Engine {
    let mut graphs = Graphs::new();
    let encoder = Arc::new(tiny_encoder());
    let cross = Arc::new(Model::open(golden("tiny-cross-encoder")).unwrap());
    graphs.insert("encoder", encoder.clone(), View::Encoder).unwrap();
    graphs.insert("late", encoder, View::LateInteraction).unwrap();
    graphs.insert("cross", cross, View::CrossEncoder).unwrap();
    Engine::start(graphs, options).unwrap()
}

/// Rows as a right-padded rectangle: ids and mask.
pub fn rectangle(rows: &[&[u32]]) -> (Tensor, Tensor) {
    let width = rows.iter().map(|row| row.len()).max().unwrap();
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for row in rows {
        ids.extend(row.iter().map(|&id| i64::from(id)));
        mask.extend(row.iter().map(|_| 1));
        ids.resize(ids.len() + width - row.len(), 0);
        mask.resize(ids.len(), 0);
    }
    let dims = [rows.len(), width];
    (Tensor::i64(dims, ids), Tensor::i64(dims, mask))
}

/// The inputs of an encoder or cross-encoder for some texts.
pub fn inputs(texts: &[Encoded]) -> Vec<(String, Tensor)> {
    let (ids, mask) = rectangle(&texts.iter().map(|t| &t.ids[..]).collect::<Vec<_>>());
    let (types, _) = rectangle(&texts.iter().map(|t| &t.type_ids[..]).collect::<Vec<_>>());
    named([("input_ids", ids), ("attention_mask", mask), ("token_type_ids", types)])
}

/// The inputs of late interaction.
pub fn late_inputs(query: &[u32], passages: &[&[u32]]) -> Vec<(String, Tensor)> {
    let (query_ids, query_mask) = rectangle(&[query]);
    let (ids, mask) = rectangle(passages);
    named([
        ("query_input_ids", query_ids),
        ("query_attention_mask", query_mask),
        ("input_ids", ids),
        ("attention_mask", mask),
    ])
}

pub fn named<const N: usize>(tensors: [(&str, Tensor); N]) -> Vec<(String, Tensor)> {
    tensors.map(|(name, tensor)| (name.to_owned(), tensor)).to_vec()
}

/// The only output of a call: its name, shape and values.
pub fn only(outputs: Vec<(String, Tensor)>) -> (String, Vec<usize>, Vec<f32>) {
    let [(name, tensor)] = <[_; 1]>::try_from(outputs).unwrap();
    let values = tensor.as_f32().unwrap().to_vec();
    (name, tensor.dims, values)
}

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}
