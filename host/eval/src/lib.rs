//! How good is a ranking, and how good an answer? Test collections in, metrics out, as trec_eval
//! and SQuAD count them.
//!
//! ```text
//! Collection (a BEIR folder) -> queries, documents, Qrels, questions
//! Run (query -> ranked documents) + Qrels -> evaluate -> Evaluation -> Report (one JSON object)
//! Runs + Qrels -> Comparison (intervals, differences) ┐
//! Outcomes of questions -> Answering                  ┴ Study -> JSON, or a page of HTML
//! ```
//!
//! Nothing here searches or answers: whoever calls this crate does.

mod answers;
mod bootstrap;
mod chart;
mod collection;
mod error;
mod latency;
mod lines;
mod metrics;
mod page;
mod qrels;
mod report;
mod run;
mod squad;
mod study;

pub use answers::{Answering, OperatingPoint, Outcome, auroc, operating_points};
pub use bootstrap::{Difference, Interval, RESAMPLES, Resamples};
pub use collection::{Answer, Collection, Document, Documents, Query, Question};
pub use error::{Error, Result};
pub use latency::Latency;
pub use metrics::{Evaluation, Metrics, evaluate, measure};
pub use qrels::{Judgements, Qrels};
pub use report::Report;
pub use run::{Hit, Run};
pub use squad::{Likeness, likeness, normalized};
pub use study::{Answered, Comparison, Loss, Measure, Measured, Mistake, Row, Study};
