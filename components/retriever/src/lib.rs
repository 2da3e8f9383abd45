//! The retriever: a query becomes a vector, the vector becomes passages.
//!
//! The query is tokenized here, embedded by wasi:nn, pooled and compared here; the index, the
//! passages and the tokenizer were put in place before the snapshot. It imports nothing else.

mod bundle;

use bundle::Bundle;
use trine_guest_nn::{Embedding, memory};

#[global_allocator]
static ALLOCATOR: memory::ZeroOnFree = memory::ZeroOnFree;

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
use trine_guest_nn::bindings::trine::rag::types::{Candidate, Error, Passage};
use trine_index::{Hit, MAX_TOP_K};

struct Component;

impl Snapshot for Component {
    fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
        bundle::load(part, chunk)
    }

    fn finish() -> Result<(), String> {
        bundle::finish().map_err(|e| e.to_string())?;
        memory::sealed();
        Ok(())
    }
}

impl Retriever for Component {
    fn retrieve(query: String, options: RetrievalOptions) -> Result<Retrieval, Error> {
        let k = options.top_k as usize;
        if k == 0 || k > MAX_TOP_K {
            return Err(Error::InvalidInput(format!("top_k is {k}; it may be 1 to {MAX_TOP_K}")));
        }
        if query.trim().is_empty() {
            return Err(Error::InvalidInput("the query is empty".to_owned()));
        }
        bundle::with(|bundle| {
            let embedding = embed(bundle, &query)?;
            let hits = match options.exact {
                true => bundle.segment.graph.scan(&embedding.vector, k, None),
                false => bundle.segment.graph.search(&embedding.vector, k, None),
            };
            let candidates = hits.iter().filter_map(|hit| candidate(bundle, hit)).collect();
            Ok(Retrieval {
                candidates,
                truncated_tokens: embedding.truncated,
                parts: vec![],
                corrections: vec![],
            })
        })
    }

    fn around(_passage: u32, _surroundings: Surroundings) -> Result<Vec<Passage>, Error> {
        Ok(vec![])
    }

    fn describe() -> Result<Description, Error> {
        bundle::with(|bundle| {
            Ok(Description {
                passages: bundle.segment.len() as u32,
                documents: bundle.setup.documents,
                model: bundle.setup.model.clone(),
                dimensions: bundle.segment.graph.dimensions() as u32,
            })
        })
    }
}

/// The query's vector, of the length that the index holds.
fn embed(bundle: &Bundle, query: &str) -> Result<Embedding, Error> {
    let embedding = bundle.encoder.embed(&[query])?.pop();
    let embedding =
        embedding.ok_or_else(|| Error::Inference("the model returned no row".to_owned()))?;
    let (got, wanted) = (embedding.vector.dimensions(), bundle.segment.graph.dimensions());
    if got != wanted {
        let model = &bundle.setup.model;
        return Err(Error::Inference(format!(
            "`{model}` returned {got} dimensions, the index has {wanted}: it was built with \
             another model"
        )));
    }
    Ok(embedding)
}

fn candidate(bundle: &Bundle, hit: &Hit) -> Option<Candidate> {
    let passage = bundle.segment.passages.get(hit.passage)?;
    Some(Candidate {
        passage: Passage {
            id: hit.passage,
            source: passage.source,
            title: passage.title,
            headings: passage.headings,
            text: passage.text,
            media_type: passage.media_type.as_str().to_owned(),
            start: passage.start,
            end: passage.end,
        },
        score: hit.score,
        dense_score: Some(hit.score),
        lexical_score: None,
        highlights: vec![],
    })
}

bindings::export!(Component with_types_in bindings);
