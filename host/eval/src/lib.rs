//! How good is a ranking? Test collections in, metrics out, as trec_eval counts them.
//!
//! ```text
//! Collection (a BEIR folder) -> queries, documents, Qrels
//! Run (query -> ranked documents) + Qrels -> evaluate -> Evaluation -> Report (one JSON object)
//! ```
//!
//! Nothing here searches: whoever calls this crate makes the [`Run`].

mod collection;
mod error;
mod lines;
mod metrics;
mod qrels;
mod report;
mod run;

pub use collection::{Answer, Collection, Document, Documents, Query, Question};
pub use error::{Error, Result};
pub use metrics::{Evaluation, Metrics, evaluate, measure};
pub use qrels::{Judgements, Qrels};
pub use report::Report;
pub use run::{Hit, Run};
