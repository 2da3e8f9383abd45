//! wasi:nn for guests, and what a snapshotted guest needs of its surroundings.
//!
//! [`Graph`] is a model by name, [`SentenceEncoder`] one that turns texts into vectors,
//! [`spans`] one that reads answers;
//! [`Parts`] gathers what a component is given before its snapshot. It knows no component's business.

mod entropy;
mod nn;
mod parts;
mod sentence;
pub mod spans;

/// The generated bindings of world `models`; components map their own imports onto them.
#[allow(missing_docs, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trine:rag/models",
        generate_all,
    });
}

pub use nn::{Graph, NnError, Outputs, Tensor};
pub use parts::Parts;
pub use sentence::{Embedding, SentenceEncoder};
