//! A node's two jobs: a bundle built from documents, a bundle opened to answer.
//!
//! ```text
//! build: paths -> passages -> vectors -> graph -> snapshots -> FILE.trine
//! open:  FILE.trine -> models + components -> App
//! ```
//!
//! It joins the other crates and does nothing of its own that one of them could do.

mod about;
mod build;
mod error;
mod extract;
mod models;
mod open;
mod pairs;

pub use about::{About, Chunking, ModelRef};
pub use build::{BuildOptions, Built, Input, Step, build};
pub use error::NodeError;
pub use extract::extract;
pub use models::ModelStore;
pub use open::{Node, OpenOptions, open};
pub use pairs::pairs;

/// The manifest of the built-in application, as spin.toml at the repository's top has it.
pub const SPIN_TOML: &str = include_str!("../../../spin.toml");
