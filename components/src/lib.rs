//! The guest components, as bytes: built for wasm by `build.rs`, carried by the binary.
//!
//! They are the components as written, before any snapshot: `trine index` fills them.

/// One built-in component.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// Its file name, as spin.toml names it.
    pub file: &'static str,
    /// The encoded component.
    pub bytes: &'static [u8],
}

macro_rules! component {
    ($file:literal) => {
        Component { file: $file, bytes: include_bytes!(concat!(env!("OUT_DIR"), "/", $file)) }
    };
}

/// Those of the built-in application.
pub const ALL: [Component; 4] = [
    component!("gateway.wasm"),
    component!("retriever.wasm"),
    component!("reranker.wasm"),
    component!("generator.wasm"),
];

/// A language model in front of the generator; where a host has none, an application is whole without it.
pub const WRITER: Component = component!("writer.wasm");

/// Language models for the writer, on a host that has wasi:nn alone; filled with one of them.
pub const DECODER: Component = component!("decoder.wasm");

/// The index alone, for measurements: no part of an application.
pub const SEARCHER: Component = component!("searcher.wasm");

/// The built-in component of that file name.
pub fn by_file(file: &str) -> Option<&'static [u8]> {
    ALL.iter().find(|c| c.file == file).map(|c| c.bytes)
}
