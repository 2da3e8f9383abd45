//! What an evaluation prints: one JSON object on one line.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Error, Evaluation, Metrics, Result};

/// The metrics, how many queries and documents they stand for, and what the caller adds.
///
/// ```
/// use trine_eval::{Metrics, Report};
///
/// let report = Report::new(Metrics::default(), 225, 955).with("retriever", "hybrid")?;
/// assert!(report.to_json().contains(r#""retriever":"hybrid""#));
/// # Ok::<(), trine_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The means over the queries.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// The number of queries that the means are over.
    pub queries: usize,
    /// The number of documents searched.
    pub documents: usize,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Report {
    /// A report of `metrics` over `queries` queries, searched among `documents` documents.
    pub fn new(metrics: Metrics, queries: usize, documents: usize) -> Self {
        Self { metrics, queries, documents, extra: Map::new() }
    }

    /// A report of the means of `evaluation`, made by a search among `documents` documents.
    pub fn of(evaluation: &Evaluation, documents: usize) -> Self {
        Self::new(evaluation.mean, evaluation.per_query.len(), documents)
    }

    /// Adds a field.
    ///
    /// # Errors
    /// [`Error::Field`] where the report has the field already, or `value` has no JSON form.
    pub fn with(mut self, field: &str, value: impl Serialize) -> Result<Self> {
        let refuse = |reason: String| Error::Field { field: field.to_owned(), reason };
        if self.to_value().get(field).is_some() {
            return Err(refuse("is in the report already".into()));
        }
        let value = serde_json::to_value(value).map_err(|error| refuse(error.to_string()))?;
        self.extra.insert(field.to_owned(), value);
        Ok(self)
    }

    /// The report on one line, without a line end.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    /// The report as a JSON object.
    pub fn to_value(&self) -> Value {
        // Numbers, names and values that are JSON already: this cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}
