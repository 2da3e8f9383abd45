//! The decoder: `trine:inference` on top of wasi:nn, for hosts that have nothing else.
//!
//! wasi:nn computes the logits after some tokens, as exported models do; what stands around that is
//! here: the tokenizer and the template that the component was filled with, sampling, and streams of
//! text. There is no cache: each token is computed from the whole text, so it is slow, and the tokens
//! are the same.

mod completion;
mod session;

use std::cell::RefCell;

use trine_guest_memory::{Heaps, sealed};
use trine_guest_nn::Parts;
use trine_index::setup;
use trine_language::{DecoderSetup, TextTokenizer};

use bindings::exports::trine::inference::generation::{Description, Guest as Generation};
use bindings::exports::trine::rag::snapshot::Guest as Snapshot;

#[global_allocator]
static ALLOCATOR: Heaps = Heaps;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trine:rag/decoder-component",
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

/// What the component carries.
struct Model {
    setup: DecoderSetup,
    tokenizer: TextTokenizer,
}

thread_local! {
    static PARTS: RefCell<Parts> = const { RefCell::new(Parts::new()) };
    static MODEL: RefCell<Option<Model>> = const { RefCell::new(None) };
}

/// Something of the model; `None` where the component was not filled.
fn with_model<T>(work: impl FnOnce(&Model) -> T) -> Option<T> {
    MODEL.with_borrow(|model| model.as_ref().map(work))
}

struct Component;

impl Snapshot for Component {
    fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
        PARTS.with_borrow_mut(|parts| parts.append(part, chunk, &[setup::SETUP, setup::TOKENIZER]))
    }

    fn finish() -> Result<(), String> {
        let mut parts = PARTS.take();
        let setup: DecoderSetup = parts.take_setup()?;
        let tokenizer = TextTokenizer::parse(&parts.take(setup::TOKENIZER)?);
        let tokenizer = tokenizer.map_err(|error| format!("tokenizer: {error}"))?;
        MODEL.set(Some(Model { setup, tokenizer }));
        sealed();
        Ok(())
    }
}

impl Generation for Component {
    type Session = session::Session;
    type Completion = completion::Completion;

    fn models() -> Vec<Description> {
        with_model(Model::describe).into_iter().collect()
    }
}

impl Model {
    fn describe(&self) -> Description {
        Description {
            name: self.setup.model.clone(),
            context: self.setup.context,
            chat: self.setup.template.is_some(),
        }
    }
}

bindings::export!(Component with_types_in bindings);
