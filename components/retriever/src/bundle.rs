//! What this component carries: filled once, snapshotted, then only read.

use std::cell::RefCell;

use trine_guest_nn::bindings::trine::rag::types::Error;
use trine_guest_nn::{Parts, SentenceEncoder};
use trine_index::setup::{self, RetrieverSetup};
use trine_index::{Graph, MAX_TOP_K, Passage, Vector};

/// Everything a request needs.
pub struct Bundle {
    /// The settings.
    pub setup: RetrieverSetup,
    /// The embedder.
    pub encoder: SentenceEncoder,
    /// The index.
    pub graph: Graph,
    /// The passages, by number.
    pub passages: Vec<Passage>,
}

thread_local! {
    static PARTS: RefCell<Parts> = const { RefCell::new(Parts::new()) };
    static PASSAGES: RefCell<Vec<Passage>> = const { RefCell::new(Vec::new()) };
    static BUNDLE: RefCell<Option<Bundle>> = const { RefCell::new(None) };
}

/// Takes a chunk of a part. Passages are parsed as they come, so that they are never held twice.
pub fn load(part: &str, chunk: &[u8]) -> Result<(), String> {
    if part == setup::PASSAGES {
        let passages: Vec<Passage> = postcard::from_bytes(chunk)
            .map_err(|e| format!("a chunk of passages cannot be read: {e}"))?;
        PASSAGES.with_borrow_mut(|all| all.extend(passages));
        return Ok(());
    }
    let known = [setup::SETUP, setup::TOKENIZER, setup::GRAPH, setup::PASSAGES];
    PARTS.with_borrow_mut(|parts| parts.append(part, chunk, &known))
}

/// Turns the parts into a [`Bundle`].
pub fn finish() -> Result<(), String> {
    let mut parts = PARTS.take();
    let passages = PASSAGES.take();
    let setup: RetrieverSetup = parts.take_setup()?;
    let encoder = SentenceEncoder {
        encoder: parts.take_encoder(setup.max_tokens)?,
        graph: setup.graph.clone(),
        pooling: setup.pooling,
    };
    let graph = Graph::from_bytes(&parts.take(setup::GRAPH)?).map_err(|e| e.to_string())?;
    if graph.len() != passages.len() {
        return Err(format!("{} vectors for {} passages", graph.len(), passages.len()));
    }
    // A first search takes the scratch memory that later ones reuse.
    graph.walk(&Vector::normalized(vec![1.0; graph.dimensions()]), 1, MAX_TOP_K);
    BUNDLE.set(Some(Bundle { setup, encoder, graph, passages }));
    Ok(())
}

/// Hands the bundle to a request.
pub fn with<T>(use_it: impl FnOnce(&Bundle) -> Result<T, Error>) -> Result<T, Error> {
    BUNDLE.with_borrow(|bundle| match bundle {
        Some(bundle) => use_it(bundle),
        None => Err(Error::NotInitialized("the retriever was given no index".to_owned())),
    })
}
