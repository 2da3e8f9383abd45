//! What this component carries: filled once, snapshotted, then only read.

use std::cell::RefCell;
use std::error::Error;

use trine_guest_nn::bindings::trine::rag::types;
use trine_guest_nn::{Parts, SentenceEncoder};
use trine_index::setup::{self, RetrieverSetup};
use trine_index::{MAX_TOP_K, Segment, Vector};

/// Everything a request needs.
pub struct Bundle {
    /// The settings.
    pub setup: RetrieverSetup,
    /// The embedder.
    pub encoder: SentenceEncoder,
    /// The index.
    pub segment: Segment,
}

thread_local! {
    static PARTS: RefCell<Parts> = const { RefCell::new(Parts::new()) };
    static BUNDLE: RefCell<Option<Bundle>> = const { RefCell::new(None) };
}

/// Takes a chunk of a part.
pub fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
    let known = [setup::SETUP, setup::TOKENIZER, setup::GRAPH, setup::LEXICAL, setup::PASSAGES];
    PARTS.with_borrow_mut(|parts| parts.append(part, chunk, &known))
}

/// Turns the parts into a [`Bundle`].
pub fn finish() -> Result<(), Box<dyn Error>> {
    let mut parts = PARTS.take();
    let setup: RetrieverSetup = parts.take_setup()?;
    let encoder = SentenceEncoder {
        encoder: parts.take_encoder(setup.max_tokens)?,
        graph: setup.graph.clone(),
        pooling: setup.pooling,
    };
    let segment = Segment::from_parts(|part| parts.take(part).map_err(Box::<dyn Error>::from))?;
    // A first search takes the scratch memory that later ones reuse.
    segment.graph.walk(
        &Vector::normalized(vec![1.0; segment.graph.dimensions()]),
        1,
        MAX_TOP_K,
        None,
    );
    BUNDLE.set(Some(Bundle { setup, encoder, segment }));
    Ok(())
}

/// Hands the bundle to a request.
pub fn with<T>(use_it: impl FnOnce(&Bundle) -> Result<T, types::Error>) -> Result<T, types::Error> {
    BUNDLE.with_borrow(|bundle| match bundle {
        Some(bundle) => use_it(bundle),
        None => Err(types::Error::NotInitialized("the retriever was given no index".to_owned())),
    })
}
