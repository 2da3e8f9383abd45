//! What the built components import and export, held against the contracts.

use std::collections::BTreeSet;

use trine_components::{ALL, DECODER, WRITER, by_file};
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldId};

use crate::fixture::here;

/// The world of a component, as it was encoded.
fn world(component: &[u8]) -> (Resolve, WorldId) {
    match wit_component::decode(component).unwrap() {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => panic!("a package of WIT, not a component"),
    }
}

/// What a component asks of its host.
pub fn imports(component: &[u8]) -> BTreeSet<String> {
    let (resolve, world) = world(component);
    resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect()
}

fn exports(component: &[u8]) -> BTreeSet<String> {
    let (resolve, world) = world(component);
    resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key)).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn the_stages_import_wasi_nn_and_types_and_nothing_else() {
    for stage in ["retriever", "reranker", "generator"] {
        let component = by_file(&format!("{stage}.wasm")).unwrap();
        let allowed =
            |name: &String| name.starts_with("wasi:nn/") || name == "trine:rag/types@0.1.0";
        let imported = imports(component);
        assert!(imported.iter().all(allowed), "{stage} imports {imported:?}");
        assert!(imported.contains("wasi:nn/inference@0.2.0-rc-2024-10-28"), "{stage}");
        let expected = [format!("trine:rag/{stage}@0.1.0"), "trine:rag/snapshot@0.1.0".to_owned()];
        assert_eq!(exports(component), expected.into_iter().collect());
    }
}

/// It takes everything but the language model from the stages that stand already.
#[test]
fn the_writer_imports_language_models_and_two_stages() {
    let imported = imports(WRITER.bytes);
    let expected = [
        "trine:inference/generation@0.1.0",
        "trine:rag/generator@0.1.0",
        "trine:rag/reranker@0.1.0",
        "trine:rag/types@0.1.0",
    ];
    assert_eq!(imported, set(&expected));
    assert_eq!(exports(WRITER.bytes), set(&["trine:rag/generator@0.1.0"]));
}

/// On a host without language models, the decoder drives one through wasi:nn for it.
#[test]
fn the_writer_needs_wasi_nn_alone() {
    assert_eq!(
        exports(DECODER.bytes),
        set(&["trine:inference/generation@0.1.0", "trine:rag/snapshot@0.1.0"])
    );
    let stages = ["reranker.wasm", "generator.wasm"].map(|file| (file, by_file(file).unwrap()));
    let plugs = [stages[0], stages[1], (DECODER.file, DECODER.bytes)];
    let writer = trine_runtime::compose(WRITER.bytes, &plugs).unwrap();
    let imported = imports(&writer);
    let allowed = |name: &String| name.starts_with("wasi:nn/") || name == "trine:rag/types@0.1.0";
    assert!(imported.iter().all(allowed), "{imported:?}");
    assert_eq!(exports(&writer), set(&["trine:rag/generator@0.1.0"]));
}

#[test]
fn the_gateway_imports_the_stages_and_what_a_service_needs() {
    let gateway = by_file("gateway.wasm").unwrap();
    let imported = imports(gateway);
    let allowed = set(&[
        "spin:variables/variables@3.0.0",
        "trine:rag/generator@0.1.0",
        "trine:rag/reranker@0.1.0",
        "trine:rag/retriever@0.1.0",
        "trine:rag/types@0.1.0",
        "wasi:clocks/monotonic-clock@0.3.0",
        "wasi:clocks/system-clock@0.3.0",
        "wasi:clocks/types@0.3.0",
        "wasi:http/types@0.3.0",
    ]);
    assert!(imported.is_subset(&allowed), "{:?}", imported.difference(&allowed));
    for stage in ["retriever", "reranker", "generator"] {
        assert!(imported.contains(&format!("trine:rag/{stage}@0.1.0")));
    }
    assert_eq!(exports(gateway), set(&["wasi:http/handler@0.3.0"]));
}

/// As a host would check it that knows the WIT files alone.
#[test]
fn each_component_fits_its_world() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(here().parent().unwrap().join("wit")).unwrap();
    for (file, name) in [
        ("gateway.wasm", "gateway"),
        ("retriever.wasm", "retriever-component"),
        ("reranker.wasm", "reranker-component"),
        ("generator.wasm", "generator-component"),
        ("writer.wasm", "writer-component"),
        ("decoder.wasm", "decoder-component"),
    ] {
        let world = resolve.select_world(&[package], Some(name)).unwrap();
        let beside = [WRITER, DECODER].into_iter().find(|component| component.file == file);
        let component = by_file(file).or(beside.map(|component| component.bytes)).unwrap();
        let fits = wit_component::targets(&resolve, world, component, false);
        fits.unwrap_or_else(|e| panic!("{file} does not fit world {name}: {e:?}"));
    }
    let retriever = resolve.select_world(&[package], Some("retriever-component")).unwrap();
    let gateway = by_file("gateway.wasm").unwrap();
    assert!(wit_component::targets(&resolve, retriever, gateway, false).is_err());
    assert_eq!(ALL.len(), 4);
}
