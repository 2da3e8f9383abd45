//! Filling a component and freezing it: what it was given becomes its initial memory.
//!
//! wasmtime-wizer runs the component once, through its own `trine:rag/snapshot` export, and writes
//! a component whose data segments are the memory it then has. An instance of that starts by
//! mapping those pages, copy-on-write, and parses nothing.

use std::borrow::Cow;

use wasmtime::Store;
use wasmtime::component::{Component, Linker};
use wasmtime_wizer::{WasmtimeWizerComponent, Wizer};

use crate::RuntimeError;
use crate::bindings::preparable::Preparable;
use crate::engine;

/// A chunk of a part: small against a snapshot, large against a call's cost.
pub(crate) const CHUNK: usize = 1 << 20;

/// One part for a component, under the name it knows it by.
pub struct Part<'a> {
    name: &'a str,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Part<'a> {
    /// A part and its bytes, which are let go of once the component has them.
    pub fn bytes(name: &'a str, bytes: impl Into<Cow<'a, [u8]>>) -> Part<'a> {
        Part { name, bytes: bytes.into() }
    }

    pub(crate) fn name(&self) -> &str {
        self.name
    }

    pub(crate) fn contents(&self) -> &[u8] {
        &self.bytes
    }
}

/// The component `wasm`, called `name` in errors, with `parts` in its memory.
pub fn snapshot(name: &str, wasm: &[u8], parts: Vec<Part<'_>>) -> Result<Vec<u8>, RuntimeError> {
    filled(name, wasm, &mut parts.into_iter().map(Ok))
}

/// The same with parts that come one by one, so that no more than one is held beside the guest.
pub fn filled<E: From<RuntimeError>>(
    name: &str,
    wasm: &[u8],
    parts: &mut dyn Iterator<Item = Result<Part<'_>, E>>,
) -> Result<Vec<u8>, E> {
    let failed = |error: wasmtime::Error| RuntimeError::Snapshot {
        component: name.to_owned(),
        reason: format!("{error:#}"),
    };
    let mut failure = None;
    let mut whole = parts.map_while(|part| part.map_err(|error| failure = Some(error)).ok());
    // wasmtime calls guests asynchronously; nothing here waits for anything but them.
    let frozen = futures::executor::block_on(fill_and_freeze(wasm, &mut whole));
    match failure {
        Some(error) => Err(error),
        None => Ok(frozen.map_err(failed)?),
    }
}

async fn fill_and_freeze(
    wasm: &[u8],
    parts: &mut dyn Iterator<Item = Part<'_>>,
) -> wasmtime::Result<Vec<u8>> {
    let wizer = {
        let mut wizer = Wizer::new();
        // There is no init function to remove: parts come in through ordinary exports.
        wizer.keep_init_func(true);
        wizer
    };
    let (context, instrumented) = wizer.instrument_component(wasm)?;
    let engine = engine::preparing()?;
    let component = Component::new(&engine, &instrumented)?;
    let mut linker: Linker<()> = Linker::new(&engine);
    // Nothing may be called while a component is filled: no model, no clock, no network.
    linker.define_unknown_imports_as_traps(&component)?;
    let mut store = Store::new(&engine, ());
    // The snapshot lifts whole memories; the default bound is meant for guests' own calls.
    store.set_hostcall_fuel(usize::MAX);
    let instance = linker.instantiate_async(&mut store, &component).await?;
    let exports = Preparable::new(&mut store, &instance)?;
    let guest = exports.trine_rag_snapshot();
    for part in parts {
        for chunk in part.bytes.chunks(CHUNK) {
            guest.call_load(&mut store, part.name, chunk).await?.map_err(wasmtime::Error::msg)?;
        }
    }
    guest.call_finish(&mut store).await?.map_err(wasmtime::Error::msg)?;
    let mut filled = WasmtimeWizerComponent { store: &mut store, instance };
    wizer.snapshot_component(&context, &mut filled).await
}
