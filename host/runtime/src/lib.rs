//! The wasm host: snapshots, composition, requests under limits, HTTP, wasi:nn.
//!
//! A bundle's components become one application: [`snapshot`] fills a component and freezes it,
//! [`manifest`] reads spin.toml, `compose` plugs components together into a [`Program`], [`App`]
//! answers each request with a fresh instance of it, [`server`] puts a [`Site`] of them behind HTTP. Tensor work leaves through wasi:nn to
//! `trine_inference`, and so do language models' through trine:inference. Only this crate sees wasmtime.

mod app;
mod bindings;
mod cache;
mod compiled;
mod compose;
mod engine;
mod error;
mod fill;
mod language;
mod limits;
pub mod manifest;
mod metrics;
mod nn;
mod parts;
mod program;
mod response;
mod searcher;
pub mod server;
mod site;
pub mod snapshot;
mod split;
mod state;
mod variables;

pub use app::{App, AppOptions, Session};
pub use cache::CacheOptions;
pub use compose::compose;
pub use error::RuntimeError;
pub use language::{LanguageModel, LanguageModels};
pub use limits::Limits;
pub use metrics::Metrics;
pub use parts::{Contents, Preparing, Source};
pub use program::{Program, prepare};
pub use response::Body;
pub use searcher::Searcher;
pub use site::Site;
