//! What an evaluation was made with, on what: all that one needs to make it again.

use serde_json::{Map, Value, json};
use trine_node::{ModelRef, Node};

use crate::args::{Common, Eval};

pub fn of(node: &Node, args: &Eval, common: &Common) -> Map<String, Value> {
    let about = &node.about;
    let settings = json!({
        "trine": env!("CARGO_PKG_VERSION"),
        "bundle": node.digest,
        "bundle made by trine": about.trine,
        "documents": about.documents,
        "passages": about.passages,
        "embedder": model(&about.embedder),
        "reranker": model(&about.reranker),
        "scoring": about.scoring,
        "generator": model(&about.generator),
        "fusion": args.fusion.json(),
        "no_fuse": args.no_fuse,
        "exact": args.exact,
        "top_n": args.top_n,
        "device": common.device.to_string(),
        "precision": format!("{:?}", common.precision.here()).to_lowercase(),
        "machine": machine(common),
    });
    settings.as_object().cloned().unwrap_or_default()
}

/// A model's name and the digest of its weights.
fn model(model: &ModelRef) -> String {
    let weights = model.sha256.get("model.safetensors").map_or("", String::as_str);
    format!("{} (weights sha256:{weights})", model.name)
}

fn machine(common: &Common) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processor = name.map_or(std::env::consts::ARCH, |(_, name)| name);
    let instructions = trine_inference::cpu_instructions();
    let (threads, system) = (common.threads(), std::env::consts::OS);
    format!("{processor}, {threads} threads, {instructions}, {system}")
}
