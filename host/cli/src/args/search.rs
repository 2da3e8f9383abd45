//! Flags of `trine ask` and `trine search`, and what both send.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Map, Value, json};

/// Exit status 0: answered; 3: nothing in the documents answers; 1: an error.
#[derive(Debug, ClapArgs)]
pub struct Ask {
    /// The bundle.
    #[arg(value_name = "FILE.trine")]
    pub bundle: PathBuf,
    /// The question.
    pub question: String,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub options: SearchOptions,
    /// Passages to keep after reranking [default: 5].
    #[arg(long, value_name = "N")]
    pub top_n: Option<u32>,
    /// Ranks by the reranker's scores alone, without the retriever's.
    #[arg(long)]
    pub no_fuse: bool,
    /// Sentences the answer may have [default: 3].
    #[arg(long, value_name = "N")]
    pub max_sentences: Option<u32>,
    /// Tokens that a language model may write [default: 512].
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// Evidence, 0 to 1, under which there is no answer.
    #[arg(long, value_name = "X", value_parser = share)]
    pub threshold: Option<f32>,
}

/// Exit status 0: something was found; 3: nothing was; 1: an error.
#[derive(Debug, ClapArgs)]
pub struct Search {
    /// The bundle.
    #[arg(value_name = "FILE.trine")]
    pub bundle: PathBuf,
    /// What to look for.
    pub query: String,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub options: SearchOptions,
    /// Bytes that are shown of a passage.
    #[arg(long, default_value_t = 240, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub snippet: u32,
}

/// What the retriever is asked.
#[derive(Debug, ClapArgs)]
pub struct SearchOptions {
    /// Candidates to retrieve [default: 50, and 10 for `search`].
    #[arg(long, value_name = "N")]
    pub top_k: Option<u32>,
    /// What passages are compared by.
    #[arg(long, value_enum, default_value = "hybrid")]
    pub mode: ModeArg,
    /// How hybrid mode makes one ranking of two: weighted, reciprocal-rank or reciprocal-rank:K.
    #[arg(long, default_value = "weighted", value_name = "FUSION", value_parser = fusion)]
    pub fusion: FusionArg,
    /// Only passages of documents that meet a condition on their fields.
    #[arg(long, value_name = "JSON", value_parser = filter)]
    pub filter: Option<Value>,
    /// Only passages of documents whose path matches, such as `guide/**`. May be repeated.
    #[arg(long = "source", value_name = "GLOB")]
    pub sources: Vec<String>,
    /// Prefers passages that are unlike those ranked higher: 1 does not, 0 does nothing else.
    #[arg(long, value_name = "X", value_parser = share)]
    pub diversity: Option<f32>,
    /// Passages of one document at most.
    #[arg(long, value_name = "N")]
    pub per_document: Option<u32>,
    /// What is around each passage: so many before and after it, or `section`.
    #[arg(long, value_name = "N|section", value_parser = context)]
    pub context: Option<Value>,
    /// Searches for a question of several parts as it stands.
    #[arg(long)]
    pub no_decompose: bool,
    /// Reads words that the documents do not have as they stand.
    #[arg(long)]
    pub no_spelling: bool,
    /// Compares the question with every passage instead of walking the index.
    #[arg(long)]
    pub exact: bool,
}

impl SearchOptions {
    /// A request's fields, for this query.
    pub fn request(&self, query: &str) -> Map<String, Value> {
        let off = |off: bool| if off { "off" } else { "auto" };
        let fields = json!({
            "query": query,
            "top_k": self.top_k,
            "mode": self.mode.name(),
            "fusion": self.fusion.json(),
            "filter": self.condition(),
            "diversity": self.diversity,
            "per_document": self.per_document,
            "context": self.context,
            "decompose": off(self.no_decompose),
            "spelling": off(self.no_spelling),
            "exact": self.exact,
        });
        fields.as_object().cloned().unwrap_or_default()
    }

    /// `--filter` and one of `--source`.
    fn condition(&self) -> Option<Value> {
        let mut sources =
            self.sources.iter().map(|glob| json!({ "field": "source", "glob": glob }));
        let source = match sources.len() {
            0 | 1 => sources.next(),
            _ => Some(json!({ "or": sources.collect::<Vec<_>>() })),
        };
        match (&self.filter, source) {
            (Some(filter), Some(source)) => Some(json!({ "and": [filter, source] })),
            (filter, source) => filter.clone().or(source),
        }
    }
}

/// What a passage is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// By meaning and by words.
    Hybrid,
    /// By meaning: cosines of vectors.
    Dense,
    /// By words: BM25.
    Lexical,
}

impl ModeArg {
    pub fn name(self) -> &'static str {
        match self {
            ModeArg::Hybrid => "hybrid",
            ModeArg::Dense => "dense",
            ModeArg::Lexical => "lexical",
        }
    }
}

/// How hybrid mode makes one ranking of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FusionArg {
    Weighted,
    ReciprocalRank(f32),
}

impl FusionArg {
    pub fn json(self) -> Value {
        match self {
            FusionArg::Weighted => json!("weighted"),
            FusionArg::ReciprocalRank(k) => json!({ "reciprocal_rank": k }),
        }
    }
}

pub fn fusion(text: &str) -> Result<FusionArg, String> {
    let constant = match text.split_once(':') {
        None if text == "weighted" => return Ok(FusionArg::Weighted),
        None if text == "reciprocal-rank" => Some(60.0),
        Some(("reciprocal-rank", k)) => k.parse().ok().filter(|k: &f32| *k > 0.0 && k.is_finite()),
        _ => None,
    };
    constant.map(FusionArg::ReciprocalRank).ok_or_else(|| {
        "there are weighted, reciprocal-rank, and reciprocal-rank:K with K above 0".to_owned()
    })
}

fn filter(text: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    match value {
        Value::Object(_) => Ok(value),
        _ => {
            Err("a filter is an object, such as {\"field\": \"tags\", \"in\": [\"a\"]}".to_owned())
        }
    }
}

fn context(text: &str) -> Result<Value, String> {
    match (text, text.parse::<u32>()) {
        ("section", _) => Ok(json!("section")),
        (_, Ok(neighbours)) => Ok(json!({ "neighbours": neighbours })),
        _ => Err("give a number of passages, or `section`".to_owned()),
    }
}

/// A number from 0 to 1; JSON has no other way to say NaN than nothing.
pub fn share(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "give a number from 0 to 1".to_owned())
}
