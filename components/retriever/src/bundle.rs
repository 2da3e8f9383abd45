//! What this component carries: filled once, snapshotted, then only read.

use std::cell::RefCell;
use std::error::Error;

use trine_guest_nn::bindings::trine::rag::types;
use trine_guest_nn::{Parts, SentenceEncoder};
use trine_index::setup::{self, RetrieverSetup};
use trine_index::{Index, MAX_TOP_K, Segment, Vector};

/// Everything a request needs.
pub struct Bundle {
    /// The settings.
    pub setup: RetrieverSetup,
    /// The embedder.
    pub encoder: SentenceEncoder,
    /// The passages, and what finds them.
    pub index: Index,
}

/// Before the snapshot, settings and a base; then, or in an instance of the snapshot that has not
/// answered yet, a delta.
const KNOWN: [&str; 11] = [
    setup::SETUP,
    setup::TOKENIZER,
    setup::GRAPH,
    setup::LEXICAL,
    setup::PASSAGES,
    setup::METADATA,
    "delta/graph",
    "delta/lexical",
    "delta/passages",
    "delta/metadata",
    setup::REMOVED,
];

thread_local! {
    static PARTS: RefCell<Parts> = const { RefCell::new(Parts::new()) };
    static BUNDLE: RefCell<Option<Bundle>> = const { RefCell::new(None) };
}

/// Takes a chunk of a part.
pub fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
    PARTS.with_borrow_mut(|parts| parts.append(part, chunk, &KNOWN))
}

/// Turns the parts into a [`Bundle`], or lays a delta over the one there is.
pub fn finish() -> Result<(), Box<dyn Error>> {
    let mut parts = PARTS.take();
    let delta = parts.has("delta/graph");
    if parts.has(setup::SETUP) || !delta {
        BUNDLE.set(Some(Bundle::fill(&mut parts)?));
    }
    if delta {
        BUNDLE.with_borrow_mut(|bundle| {
            bundle.as_mut().ok_or("a delta without a base")?.lay_over(&mut parts)
        })?;
    }
    Ok(())
}

/// Hands the bundle to a request.
pub fn with<T>(use_it: impl FnOnce(&Bundle) -> Result<T, types::Error>) -> Result<T, types::Error> {
    BUNDLE.with_borrow(|bundle| match bundle {
        Some(bundle) => use_it(bundle),
        None => Err(types::Error::NotInitialized("the retriever was given no index".to_owned())),
    })
}

impl Bundle {
    fn fill(parts: &mut Parts) -> Result<Bundle, Box<dyn Error>> {
        let setup: RetrieverSetup = parts.take_setup()?;
        let encoder = SentenceEncoder {
            encoder: parts.take_encoder(setup.max_tokens)?,
            graph: setup.graph.clone(),
            pooling: setup.pooling,
        };
        let base = segment(parts, "")?;
        // A first search takes the scratch memory that later ones reuse.
        base.graph.walk(&Vector::normalized(vec![1.0; base.dimensions()]), 1, MAX_TOP_K, None);
        Ok(Bundle { setup, encoder, index: Index::new(base) })
    }

    fn lay_over(&mut self, parts: &mut Parts) -> Result<(), Box<dyn Error>> {
        let removed = match parts.has(setup::REMOVED) {
            true => postcard::from_bytes(&parts.take(setup::REMOVED)?)?,
            false => vec![],
        };
        Ok(self.index.lay_over(segment(parts, setup::DELTA)?, removed)?)
    }
}

/// The segment whose parts' names begin with `prefix`.
fn segment(parts: &mut Parts, prefix: &str) -> Result<Segment, Box<dyn Error>> {
    Segment::from_parts(|part| Ok(parts.take(&format!("{prefix}{part}"))?))
}
