//! The GPU's answers beside the CPU's: the real model, real texts, through the engine and through
//! wasm guests. On the first adapter of this machine, be it software.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::thread;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use trine_inference::gpu::{Adapter, GpuOptions, Storage};
use trine_inference::{Engine, EngineOptions, Graphs, Model, Tensor, View};
use trine_text::tokens::{Encoded, Encoder};

use crate::fixture::{engine, gpu, model, shared};
use crate::tensors::{ids, servers};

const TEXTS: usize = 500;

/// The first texts of real documents that are 12 to 59 tokens long.
fn texts(encoder: &Encoder) -> Option<Vec<Encoded>> {
    let path = shared()?.join("data/docs/tldr_pages.jsonl.gz");
    let Ok(file) = File::open(&path) else {
        println!("skipped: the shared documents hold no tldr_pages.jsonl.gz");
        return None;
    };
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    let page = |line: std::io::Result<String>| -> String {
        let page: Value = serde_json::from_str(&line.unwrap()).unwrap();
        page["text"].as_str().unwrap().split("\n\n").take(3).collect::<Vec<_>>().join(" ")
    };
    let texts = lines.map(|line| encoder.encode(&page(line)).unwrap());
    let found: Vec<_> = texts.filter(|t| (12..60).contains(&t.ids.len())).take(TEXTS).collect();
    assert_eq!(found.len(), TEXTS);
    Some(found)
}

fn start(model: &Arc<Model>, options: EngineOptions) -> Engine {
    let mut graphs = Graphs::new();
    graphs.insert("pooled", model.clone(), View::SentenceEmbedding).unwrap();
    graphs.insert("late", model.clone(), View::LateInteraction).unwrap();
    Engine::start(graphs, options).unwrap()
}

/// Scores of passages by late interaction.
fn scores(engine: &Engine, query: &Encoded, passages: &[Encoded]) -> Vec<f32> {
    let width = passages.iter().map(|p| p.ids.len()).max().unwrap();
    let row = |text: &Encoded, width: usize| {
        let mut ids: Vec<i64> = text.ids.iter().map(|&id| i64::from(id)).collect();
        let mut mask = vec![1; ids.len()];
        ids.resize(width, 0);
        mask.resize(width, 0);
        (ids, mask)
    };
    let (query_ids, query_mask) = row(query, query.ids.len());
    let (ids, mask): (Vec<_>, Vec<_>) = passages.iter().map(|p| row(p, width)).unzip();
    let (query_dims, dims) = ([1, query.ids.len()], [passages.len(), width]);
    let inputs = [
        ("query_input_ids", Tensor::i64(query_dims, query_ids)),
        ("query_attention_mask", Tensor::i64(query_dims, query_mask)),
        ("input_ids", Tensor::i64(dims, ids.concat())),
        ("attention_mask", Tensor::i64(dims, mask.concat())),
    ];
    let inputs = inputs.map(|(name, tensor)| (name.to_owned(), tensor)).to_vec();
    let outputs = engine.compute_blocking("late", inputs).unwrap();
    outputs[0].1.as_f32().unwrap().to_vec()
}

#[test]
fn embeddings_and_orders_are_the_cpus() {
    let (Some(folder), Some(device)) = (model(), gpu()) else { return };
    let model = Arc::new(Model::open(folder).unwrap());
    let tokenizer = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let Some(texts) = texts(&Encoder::new(&tokenizer, 256).unwrap()) else { return };
    let cpu = start(&model, engine());
    let expected = cpu.embed_blocking("pooled", &texts).unwrap();
    let sets: Vec<_> = texts.chunks_exact(50).take(4).collect();
    let ranked: Vec<Vec<f32>> = sets.iter().map(|s| scores(&cpu, &s[0], &s[1..])).collect();
    let f16 = Adapter::all()[0].has_f16().then_some((Storage::F16, 0.9995));
    for (storage, least) in [(Storage::F32, 0.9999)].into_iter().chain(f16) {
        let options = GpuOptions { storage: Some(storage), ..GpuOptions::default() };
        let gpu = start(&model, EngineOptions { device, gpu: options, ..engine() });
        println!("{}", gpu.devices().collect::<String>());
        let found = gpu.embed_blocking("pooled", &texts).unwrap();
        let cosine =
            |(a, b): (&Vec<f32>, &Vec<f32>)| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let worst = found.iter().zip(&expected).map(cosine).fold(1.0, f32::min);
        println!("{storage}: the smallest cosine of {TEXTS} texts is {worst}");
        assert!(worst >= least, "{storage}: {worst}");

        // Neighbours in the CPU's order whose scores differ by more than 0.01 keep their order.
        let (mut kept, mut all) = (0, 0);
        for (set, scored) in sets.iter().zip(&ranked) {
            let found = scores(&gpu, &set[0], &set[1..]);
            let mut order: Vec<usize> = (0..scored.len()).collect();
            order.sort_by(|&a, &b| scored[b].total_cmp(&scored[a]));
            for pair in order.windows(2).filter(|p| scored[p[0]] - scored[p[1]] > 0.01) {
                all += 1;
                kept += usize::from(found[pair[0]] > found[pair[1]]);
            }
        }
        println!("{storage}: {kept} of {all} neighbours keep their order");
        assert!(all >= 10 && kept * 100 >= all * 99, "{storage}: {kept} of {all}");
    }
}

/// A text alone and among the texts of 50 other calls, which guests make at the same time: the
/// same bits, on every device. A kernel sums each row in one order whatever lies beside it.
#[test]
fn a_texts_vector_does_not_depend_on_its_batch() {
    for server in servers() {
        let text: Vec<i64> = [101].into_iter().chain(2000..2020).chain([102]).collect();
        let vectors = |call: usize| -> Vec<Value> {
            // The text between others, of other lengths, at another place in each call.
            let rows: Vec<Vec<i64>> = (0..1 + call % 4)
                .map(|row| match row == call % 3 || call.is_multiple_of(4) {
                    true => text.clone(),
                    false => (0..1 + (call * 7 + row) as i64 % 40).map(|id| 3000 + id).collect(),
                })
                .collect();
            let width = rows.iter().map(Vec::len).max().unwrap();
            let padded = |of: fn(&i64) -> i64| -> Vec<i64> {
                let fill = |row: &Vec<i64>| {
                    let mut values: Vec<i64> = row.iter().map(of).collect();
                    values.resize(width, 0);
                    values
                };
                rows.iter().flat_map(fill).collect()
            };
            let dims = [rows.len() as u64, width as u64];
            let inputs = [
                ids("input_ids", &dims, &padded(|id| *id)),
                ids("attention_mask", &dims, &padded(|_| 1)),
            ];
            let graph = "all-MiniLM-L6-v2/sentence-embedding";
            let call = json!({ "graph": graph, "inputs": inputs, "values": true });
            let reply = server.post("/misbehave/compute", &call).ok();
            let bits = reply["outputs"][0]["bits"].as_array().unwrap_or_else(|| panic!("{reply}"));
            let own = rows.iter().zip(bits.chunks_exact(384)).filter(|(row, _)| **row == text);
            own.map(|(_, bits)| Value::from(bits.to_vec())).collect()
        };
        let alone = vectors(0);
        assert_eq!(alone.len(), 1);
        let together: Vec<Value> = thread::scope(|scope| {
            let calls: Vec<_> = (1..=50).map(|call| scope.spawn(move || vectors(call))).collect();
            calls.into_iter().flat_map(|call| call.join().unwrap()).collect()
        });
        assert!(together.len() >= 25, "{}", together.len());
        assert!(together.iter().all(|vector| *vector == alone[0]));
    }
}
