//! Flags of `trine eval`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::{
    VectorsArg,
    search::{FusionArg, ModeArg, fusion},
};

#[derive(Debug, ClapArgs)]
pub struct Eval {
    /// A BEIR folder: corpus.jsonl[.gz], queries.jsonl[.gz], qrels/test.tsv.
    #[arg(value_name = "DIR")]
    pub collection: PathBuf,
    /// Which rankings are measured; several, separated by commas, are printed as a table.
    #[arg(long = "stage", value_enum, default_value = "retrieve", value_delimiter = ',')]
    pub stages: Vec<Stage>,
    /// What the retriever compares by [default: hybrid].
    #[arg(long, value_enum)]
    pub mode: Option<ModeArg>,
    /// How hybrid mode makes one ranking of two: weighted, reciprocal-rank or reciprocal-rank:K.
    #[arg(long, default_value = "weighted", value_name = "FUSION", value_parser = fusion)]
    pub fusion: FusionArg,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Writes the ranking, of one stage, as a TREC run file.
    #[arg(long, value_name = "FILE")]
    pub run: Option<PathBuf>,
    /// Documents to rank for each query.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub top_k: u32,
    /// Compares each query with every document instead of walking the index.
    #[arg(long)]
    pub exact: bool,
    /// Only the first so many of the judged queries.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// A bundle of this collection, made before; or where to keep the one made now.
    #[arg(long, value_name = "FILE.trine")]
    pub bundle: Option<PathBuf>,
    /// Model that embeds.
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR")]
    pub embedder: String,
    /// Model that reranks [default: the embedder].
    #[arg(long, value_name = "NAME|DIR")]
    pub reranker: Option<String>,
    /// How exactly the bundle keeps vectors [default: as `trine index` would].
    #[arg(long, value_enum)]
    pub vectors: Option<VectorsArg>,
}

/// Which ranking is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The retriever's.
    Retrieve,
    /// The reranker's, of what the retriever found.
    Rerank,
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
            Stage::Dense => "dense",
            Stage::Lexical => "lexical",
            Stage::Hybrid => "hybrid",
        }
    }

    /// The mode that the stage's name says, if it says one.
    pub fn mode(self) -> Option<ModeArg> {
        match self {
            Stage::Retrieve | Stage::Rerank => None,
            Stage::Dense => Some(ModeArg::Dense),
            Stage::Lexical => Some(ModeArg::Lexical),
            Stage::Hybrid => Some(ModeArg::Hybrid),
        }
    }
}
