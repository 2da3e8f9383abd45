//! Language models for guests: `trine:inference` over the host's generations.

mod host;
mod models;

pub use host::{Completion, Session};
pub(crate) use host::{LanguageState, LanguageView};
pub use models::{LanguageModel, LanguageModels};
