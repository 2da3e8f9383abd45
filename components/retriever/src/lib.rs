//! The retriever: a query becomes words and a vector, those become passages.
//!
//! The query is read and tokenized here, embedded by wasi:nn, compared here; the index, the
//! passages and the tokenizer were put in place before the snapshot. It imports nothing else.

mod bundle;
mod request;

use trine_guest_memory::{Heaps, sealed};

#[global_allocator]
static ALLOCATOR: Heaps = Heaps;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trine:rag/retriever-component",
        with: {
            "trine:rag/types@0.1.0": trine_guest_nn::bindings::trine::rag::types,
            "wasi:nn/errors@0.2.0-rc-2024-10-28": trine_guest_nn::bindings::wasi::nn::errors,
            "wasi:nn/tensor@0.2.0-rc-2024-10-28": trine_guest_nn::bindings::wasi::nn::tensor,
            "wasi:nn/graph@0.2.0-rc-2024-10-28": trine_guest_nn::bindings::wasi::nn::graph,
            "wasi:nn/inference@0.2.0-rc-2024-10-28": trine_guest_nn::bindings::wasi::nn::inference,
        },
        generate_all,
    });
}

use bindings::exports::trine::rag::retriever::{
    Description, Guest as Retriever, Retrieval, RetrievalOptions, Surroundings,
};
use bindings::exports::trine::rag::snapshot::Guest as Snapshot;
use trine_guest_nn::bindings::trine::rag::types::{Error, Passage};

struct Component;

impl Snapshot for Component {
    fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
        bundle::load(part, chunk)
    }

    fn finish() -> Result<(), String> {
        bundle::finish().map_err(|error| error.to_string())?;
        sealed();
        Ok(())
    }
}

impl Retriever for Component {
    fn retrieve(query: String, options: RetrievalOptions) -> Result<Retrieval, Error> {
        request::check(&query, &options)?;
        bundle::with(|bundle| request::retrieve(bundle, &query, &options))
    }

    fn around(passage: u32, surroundings: Surroundings) -> Result<Vec<Passage>, Error> {
        bundle::with(|bundle| request::around(bundle, passage, surroundings))
    }

    fn describe() -> Result<Description, Error> {
        bundle::with(|bundle| {
            let (added, removed) = bundle.index.documents_changed();
            Ok(Description {
                passages: bundle.index.len() as u32,
                documents: (bundle.setup.documents + added).saturating_sub(removed),
                model: bundle.setup.model.clone(),
                dimensions: bundle.index.dimensions() as u32,
            })
        })
    }
}

bindings::export!(Component with_types_in bindings);
