//! Builds the guest components for wasm and encodes them, so that `cargo build` of the host is all
//! there is to build.

use std::fs;

use anyhow::Result;
use trine_build_guest::{Place, build, watch};

const GUESTS: [&str; 7] =
    ["gateway", "retriever", "reranker", "generator", "writer", "decoder", "searcher"];

/// What guests are made of.
const SOURCES: [&str; 12] = [
    "components/gateway",
    "components/retriever",
    "components/reranker",
    "components/generator",
    "components/writer",
    "components/decoder",
    "components/searcher",
    "components/guest-memory",
    "components/guest-nn",
    "components/index",
    "components/language",
    "components/text",
];

fn main() -> Result<()> {
    let place = Place::find()?;
    watch(&place.root, &SOURCES);
    println!("cargo::rerun-if-changed=build.rs");
    let components = place.target.join("components");
    fs::create_dir_all(&components)?;
    for (guest, component) in GUESTS.iter().zip(build(&place, &GUESTS)?) {
        let file = format!("{guest}.wasm");
        fs::write(place.out.join(&file), &component)?;
        // Where spin.toml names them, for hosts that read it from the checkout.
        fs::write(components.join(&file), &component)?;
    }
    Ok(())
}
