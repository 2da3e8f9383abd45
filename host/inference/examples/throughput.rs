//! Texts or pairs a second, and the latency of one short text:
//! `cargo run --release -p trine-inference --example throughput -- FOLDER [THREADS]
//! [--precision auto|f32|bf16|int8]`. A cross-encoder's folder is asked for logits, any other for
//! embeddings.

use std::sync::Arc;
use std::time::Instant;

use trine_inference::{Engine, EngineOptions, Graphs, Model, ModelKind, Tensor, View};
use trine_text::tokens::Encoded;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "usage: throughput FOLDER [THREADS] [--precision auto|f32|bf16|int8]";
    let mut options = EngineOptions::default();
    let mut plain = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--precision" => options.precision = arguments.next().ok_or(usage)?.parse()?,
            _ => plain.push(argument),
        }
    }
    options.threads = plain.get(1).map_or(Ok(0), |threads| threads.parse())?;
    let model = Model::open(plain.first().ok_or(usage)?)?;
    let kind = model.info().kind;
    let view = match kind {
        ModelKind::Encoder => View::Encoder,
        ModelKind::CrossEncoder => View::CrossEncoder,
        ModelKind::Reader => View::Reader,
    };
    let mut graphs = Graphs::new();
    graphs.insert("model", Arc::new(model), view)?;
    let engine = Engine::start(graphs, options)?;
    println!("{}", engine.devices().collect::<Vec<_>>().join(", "));
    for (texts, tokens) in [(50, 128), (50, 256), (1, 16)] {
        let run = || match kind {
            ModelKind::Encoder => {
                let ids = (0..tokens).map(|i| (1000 + i * 7 % 5000) as u32).collect();
                let text = Encoded { ids, type_ids: vec![0; tokens], truncated: 0 };
                engine.embed_blocking("model", &vec![text; texts]).map(drop)
            }
            ModelKind::CrossEncoder | ModelKind::Reader => {
                let ids = (0..texts * tokens).map(|i| (1000 + i * 7 % 5000) as i64).collect();
                let inputs = vec![
                    ("input_ids".to_owned(), Tensor::i64([texts, tokens], ids)),
                    (
                        "attention_mask".to_owned(),
                        Tensor::i64([texts, tokens], vec![1; texts * tokens]),
                    ),
                ];
                engine.compute_blocking("model", inputs).map(drop)
            }
        };
        let repeats = if texts == 1 { 200 } else { 10 };
        let mut seconds = Vec::new();
        for _ in 0..repeats {
            let start = Instant::now();
            run()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let (median, best) = (seconds[repeats / 2], seconds[0]);
        println!(
            "{texts} x {tokens} tokens: {:.1} texts/s (best {:.1}), {:.2} ms a batch",
            texts as f64 / median,
            texts as f64 / best,
            median * 1e3
        );
    }
    Ok(())
}
