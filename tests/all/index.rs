//! The index, walked in wasm, against every passage compared.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::thread;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use trine_node::{BuildOptions, Chunking};

use crate::fixture::{Serving, build_options, index, limits, model, scratch, shared};

/// More than a scan of everything would be used for.
const RECORDS: usize = 3000;
const QUERIES: usize = 100;
const K: usize = 10;

#[test]
fn walking_the_graph_finds_what_a_scan_finds() {
    let (Some(_), Some(shared)) = (model(), shared()) else { return };
    let Ok(file) = File::open(shared.join("data/docs/tldr_pages.jsonl.gz")) else {
        println!("skipped: the shared documents hold no tldr_pages.jsonl.gz");
        return;
    };
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    let records: Vec<String> = lines.take(RECORDS).map(Result::unwrap).collect();
    assert_eq!(records.len(), RECORDS);

    let folder = scratch().join("records");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("records.jsonl");
    let mut out = File::create(&path).unwrap();
    for record in &records {
        writeln!(out, "{record}").unwrap();
    }
    drop(out);
    let options = BuildOptions { chunking: Chunking::Whole, ..build_options() };
    let bundle = index("records.trine", &[path], &options);
    let server = Serving::start(&bundle, limits());
    assert_eq!(server.get("/health").ok()["passages"], RECORDS);

    let queries: Vec<String> =
        records.iter().step_by(RECORDS / QUERIES).map(|record| description(record)).collect();
    let found: Vec<usize> = thread::scope(|scope| {
        let halves: Vec<_> = queries
            .chunks(QUERIES / 4)
            .map(|some| scope.spawn(|| some.iter().map(|q| in_both(&server, q)).sum::<usize>()))
            .collect();
        halves.into_iter().map(|half| half.join().unwrap()).collect()
    });
    let recall = found.iter().sum::<usize>() as f64 / (queries.len() * K) as f64;
    println!("recall@{K} {recall:.4} over {} queries, {RECORDS} passages", queries.len());
    assert!(queries.len() >= QUERIES && recall >= 0.99, "recall@{K} is {recall}");
    server.join();
}

/// What a page says that its command does.
fn description(record: &str) -> String {
    let record: Value = serde_json::from_str(record).unwrap();
    let text = record["text"].as_str().unwrap();
    let quoted = text.lines().find_map(|line| line.strip_prefix("> "));
    quoted.unwrap_or_else(|| record["title"].as_str().unwrap()).to_owned()
}

/// How many of the nearest passages the walk found.
fn in_both(server: &Serving, query: &str) -> usize {
    let nearest = |exact: bool| -> Vec<Value> {
        let body = json!({ "query": query, "mode": "dense", "top_k": K, "exact": exact });
        let reply = server.post("/v1/retrieve", &body).ok();
        reply["candidates"].as_array().unwrap().clone()
    };
    let (walked, scanned) = (nearest(false), nearest(true));
    assert_eq!((walked.len(), scanned.len()), (K, K));
    let ids: HashSet<u64> = scanned.iter().map(|c| c["id"].as_u64().unwrap()).collect();
    // A passage as near as the last one is as good as that one.
    let last = scanned[K - 1]["retrieval_score"].as_f64().unwrap();
    let good = |c: &&Value| {
        ids.contains(&c["id"].as_u64().unwrap()) || c["retrieval_score"].as_f64().unwrap() >= last
    };
    walked.iter().filter(good).count()
}
