//! Pairs a second and the latency of one query:
//! `cargo run --release -p trine-inference --example throughput -- FOLDER [THREADS]`.

use std::sync::Arc;
use std::time::Instant;

use trine_inference::{Engine, EngineOptions, Graphs, Model, View};
use trine_text::tokens::Encoded;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: throughput FOLDER [THREADS]")?;
    let threads = arguments.next().map_or(Ok(0), |t| t.parse())?;
    let mut graphs = Graphs::new();
    graphs.insert("model", Arc::new(Model::open(folder)?), View::Encoder)?;
    let engine = Engine::start(graphs, EngineOptions { threads, ..EngineOptions::default() })?;
    println!("{}", engine.devices().collect::<Vec<_>>().join(", "));
    for (texts, tokens) in [(50, 128), (50, 256), (1, 16)] {
        let ids = (0..tokens).map(|i| 1000 + i * 7 % 5000).collect();
        let text = Encoded { ids, type_ids: vec![0; tokens as usize], truncated: 0 };
        let batch = vec![text; texts];
        let repeats = if texts == 1 { 200 } else { 10 };
        let mut seconds = Vec::new();
        for _ in 0..repeats {
            let start = Instant::now();
            engine.embed_blocking("model", &batch)?;
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
