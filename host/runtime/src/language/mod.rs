//! Language models for guests: `trine:inference` over the host's generations, and logits for those that
//! have wasi:nn alone.

mod host;
mod logits;
mod models;

pub use host::{Completion, Session};
pub(crate) use host::{LanguageState, LanguageView};
pub use models::{LanguageModel, LanguageModels};
