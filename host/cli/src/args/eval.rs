//! Flags of `trine eval`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

#[derive(Debug, ClapArgs)]
pub struct Eval {
    /// A BEIR folder: corpus.jsonl[.gz], queries.jsonl[.gz], qrels/test.tsv.
    #[arg(value_name = "DIR")]
    pub collection: PathBuf,
    /// Which ranking is measured.
    #[arg(long, value_enum, default_value = "dense")]
    pub stage: Stage,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Writes the ranking as a TREC run file.
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
}

/// Which ranking is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The retriever's.
    Dense,
    /// The reranker's, of what the retriever found.
    Rerank,
}
