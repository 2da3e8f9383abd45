//! Flags of `trine bench`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use http::Uri;

use super::{BenchGenerate, LimitArgs, VectorsArg};

#[derive(Debug, ClapArgs)]
pub struct Bench {
    #[command(subcommand)]
    pub command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measures a GPU without any model's files: kernels beside their references, matrix products,
    /// reranking and embedding with random weights.
    Gpu {
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
        /// Only sees that everything works.
        #[arg(long)]
        quick: bool,
    },
    /// Times instances: starting one, its first request, a warm one.
    Start {
        /// The bundle.
        #[arg(value_name = "FILE.trine")]
        bundle: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
        /// Rounds; each times all of them.
        #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100_000))]
        rounds: u32,
    },
    /// Measures the vector search beside exact answers: building, memory, queries a second natively
    /// and in wasm at several recalls.
    Index {
        #[command(flatten)]
        files: IndexFiles,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Measures how cost grows with the number of passages: building, opening, searching in wasm,
    /// memory. Texts and vectors are made up.
    Scale(BenchScale),
    Serve(BenchServe),
    /// Times a cross-encoder scoring pairs on one device, without any server around it.
    Rerank(BenchRerank),
    Generate(BenchGenerate),
    /// Times the embedding of one text.
    Embed {
        /// Tokens of the text.
        #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
        tokens: u16,
        /// An encoder [default: MiniLM's shape, with random weights].
        #[arg(long, value_name = "NAME|DIR")]
        embedder: Option<String>,
        /// Times the text is embedded.
        #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100_000))]
        rounds: u32,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Bundles of texts and vectors that are made up, the same at every run.
#[derive(Debug, ClapArgs)]
pub struct BenchScale {
    /// How many passages; each number is a bundle of its own.
    #[arg(long, default_value = "10000,100000,1000000", value_delimiter = ',', value_name = "N,N,...", value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub passages: Vec<u32>,
    /// A folder to build them in, where they stay and are found again [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// How exactly vectors are kept [default: as `trine index` would].
    #[arg(long, value_enum)]
    pub vectors: Option<VectorsArg>,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Pairs of random tokens, all of one length; or, with `--passages`, of a question and real
/// passages, scored as they are and padded to the longest, in turn.
#[derive(Debug, ClapArgs)]
pub struct BenchRerank {
    /// Pairs scored in one call.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pairs: u16,
    /// Tokens of each pair.
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub tokens: u16,
    /// Files and folders to take passages from, evenly spread, instead of random tokens.
    #[arg(long, value_name = "PATH", conflicts_with = "tokens")]
    pub passages: Vec<PathBuf>,
    /// A cross-encoder [default: MiniLM's shape, with random weights].
    #[arg(long, value_name = "NAME|DIR")]
    pub reranker: Option<String>,
    /// Times the call is made.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Puts a server under load: clients that ask, wait for the answer, and ask again.
#[derive(Debug, ClapArgs)]
pub struct BenchServe {
    /// The bundle to serve on a port of this machine.
    #[arg(value_name = "FILE.trine", required_unless_present = "url")]
    pub bundle: Option<PathBuf>,
    /// A server that runs already, trine or another: http://HOST:PORT.
    #[arg(long, value_name = "URL", conflicts_with = "bundle")]
    pub url: Option<Uri>,
    /// What is asked for; `{"query": ...}` is posted to it.
    #[arg(long, default_value = "/v1/answer", value_name = "PATH")]
    pub path: String,
    /// How many clients ask at the same time; each number is a step of its own.
    #[arg(long, default_value = "1,8,64,256", value_delimiter = ',', value_name = "N,N,...", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: Vec<u32>,
    /// Seconds in which a step's requests are begun.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds that a step then waits for the answers still due.
    #[arg(long, default_value_t = 120, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// Questions to ask, one a line [default: made up, no two alike].
    #[arg(long, value_name = "FILE")]
    pub questions: Option<PathBuf>,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Files of raw little-endian numbers, row after row.
#[derive(Debug, ClapArgs)]
pub struct IndexFiles {
    /// The vectors to index, 32-bit floats.
    #[arg(long, value_name = "FILE.f32")]
    pub base: PathBuf,
    /// The vectors to search for, 32-bit floats.
    #[arg(long, value_name = "FILE.f32")]
    pub queries: PathBuf,
    /// The ten nearest of each query, 32-bit numbers of base vectors.
    #[arg(long, value_name = "FILE.i32")]
    pub truth: PathBuf,
    /// Floats a vector.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub dim: u32,
}
