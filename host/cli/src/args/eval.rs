//! Flags of `trine eval`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::search::{FusionArg, ModeArg, fusion, share};
use super::{VectorsArg, WordArgs};

#[derive(Debug, ClapArgs)]
pub struct Eval {
    /// A BEIR folder: corpus.jsonl[.gz], queries.jsonl[.gz], qrels/test.tsv; for answers
    /// qa.jsonl[.gz] and, if there is one, unanswerable.jsonl[.gz].
    #[arg(value_name = "DIR")]
    pub collection: PathBuf,
    /// What is measured; several rankings, separated by commas, are printed as a table.
    #[arg(long = "stage", value_enum, default_value = "retrieve", value_delimiter = ',')]
    pub stages: Vec<Stage>,
    /// What the retriever compares by [default: hybrid].
    #[arg(long, value_enum)]
    pub mode: Option<ModeArg>,
    /// How hybrid mode makes one ranking of two: weighted, reciprocal-rank or reciprocal-rank:K.
    #[arg(long, default_value = "weighted", value_name = "FUSION", value_parser = fusion)]
    pub fusion: FusionArg,
    /// Measures every ranking there is at several depths, and how each differs from the retriever's.
    #[arg(
        long,
        value_name = "TOP_K,...",
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_value = "10,20,50,100,200",
        conflicts_with_all = ["stages", "top_k", "run", "no_fuse"],
        value_parser = clap::value_parser!(u32).range(1..=200)
    )]
    pub ablate: Option<Vec<u32>>,
    /// Gives the generator the passage that answers, and no other.
    #[arg(long)]
    pub gold_passage: bool,
    /// Passages that answers are read from.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub top_n: u32,
    /// Evidence, 0 to 1, under which there is no answer [default: the bundle's].
    #[arg(long, value_name = "X", value_parser = share)]
    pub threshold: Option<f32>,
    /// Ranks by the reranker's score alone, not fused with the retriever's.
    #[arg(long)]
    pub no_fuse: bool,
    /// Prints JSON, an object a line; with FILE, writes all there is to know there as one object.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub json: Option<Option<PathBuf>>,
    /// Writes a report with charts: one page that loads nothing.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Writes the ranking, of one stage, as a TREC run file.
    #[arg(long, value_name = "FILE")]
    pub run: Option<PathBuf>,
    /// Documents to rank for each query [default: 100; 50 to rerank or answer from, as in
    /// a request].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub top_k: Option<u32>,
    /// Compares each query with every document instead of walking the index.
    #[arg(long)]
    pub exact: bool,
    /// Only the first so many of the judged queries, and of the questions of each kind.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// A bundle of this collection, made before; or where to keep the one made now.
    #[arg(long, value_name = "FILE.trine")]
    pub bundle: Option<PathBuf>,
    /// Model that embeds.
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR")]
    pub embedder: String,
    /// Model that reranks.
    #[arg(long, default_value = "trine-reranker", value_name = "NAME|DIR")]
    pub reranker: String,
    /// Model that reads the answer out of passages, or `none`.
    #[arg(long, default_value = "trine-reader", value_name = "NAME|DIR|none")]
    pub reader: String,
    #[command(flatten)]
    pub words: WordArgs,
    /// How exactly the bundle keeps vectors [default: as `trine index` would].
    #[arg(long, value_enum)]
    pub vectors: Option<VectorsArg>,
}

/// How far down rankings of what is retrieved are measured.
const RANKED: u32 = 100;
/// Candidates that a request has reranked where it does not say how many.
const RERANKED: u32 = 50;

impl Eval {
    /// Documents to rank for each query.
    pub fn top_k(&self) -> u32 {
        let reranks = |stage: &Stage| matches!(stage, Stage::Rerank | Stage::Answer);
        let usual = if self.stages.iter().any(reranks) { RERANKED } else { RANKED };
        self.top_k.unwrap_or(usual)
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The retriever's ranking.
    Retrieve,
    /// The reranker's, of what the retriever found.
    Rerank,
    /// The answers.
    Answer,
    /// The retriever's, by meaning.
    Dense,
    /// The retriever's, by words.
    #[value(alias = "bm25")]
    Lexical,
    /// The retriever's, by both.
    Hybrid,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Retrieve => "retrieve",
            Stage::Rerank => "rerank",
            Stage::Answer => "answer",
            Stage::Dense => "dense",
            Stage::Lexical => "lexical",
            Stage::Hybrid => "hybrid",
        }
    }

    /// The mode that the stage's name says, if it says one.
    pub fn mode(self) -> Option<ModeArg> {
        match self {
            Stage::Retrieve | Stage::Rerank | Stage::Answer => None,
            Stage::Dense => Some(ModeArg::Dense),
            Stage::Lexical => Some(ModeArg::Lexical),
            Stage::Hybrid => Some(ModeArg::Hybrid),
        }
    }
}
