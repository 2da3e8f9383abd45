//! What the first stage is asked, as requests say it.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::bindings::trine::rag::retriever::{Fusion, Mode, RetrievalOptions, Surroundings};
use crate::fields::{Fields, refused};
use crate::problem::Problem;
use crate::request::MOST;

/// Passages before and after one.
const MOST_NEIGHBOURS: u32 = 10;
/// Passages that a section is cut to.
pub const LONGEST_SECTION: u32 = 20;

/// What the first stage is asked, whichever route asks it.
#[derive(Clone, Debug)]
pub struct Search {
    /// The question.
    pub query: String,
    /// Candidates to fetch; the application's default when absent.
    pub top_k: Option<u32>,
    /// What belongs to each passage that is kept.
    pub context: Option<Surroundings>,
    /// The rest, with 0 for `top-k`.
    options: RetrievalOptions,
}

impl Search {
    /// Reads the fields beside the query.
    pub fn read(fields: &mut Fields, query: String) -> Result<Search, Problem> {
        // Whether an answer may be one given before: the server's to say, which keeps them.
        is_auto(fields, "cache")?;
        Ok(Search {
            query,
            top_k: fields.number("top_k", 1..=MOST)?,
            context: read_context(fields)?,
            options: RetrievalOptions {
                top_k: 0,
                mode: read_mode(fields)?,
                fusion: read_fusion(fields)?,
                exact: fields.take("exact", "true or false")?.unwrap_or(false),
                filter: read_filter(fields)?,
                diversity: fields.number("diversity", 0.0..=1.0)?,
                per_document: fields.number("per_document", 1..=MOST)?,
                decompose: is_auto(fields, "decompose")?,
                spelling: is_auto(fields, "spelling")?,
                highlight: false,
            },
        })
    }

    /// The retriever's options, where `top_k` is what is fetched unless the request says.
    pub fn options(&self, top_k: u32, highlight: bool) -> RetrievalOptions {
        let top_k = self.top_k.unwrap_or(top_k);
        RetrievalOptions { top_k, highlight, ..self.options.clone() }
    }
}

fn read_mode(fields: &mut Fields) -> Result<Mode, Problem> {
    Ok(match fields.word("mode", &["hybrid", "dense", "lexical"])? {
        Some(1) => Mode::Dense,
        Some(2) => Mode::Lexical,
        _ => Mode::Hybrid,
    })
}

/// `"weighted"`, or `{"reciprocal_rank": 60}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FusionField {
    Weighted,
    ReciprocalRank(f32),
}

fn read_fusion(fields: &mut Fields) -> Result<Fusion, Problem> {
    let allowed = "\"weighted\" or {\"reciprocal_rank\": k} with k greater than 0";
    match fields.take("fusion", allowed)? {
        None | Some(FusionField::Weighted) => Ok(Fusion::Weighted),
        Some(FusionField::ReciprocalRank(k)) if k > 0.0 && k.is_finite() => {
            Ok(Fusion::ReciprocalRank(k))
        }
        Some(FusionField::ReciprocalRank(k)) => Err(refused("reciprocal_rank", k, "above 0")),
    }
}

/// `{"neighbours": 2}`, or `"section"`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ContextField {
    Neighbours(u32),
    Section,
}

fn read_context(fields: &mut Fields) -> Result<Option<Surroundings>, Problem> {
    let allowed =
        format!("\"section\" or {{\"neighbours\": n}} with n from 1 to {MOST_NEIGHBOURS}");
    match fields.take("context", &allowed)? {
        None => Ok(None),
        Some(ContextField::Section) => Ok(Some(Surroundings::Section(LONGEST_SECTION))),
        Some(ContextField::Neighbours(n @ 1..=MOST_NEIGHBOURS)) => {
            Ok(Some(Surroundings::Neighbours(n)))
        }
        Some(ContextField::Neighbours(n)) => {
            Err(refused("neighbours", n, format!("1 to {MOST_NEIGHBOURS}")))
        }
    }
}

/// A condition, which the retriever reads: as text, in its own order of names.
fn read_filter(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let filter = fields.take::<Map<String, Value>>("filter", "a JSON object")?;
    Ok(filter.map(|filter| Value::Object(filter).to_string()))
}

fn is_auto(fields: &mut Fields, name: &'static str) -> Result<bool, Problem> {
    Ok(fields.word(name, &["auto", "off"])? != Some(1))
}
