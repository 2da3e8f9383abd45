//! The real all-MiniLM-L6-v2 against what sentence-transformers makes of the same 100 texts.

mod common;

use std::sync::Arc;

use base64::Engine as _;
use common::{bits, golden, inputs, late_inputs, minilm, only};
use serde::Deserialize;
use trine_inference::{
    DeviceChoice, Engine, EngineOptions, Graphs, Model, ModelKind, Pooling, PrecisionOption,
    Tensor, TensorData, View,
};
use trine_text::tokens::{Encoded, Encoder};

#[derive(Deserialize)]
struct Golden {
    texts: Vec<Text>,
    interactions: Vec<Interaction>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    embedding: String,
}

#[derive(Deserialize)]
struct Interaction {
    query: usize,
    passages: Vec<usize>,
    scores: Vec<f32>,
}

impl Text {
    fn embedding(&self) -> Vec<f32> {
        let bytes = base64::prelude::BASE64_STANDARD.decode(&self.embedding).unwrap();
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }
}

struct Setup {
    golden: Golden,
    encoded: Vec<Encoded>,
    engine: Engine,
}

fn setup() -> Option<Setup> {
    setup_at(PrecisionOption::F32)
}

fn setup_at(precision: PrecisionOption) -> Option<Setup> {
    let folder = minilm()?;
    let golden: Golden =
        serde_json::from_slice(&std::fs::read(golden("minilm.json")).unwrap()).unwrap();
    assert_eq!(golden.texts.len(), 100);
    let model = Arc::new(Model::open(&folder).unwrap());
    let tokenizer = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let encoder = Encoder::new(&tokenizer, model.info().max_tokens).unwrap();
    let encoded: Vec<Encoded> =
        golden.texts.iter().map(|t| encoder.encode(&t.text).unwrap()).collect();
    for (text, encoded) in golden.texts.iter().zip(&encoded) {
        assert_eq!(encoded.ids, text.ids, "{:?}", text.text);
    }
    let mut graphs = Graphs::new();
    graphs.insert("minilm", model.clone(), View::Encoder).unwrap();
    graphs.insert("pooled", model.clone(), View::SentenceEmbedding).unwrap();
    graphs.insert("late", model, View::LateInteraction).unwrap();
    // Precisions are the CPU's.
    let device = DeviceChoice::Cpu;
    let options = EngineOptions { device, precision, ..EngineOptions::default() };
    let engine = Engine::start(graphs, options).unwrap();
    Some(Setup { golden, encoded, engine })
}

#[test]
fn the_folder_says_what_the_model_is() {
    let Some(folder) = minilm() else { return };
    let model = Model::open(folder).unwrap();
    let info = model.info();
    assert_eq!((info.kind, info.hidden_size, info.labels), (ModelKind::Encoder, 384, 0));
    assert_eq!((info.max_tokens, info.max_positions, info.vocabulary), (256, 512, 30522));
    assert_eq!((info.pooling, info.normalize), (Pooling::Mean, true));
    // 22.7 million with the pooler, which an encoder does not use.
    assert_eq!(info.parameters, 22_713_216 - 384 * 385);
}

#[test]
fn embeddings_are_those_of_sentence_transformers() {
    let Some(Setup { golden, encoded, engine }) = setup() else {
        return;
    };
    let vectors = engine.embed_blocking("minilm", &encoded).unwrap();
    assert_eq!(vectors.len(), 100);
    let mut worst = 1.0f64;
    for (vector, text) in vectors.iter().zip(&golden.texts) {
        let expected = text.embedding();
        assert_eq!((vector.len(), expected.len()), (384, 384));
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let length = dot(vector, vector).sqrt();
        assert!((length - 1.0).abs() < 1e-6, "{:?} has length {length}", text.text);
        worst = worst.min(dot(vector, &expected) / length / dot(&expected, &expected).sqrt());
        // Both are f32 through six layers: elements of size 0.05 agree to some 1e-7.
        let error = vector.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 5e-6, "{:?}: off by {error}", text.text);
    }
    println!("smallest cosine with sentence-transformers: {worst:.9}");
    assert!(worst >= 0.9999, "{worst}");
}

/// The smallest and the mean cosine of 100 texts' embeddings with those of sentence-transformers.
fn cosines(precision: PrecisionOption) -> Option<(f64, f64)> {
    let Setup { golden, encoded, engine } = setup_at(precision)?;
    let vectors = engine.embed_blocking("minilm", &encoded).unwrap();
    let cosine = |(vector, text): (&Vec<f32>, &Text)| -> f64 {
        vector.iter().zip(text.embedding()).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
    };
    let cosines: Vec<f64> = vectors.iter().zip(&golden.texts).map(cosine).collect();
    let smallest = cosines.iter().copied().fold(1.0, f64::min);
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    println!("{precision:?}: smallest cosine {smallest:.6}, mean {mean:.6}");
    Some((smallest, mean))
}

#[test]
fn narrow_precisions_keep_an_embeddings_direction() {
    let Some((smallest, mean)) = cosines(PrecisionOption::Bf16) else { return };
    assert!(smallest >= 0.9995 && mean >= 0.9999, "bf16: {smallest} {mean}");
    let Some((smallest, mean)) = cosines(PrecisionOption::Int8) else { return };
    assert!(smallest >= 0.98 && mean >= 0.99, "int8: {smallest} {mean}");
    assert!(mean < 0.999_99, "nothing was rounded");
}

/// What `auto` may change at most: of neighbours in f32's order whose scores differ by more than
/// 0.01, at least 99 of 100 keep their order. By cosine, each text against all.
#[test]
fn auto_keeps_the_order_of_neighbours() {
    let scores = |precision: PrecisionOption| -> Option<Vec<Vec<f32>>> {
        let Setup { encoded, engine, .. } = setup_at(precision)?;
        let vectors = engine.embed_blocking("pooled", &encoded).unwrap();
        let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let row = |a: &Vec<f32>| vectors.iter().map(|b| cosine(a, b)).collect();
        Some(vectors.iter().map(row).collect())
    };
    let Some(exact) = scores(PrecisionOption::F32) else { return };
    // bf16 rounds the same wherever it computes; auto takes it only where it is fast.
    for precision in [PrecisionOption::Auto, PrecisionOption::Bf16] {
        let found = scores(precision).unwrap();
        let (mut kept, mut all) = (0, 0);
        for (exact, found) in exact.iter().zip(&found) {
            let mut order: Vec<usize> = (0..exact.len()).collect();
            order.sort_by(|&a, &b| exact[b].total_cmp(&exact[a]));
            for pair in order.windows(2).filter(|p| exact[p[0]] - exact[p[1]] > 0.01) {
                all += 1;
                kept += usize::from(found[pair[0]] > found[pair[1]]);
            }
        }
        println!("{precision:?}: {kept} of {all} neighbours keep their order");
        assert!(all >= 500 && kept * 100 >= all * 99, "{precision:?}: {kept} of {all}");
    }
}

#[test]
fn a_text_gives_the_same_bits_alone_and_in_a_batch_at_every_precision() {
    for precision in [PrecisionOption::Bf16, PrecisionOption::Int8, PrecisionOption::Auto] {
        let Some(Setup { encoded, engine, .. }) = setup_at(precision) else { return };
        let all = engine.embed_blocking("minilm", &encoded).unwrap();
        for i in [0, 20, 50, 70, 94, 99] {
            let alone = engine.embed_blocking("minilm", &encoded[i..=i]).unwrap();
            assert_eq!(bits(&alone[0]), bits(&all[i]), "{precision:?} text {i}");
        }
    }
}

#[test]
fn a_guests_sentence_embeddings_are_those_of_the_index() {
    let Some(Setup { encoded, engine, .. }) = setup() else {
        return;
    };
    let texts = &encoded[..7];
    let longest = texts.iter().map(|t| t.ids.len()).max().unwrap();
    let padded = |of: fn(&Encoded) -> Vec<i64>| {
        let rows = texts.iter().flat_map(|t| {
            let mut row = of(t);
            row.resize(longest, 0);
            row
        });
        Tensor { dims: vec![texts.len(), longest], data: TensorData::I64(rows.collect()) }
    };
    let inputs = vec![
        ("input_ids".to_owned(), padded(|t| t.ids.iter().map(|&id| i64::from(id)).collect())),
        ("attention_mask".to_owned(), padded(|t| vec![1; t.ids.len()])),
    ];
    let outputs = engine.compute_blocking("pooled", inputs).unwrap();
    let [(name, tensor)] = outputs.as_slice() else { panic!("{} outputs", outputs.len()) };
    assert_eq!((name.as_str(), &tensor.dims[..]), ("sentence_embedding", &[7, 384][..]));
    let expected = engine.embed_blocking("minilm", texts).unwrap().concat();
    assert_eq!(tensor.as_f32().unwrap(), expected, "the same bits");
}

#[test]
fn late_interaction_is_numpys() {
    let Some(Setup { golden, encoded, engine }) = setup() else {
        return;
    };
    for Interaction { query, passages, scores } in &golden.interactions {
        let texts: Vec<&[u32]> = passages.iter().map(|&p| &encoded[p].ids[..]).collect();
        let inputs = late_inputs(&encoded[*query].ids, &texts);
        let mut outputs = engine.compute_blocking("late", inputs).unwrap();
        let (name, vectors) = outputs.pop().unwrap();
        let texts: Vec<_> = passages.iter().map(|&p| encoded[p].clone()).collect();
        let expected = engine.embed_blocking("minilm", &texts).unwrap().concat();
        assert_eq!(
            (name.as_str(), vectors.as_f32().unwrap()),
            ("sentence_embedding", &expected[..])
        );
        let (name, dims, found) = only(outputs);
        assert_eq!((name.as_str(), dims), ("scores", vec![passages.len()]));
        for (found, expected) in found.iter().zip(scores) {
            assert!((found - expected).abs() < 5e-6, "{found}, not {expected}");
        }
    }
}

#[test]
fn a_text_gives_the_same_bits_alone_in_a_batch_and_through_tensors() {
    let Some(Setup { encoded, engine, .. }) = setup() else {
        return;
    };
    let all = engine.embed_blocking("minilm", &encoded).unwrap();
    for i in [0, 20, 50, 70, 88, 94, 99] {
        let alone = engine.embed_blocking("minilm", &encoded[i..=i]).unwrap();
        assert_eq!(bits(&alone[0]), bits(&all[i]), "text {i}");
    }
    let some = [0usize, 94, 24, 97];
    let texts: Vec<Encoded> = some.iter().map(|&i| encoded[i].clone()).collect();
    let (name, dims, hidden) = only(engine.compute_blocking("minilm", inputs(&texts)).unwrap());
    assert_eq!((name.as_str(), &dims[..]), ("last_hidden_state", &[4, 256, 384][..]));
    for (row, text) in hidden.chunks_exact(256 * 384).zip(&texts) {
        let alone = engine.compute_blocking("minilm", inputs(std::slice::from_ref(text))).unwrap();
        let (_, _, alone) = only(alone);
        let (live, padding) = row.split_at(text.ids.len() * 384);
        assert_eq!(bits(live), bits(&alone));
        assert!(padding.iter().all(|&x| x == 0.0));
    }
}
