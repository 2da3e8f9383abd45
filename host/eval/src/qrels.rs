//! Relevance judgements ("qrels"): which documents answer a query, and how well.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::lines::Lines;
use crate::{Error, Result};

/// One query's judgements: document id -> score. 1 or more is relevant; 0, negative and absent
/// are not.
pub type Judgements = HashMap<String, i32>;

/// The judgements of a collection, by query id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Qrels {
    queries: BTreeMap<String, Judgements>,
}

impl Qrels {
    /// Reads BEIR's tab-separated form: a header line, then `query-id`, `corpus-id`, `score`.
    ///
    /// # Errors
    /// [`Error::Line`] for a missing header (a first line whose score is a number would
    /// otherwise be lost), another number of columns, a score that is no integer, or a document
    /// judged twice with different scores.
    pub fn read(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let mut qrels = Self::default();
        let mut header = true;
        while let Some(line) = lines.next()? {
            if std::mem::take(&mut header) {
                if parse_row(line).is_ok() {
                    return Err(lines.error(
                        "this is a judgement; the first line must be the header \
                         query-id <tab> corpus-id <tab> score",
                    ));
                }
                continue;
            }
            let added = parse_row(line).and_then(|(query, document, score)| {
                let added = qrels.insert(query, document, score);
                added.map_err(|error| error.to_string())
            });
            added.map_err(|reason| lines.error(reason))?;
        }
        Ok(qrels)
    }

    /// Adds one judgement.
    ///
    /// # Errors
    /// [`Error::Ranking`] where the pair was judged before with another score.
    pub fn insert(&mut self, query: &str, document: &str, score: i32) -> Result<()> {
        let judgements = self.queries.entry(query.to_owned()).or_default();
        match judgements.entry(document.to_owned()) {
            Entry::Vacant(free) => {
                free.insert(score);
                Ok(())
            }
            Entry::Occupied(old) if *old.get() == score => Ok(()),
            Entry::Occupied(old) => Err(Error::Ranking {
                query: query.to_owned(),
                reason: format!("{document:?} is judged {score}, and {} before", old.get()),
            }),
        }
    }

    /// One query's judgements.
    pub fn get(&self, query: &str) -> Option<&Judgements> {
        self.queries.get(query)
    }

    /// The judgements of these queries alone.
    pub fn only<'a>(&self, queries: impl IntoIterator<Item = &'a str>) -> Self {
        let judged = |id: &str| Some((id.to_owned(), self.queries.get(id)?.clone()));
        Self { queries: queries.into_iter().filter_map(judged).collect() }
    }

    /// Every query with its judgements, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Judgements)> {
        self.queries.iter().map(|(id, docs)| (id.as_str(), docs))
    }

    /// The number of queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether there is no judgement at all.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }
}

fn parse_row(line: &str) -> Result<(&str, &str, i32), String> {
    let mut columns = line.split('\t');
    let (Some(query), Some(document), Some(score), None) =
        (columns.next(), columns.next(), columns.next(), columns.next())
    else {
        return Err("expected three tab-separated columns: query-id, corpus-id, score".into());
    };
    let score =
        score.trim().parse().map_err(|_| format!("the score {score:?} is not an integer"))?;
    Ok((query, document, score))
}
