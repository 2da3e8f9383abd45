//! The house's rules about who knows whom, read from the crates' manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

use crate::fixture::here;

fn root() -> &'static Path {
    here().parent().unwrap()
}

/// Each crate of `host/` and `components/`, by its name: the crates it depends on, in any way.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let folders = ["host", "components"].iter().flat_map(|folder| {
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path())
    });
    let manifests = folders.map(|folder| folder.join("Cargo.toml")).filter(|path| path.is_file());
    manifests.map(|path| read(&path)).collect()
}

fn read(path: &PathBuf) -> (String, BTreeSet<String>) {
    let manifest: Table = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let name = manifest["package"]["name"].as_str().unwrap().to_owned();
    let mut names = BTreeSet::new();
    let targets = manifest.get("target").and_then(|t| t.as_table()).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table()).chain([&manifest]);
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let listed = table.get(kind).and_then(|t| t.as_table()).into_iter().flatten();
            names.extend(listed.map(|(name, value)| {
                let renamed = value.get("package").and_then(|package| package.as_str());
                renamed.unwrap_or(name).to_owned()
            }));
        }
    }
    (name, names)
}

/// What a crate reaches through trine's own crates, itself left out.
fn reached(from: &str, all: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        for next in all.get(&name).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

#[test]
fn every_crate_is_read() {
    let all = dependencies();
    for name in ["kernels", "inference", "runtime", "node", "cli", "gateway", "retriever", "text"] {
        assert!(all[&format!("trine-{name}")].len() > 1, "{name}");
    }
}

#[test]
fn only_the_runtime_sees_wasmtime() {
    for (name, dependencies) in dependencies() {
        let wasmtime: Vec<_> = dependencies
            .iter()
            .filter(|d| d.starts_with("wasmtime") || *d == "wac-graph")
            .collect();
        assert_eq!(!wasmtime.is_empty(), name == "trine-runtime", "{name}: {wasmtime:?}");
    }
}

#[test]
fn only_the_kernels_see_the_gpu() {
    for (name, dependencies) in dependencies() {
        let gpu: Vec<_> = dependencies.iter().filter(|d| *d == "wgpu" || *d == "naga").collect();
        assert!(gpu.is_empty() || name == "trine-kernels", "{name}: {gpu:?}");
    }
}

#[test]
fn kernels_know_no_model() {
    let known = dependencies().remove("trine-kernels").unwrap();
    let models = ["tokenizers", "safetensors"];
    let wrong: Vec<_> =
        known.iter().filter(|d| d.starts_with("trine-") || models.contains(&d.as_str())).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn inference_knows_no_wasm() {
    let reached = reached("trine-inference", &dependencies());
    let wasm =
        |d: &&String| d.starts_with("wasm") || d.starts_with("wit-") || d.starts_with("wac-");
    assert_eq!(reached.iter().filter(wasm).count(), 0, "{reached:?}");
    let trine: Vec<&str> =
        reached.iter().map(String::as_str).filter(|d| d.starts_with("trine-")).collect();
    assert_eq!(trine, ["trine-kernels", "trine-language", "trine-text"]);
}

#[test]
fn guests_know_no_host() {
    let all = dependencies();
    let host: BTreeSet<String> = fs::read_dir(root().join("host"))
        .unwrap()
        .map(|e| read(&e.unwrap().path().join("Cargo.toml")).0)
        .collect();
    for guest in ["gateway", "retriever", "reranker", "generator", "writer", "decoder"] {
        let reached = reached(&format!("trine-{guest}"), &all);
        assert!(reached.is_disjoint(&host), "{guest}: {reached:?}");
    }
}

#[test]
fn every_source_opens_by_saying_what_it_is() {
    let mut open: Vec<PathBuf> =
        ["host", "components", "tests"].iter().map(|f| root().join(f)).collect();
    let mut read = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//! "), "{} opens without `//!`", path.display());
            read += 1;
        }
    }
    assert!(read > 100, "{read} sources");
}
