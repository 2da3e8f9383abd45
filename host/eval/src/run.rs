//! A run: what a system found, best first; read from and written to TREC's run files.
//!
//! A line of the file is `query Q0 document rank score tag`. trec_eval ignores the rank: it sorts
//! by the score as a 32-bit float, highest first, and equal scores by document id, highest first.
//! So that every tool sees one order:
//!
//! * in memory the order of a ranking is the ranking, whatever its scores say;
//! * writing lowers a score, by the least step a float has, wherever it would not sort after the
//!   one before it;
//! * reading sorts by trec_eval's rule, so another system's file gets trec_eval's numbers.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::lines::Lines;
use crate::{Error, Result};

/// One document of a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The document's id.
    pub document: String,
    /// The system's score, higher is better.
    pub score: f32,
}

/// Query id -> its ranked documents, best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    rankings: BTreeMap<String, Vec<Hit>>,
}

impl Run {
    /// Sets a query's ranking, best first; the order given is kept. Empty means nothing was found.
    ///
    /// # Errors
    /// [`Error::Ranking`] where a document comes twice or a score is not finite.
    pub fn insert(
        &mut self,
        query: impl Into<String>,
        ranking: impl IntoIterator<Item = (String, f32)>,
    ) -> Result<()> {
        let query = query.into();
        let ranking: Vec<Hit> =
            ranking.into_iter().map(|(document, score)| Hit { document, score }).collect();
        if let Some(reason) = fault(&ranking) {
            return Err(Error::Ranking { query, reason });
        }
        self.rankings.insert(query, ranking);
        Ok(())
    }

    /// A query's ranking, best first; empty where the run has none.
    pub fn ranking(&self, query: &str) -> &[Hit] {
        self.rankings.get(query).map_or(&[], Vec::as_slice)
    }

    /// The number of queries.
    pub fn len(&self) -> usize {
        self.rankings.len()
    }

    /// Whether the run has no query.
    pub fn is_empty(&self) -> bool {
        self.rankings.is_empty()
    }

    /// Writes a TREC run file under `tag`, the system's name: whole, or not at all (to a temporary
    /// name beside `path`, synced, renamed). Queries without documents leave no line.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Ranking`] for an id or tag that is empty or has white space in it,
    /// which the format cannot hold.
    pub fn write(&self, path: &Path, tag: &str) -> Result<()> {
        self.check_names(tag)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = temporary(folder).map_err(Error::io(path))?;
        let mut out = BufWriter::new(file);
        self.write_lines(&mut out, tag).map_err(Error::io(path))?;
        let file = out.into_inner().map_err(|error| Error::io(path)(error.into_error()))?;
        file.as_file().sync_all().map_err(Error::io(path))?;
        file.persist(path).map_err(|error| Error::io(path)(error.error))?;
        Ok(())
    }

    fn write_lines(&self, out: &mut impl Write, tag: &str) -> std::io::Result<()> {
        for (query, ranking) in &self.rankings {
            let scores = falling(ranking.iter().map(|hit| hit.score));
            for ((rank, hit), score) in (1..).zip(ranking).zip(scores) {
                writeln!(out, "{query} Q0 {} {rank} {score:?} {tag}", hit.document)?;
            }
        }
        Ok(())
    }

    fn check_names(&self, tag: &str) -> Result<()> {
        let bad = |name: &str| name.is_empty() || name.contains(char::is_whitespace);
        for (query, ranking) in &self.rankings {
            let names = [query.as_str(), tag].into_iter();
            let mut names = names.chain(ranking.iter().map(|hit| hit.document.as_str()));
            if let Some(name) = names.find(|name| bad(name)) {
                return Err(Error::Ranking {
                    query: query.clone(),
                    reason: format!(
                        "{name:?} cannot stand in a run file: no white space, not empty"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Reads a TREC run file (a name ending in `.gz` through gzip), in trec_eval's order.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Line`] for another number of columns, a score that is no finite
    /// number; [`Error::Ranking`] for a document that a query lists twice.
    pub fn read(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let mut run = Self::default();
        while let Some(line) = lines.next()? {
            match parse_line(line) {
                Ok((query, hit)) => run.rankings.entry(query).or_default().push(hit),
                Err(reason) => return Err(lines.error(reason)),
            }
        }
        for (query, ranking) in &mut run.rankings {
            if let Some(reason) = fault(ranking) {
                let query = query.clone();
                return Err(Error::Ranking { query, reason });
            }
            // Scores are finite, so only -0.0 and 0.0 could part from C's order: add 0.0.
            ranking.sort_by(|a, b| {
                let by_score = (b.score + 0.0).total_cmp(&(a.score + 0.0));
                by_score.then_with(|| b.document.cmp(&a.document))
            });
        }
        Ok(run)
    }
}

/// Why these hits are not a ranking, if they are not.
fn fault(ranking: &[Hit]) -> Option<String> {
    let mut seen = HashSet::new();
    ranking.iter().find_map(|hit| {
        if !hit.score.is_finite() {
            Some(format!("the score of {:?} is {}", hit.document, hit.score))
        } else if !seen.insert(&hit.document) {
            Some(format!("document {:?} comes twice", hit.document))
        } else {
            None
        }
    })
}

/// The scores made to fall strictly: each as it is, or just below the one before it.
fn falling(scores: impl Iterator<Item = f32>) -> impl Iterator<Item = f32> {
    scores.scan(f32::INFINITY, |before, score| {
        *before = score.min(before.next_down());
        Some(*before)
    })
}

fn parse_line(line: &str) -> Result<(String, Hit), String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [query, _q0, document, _rank, score, _tag] = columns[..] else {
        return Err("expected six columns: query Q0 document rank score tag".into());
    };
    // Through a double, as C's atof and a cast to float do.
    let score = match score.parse::<f64>() {
        Ok(value) if (value as f32).is_finite() => value as f32,
        _ => return Err(format!("the score {score:?} is not a finite number")),
    };
    let document = document.to_owned();
    Ok((query.to_owned(), Hit { document, score }))
}

/// A temporary file with the permissions an ordinary new file gets, not the private ones.
fn temporary(folder: &Path) -> std::io::Result<NamedTempFile<File>> {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut builder = Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
