//! The index alone in a component: `trine bench index` measures with it what a search costs in
//! wasm. It is filled and snapshotted as the retriever is, and searches with the same code.

use std::cell::RefCell;

use trine_guest_memory::{Heaps, sealed};
use trine_index::lexical::Bm25;
use trine_index::{
    Admitted, Bitmap, Fusion, Graph, GraphReader, Hit, Index, Likeness, SearchOptions,
    SegmentReader, Vector, setup,
};

#[global_allocator]
static ALLOCATOR: Heaps = Heaps;

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
                export search-whole: func(query: list<f32>, words: string, k: u32) -> list<u32>;
            }
        ",
        world: "trine:bench/searcher",
    });
}

thread_local! {
    static READERS: RefCell<(GraphReader, SegmentReader)> = RefCell::default();
    static GRAPH: RefCell<Option<Graph>> = const { RefCell::new(None) };
    static INDEX: RefCell<Option<Index>> = const { RefCell::new(None) };
    /// None admits all.
    static ADMITTED: RefCell<Option<Bitmap>> = const { RefCell::new(None) };
}

struct Component;

impl bindings::exports::trine::rag::snapshot::Guest for Component {
    /// A graph alone, or behind `whole/` the parts of a segment.
    fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
        READERS.with_borrow_mut(|(graph, segment)| {
            let pushed = match part.strip_prefix("whole/") {
                Some(part) => segment.push(part, &chunk),
                None if part == setup::GRAPH => graph.push(&chunk),
                None => return Err(format!("no part is called `{part}`")),
            };
            pushed.map_err(|error| error.to_string())
        })
    }

    fn finish() -> Result<(), String> {
        let (graph, segment) = READERS.take();
        if !graph.is_empty() {
            GRAPH.set(Some(graph.finish().map_err(|e| e.to_string())?));
        }
        if !segment.is_empty() {
            INDEX.set(Some(Index::new(segment.finish().map_err(|e| e.to_string())?)));
        }
        sealed();
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

    /// The `k` passages of a whole segment that are most like `query`, `words`, or both: what is
    /// empty is not compared.
    fn search_whole(query: Vec<f32>, words: String, k: u32) -> Vec<u32> {
        let vector = Vector::normalized(query);
        let likeness = match (vector.dimensions(), words.as_str()) {
            (0, words) => Likeness::Lexical(words),
            (_, "") => Likeness::Dense(&vector),
            (_, words) => Likeness::Hybrid(&vector, words, Fusion::Weighted),
        };
        let options = SearchOptions {
            k: k as usize,
            exact: false,
            bm25: Bm25::default(),
            admitted: Admitted::default(),
            per_document: None,
            diversity: None,
        };
        INDEX.with_borrow(|index| {
            let found = index.as_ref().map(|index| index.search(&[likeness], &options));
            found.unwrap_or_default().iter().map(|found| found.passage).collect()
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
