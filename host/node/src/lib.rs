//! A node's jobs: a bundle built from documents, kept up to date with them, opened to answer.
//!
//! ```text
//! build:  paths -> passages -> vectors -> base -> FILE.trine
//! change: paths -> what is new, different or gone -> delta -> FILE.trine
//! open:   FILE.trine -> models + components filled with the base -> App
//! follow: FILE.trine, changed -> Program
//! ```
//!
//! It joins the other crates and does nothing of its own that one of them could do.

mod about;
mod application;
mod build;
mod edit;
mod embed;
mod error;
mod extract;
mod follow;
mod language;
pub mod living;
mod models;
mod open;
mod pairs;
mod parts;
mod resume;
mod update;

pub use about::{ABOUT, About, Chunking, ModelRef, RETRIEVER_SETUP};
pub use build::{BuildOptions, Built, Input, Step, assemble, build};
pub use edit::{Committed, Edit, Folding, fold};
pub use error::NodeError;
pub use extract::extract;
pub use follow::{Follower, News};
pub use language::LanguageModel;
pub use models::ModelStore;
pub use open::{Node, OpenOptions, open, open_all, prepare};
pub use pairs::pairs;
pub use resume::work_path;
pub use trine_corpus::{Progress, Report};
pub use trine_index::Precision;
pub use trine_index::lexical::{Bm25, Language, LexicalOptions};
pub use update::{Change, Changed, Keeper, KeeperOptions, stamp};

/// The manifest of the built-in application, as spin.toml at the repository's top has it.
pub const SPIN_TOML: &str = include_str!("../../../spin.toml");
