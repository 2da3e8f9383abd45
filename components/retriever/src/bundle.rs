//! What this component carries: filled once, snapshotted, then only read.

use std::cell::RefCell;
use std::error::Error;

use trine_guest_nn::bindings::trine::rag::types;
use trine_guest_nn::{Parts, SentenceEncoder};
use trine_index::setup::{self, RetrieverSetup};
use trine_index::{Index, MAX_TOP_K, Segment, SegmentReader, Vector};

/// Everything a request needs.
pub struct Bundle {
    /// The settings.
    pub setup: RetrieverSetup,
    /// The embedder.
    pub encoder: SentenceEncoder,
    /// The passages, and what finds them.
    pub index: Index,
}

/// What comes beside the base, which is loaded before the snapshot, and the delta, which is loaded
/// then or in an instance of the snapshot that has not answered yet.
const OTHERS: [&str; 3] = [setup::SETUP, setup::TOKENIZER, setup::REMOVED];
/// The parts of a base, and behind [`setup::DELTA`] of a delta.
const SEGMENT: [&str; 4] = [setup::GRAPH, setup::LEXICAL, setup::PASSAGES, setup::METADATA];

/// What is coming in.
#[derive(Default)]
struct Incoming {
    others: Parts,
    base: SegmentReader,
    delta: SegmentReader,
}

thread_local! {
    static INCOMING: RefCell<Incoming> = RefCell::default();
    static BUNDLE: RefCell<Option<Bundle>> = const { RefCell::new(None) };
}

/// Takes a chunk of a part.
pub fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
    INCOMING.with_borrow_mut(|Incoming { others, base, delta }| {
        let (segment, name) = match part.strip_prefix(setup::DELTA) {
            Some(name) => (delta, name),
            None => (base, part.as_str()),
        };
        match SEGMENT.contains(&name) {
            true => segment.push(name, &chunk).map_err(|error| error.to_string()),
            false => others.append(part, chunk, &OTHERS),
        }
    })
}

/// Turns the parts into a [`Bundle`], or lays a delta over the one there is.
pub fn finish() -> Result<(), Box<dyn Error>> {
    let Incoming { mut others, base, delta } = INCOMING.take();
    if others.has(setup::SETUP) || delta.is_empty() {
        BUNDLE.set(Some(Bundle::fill(&mut others, base.finish()?)?));
    }
    if !delta.is_empty() {
        BUNDLE.with_borrow_mut(|bundle| {
            let bundle = bundle.as_mut().ok_or("a delta without a base")?;
            bundle.lay_over(&mut others, delta.finish()?)
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
    fn fill(parts: &mut Parts, base: Segment) -> Result<Bundle, Box<dyn Error>> {
        let setup: RetrieverSetup = parts.take_setup()?;
        let encoder = SentenceEncoder {
            encoder: parts.take_encoder(setup.max_tokens)?,
            graph: setup.graph.clone(),
            pooling: setup.pooling,
        };
        // A first search takes the scratch memory that later ones reuse.
        base.graph.walk(&Vector::normalized(vec![1.0; base.dimensions()]), 1, MAX_TOP_K, None);
        Ok(Bundle { setup, encoder, index: Index::new(base) })
    }

    fn lay_over(&mut self, parts: &mut Parts, delta: Segment) -> Result<(), Box<dyn Error>> {
        let removed = match parts.has(setup::REMOVED) {
            true => postcard::from_bytes(&parts.take(setup::REMOVED)?)?,
            false => vec![],
        };
        Ok(self.index.lay_over(delta, removed)?)
    }
}
