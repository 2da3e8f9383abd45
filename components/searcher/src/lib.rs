//! The index alone in a component: `trine bench index` measures with it what a search costs in
//! wasm. It is filled and snapshotted as the retriever is, and searches with the same code.

use std::cell::RefCell;

use trine_guest_nn::{Parts, memory};
use trine_index::{Bitmap, Graph, Hit, Vector, setup};

#[global_allocator]
static ALLOCATOR: memory::ZeroOnFree = memory::ZeroOnFree;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package trine:bench;

            world searcher {
                export trine:rag/snapshot@0.1.0;
                export search: func(query: list<f32>, k: u32, ef: u32) -> list<tuple<u32, f32>>;
                export admit: func(passages: list<u32>);
                export search-admitted: func(query: list<f32>, k: u32) -> list<tuple<u32, f32>>;
            }
        ",
        world: "trine:bench/searcher",
    });
}

thread_local! {
    static PARTS: RefCell<Parts> = const { RefCell::new(Parts::new()) };
    static GRAPH: RefCell<Option<Graph>> = const { RefCell::new(None) };
    /// None admits all.
    static ADMITTED: RefCell<Option<Bitmap>> = const { RefCell::new(None) };
}

struct Component;

impl bindings::exports::trine::rag::snapshot::Guest for Component {
    fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
        PARTS.with_borrow_mut(|parts| parts.append(part, chunk, &[setup::GRAPH]))
    }

    fn finish() -> Result<(), String> {
        let bytes = PARTS.take().take(setup::GRAPH)?;
        GRAPH.set(Some(Graph::from_bytes(&bytes).map_err(|e| e.to_string())?));
        drop(bytes);
        memory::sealed();
        Ok(())
    }
}

impl bindings::Guest for Component {
    /// The `k` passages nearest to `query`, a unit vector, and their scores; none before there is
    /// an index.
    fn search(query: Vec<f32>, k: u32, ef: u32) -> Vec<(u32, f32)> {
        with_graph(|graph| graph.walk(&Vector::normalized(query), k as usize, ef as usize, None))
    }

    /// What [`Component::search_admitted`] may find from now on.
    fn admit(passages: Vec<u32>) {
        GRAPH.with_borrow(|graph| {
            let mut admitted = Bitmap::none(graph.as_ref().map_or(0, Graph::len));
            passages.into_iter().for_each(|passage| admitted.insert(passage));
            ADMITTED.set(Some(admitted));
        });
    }

    /// Like [`Component::search`], as the retriever searches, of the passages that are admitted.
    fn search_admitted(query: Vec<f32>, k: u32) -> Vec<(u32, f32)> {
        ADMITTED.with_borrow(|admitted| {
            let query = Vector::normalized(query);
            with_graph(|graph| graph.search(&query, k as usize, admitted.as_ref()))
        })
    }
}

fn with_graph(search: impl FnOnce(&Graph) -> Vec<Hit>) -> Vec<(u32, f32)> {
    GRAPH.with_borrow(|graph| {
        let hits = graph.as_ref().map(search).unwrap_or_default();
        hits.iter().map(|hit| (hit.passage, hit.score)).collect()
    })
}

bindings::export!(Component with_types_in bindings);
