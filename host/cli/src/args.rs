//! The command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use trine_inference::gpu::{GpuOptions, Products, Storage};
use trine_inference::{DeviceChoice, EngineOptions, PrecisionOption};
use trine_node::{Chunking, ModelStore};

/// Answers questions from your documents: retrieve, rerank, generate, in one binary and one file.
#[derive(Debug, Parser)]
#[command(name = "trine", version, propagate_version = true)]
pub struct Args {
    /// Says more; twice for all there is.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, ClapArgs)]
pub struct Common {
    /// Folder for models and compiled code [default: the user's cache folder].
    #[arg(long, global = true, env = "TRINE_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// A folder to take a model from, by the name a bundle has for it. May be repeated.
    #[arg(long = "model", global = true, value_name = "NAME=DIR", value_parser = name_and_folder)]
    pub models: Vec<(String, PathBuf)>,
    /// Threads to compute with [default: all].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Where models compute: auto, cpu, gpu, or gpu:N (see `trine devices`). auto takes what the
    /// application's manifest says, else a GPU if there is one, never software.
    #[arg(
        long,
        global = true,
        env = "TRINE_DEVICE",
        default_value = "auto",
        value_name = "DEVICE"
    )]
    pub device: DeviceChoice,
    /// In which numbers the CPU multiplies: auto, f32, bf16 or int8. auto takes bf16 where the CPU
    /// is fast at it, else f32, and never int8.
    #[arg(
        long,
        global = true,
        env = "TRINE_PRECISION",
        default_value = "f32",
        value_name = "PRECISION"
    )]
    pub precision: PrecisionOption,
    #[command(flatten)]
    pub gpu: GpuArgs,
}

/// How a GPU is used.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "GPU")]
pub struct GpuArgs {
    /// What a GPU stores numbers in [default: f16 where it can]. Sums are f32 always.
    #[arg(long, global = true, value_enum, value_name = "TYPE")]
    pub gpu_storage: Option<GpuStorage>,
    /// How a GPU multiplies matrices [default: on matrix units where it has them].
    #[arg(long, global = true, value_enum, value_name = "HOW")]
    pub gpu_products: Option<GpuProducts>,
    /// MiB that models and buffers may take on a GPU [default: what the driver gives].
    #[arg(long, global = true, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub gpu_memory: Option<u64>,
    /// Compiles a GPU's shaders at every start instead of keeping them in the cache folder.
    #[arg(long, global = true)]
    pub no_shader_cache: bool,
}

/// What a GPU stores numbers in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GpuStorage {
    /// 4 bytes a number.
    F32,
    /// 2 bytes a number.
    F16,
}

/// How a GPU multiplies matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GpuProducts {
    /// By plain arithmetic.
    Tiled,
    /// By matrix units ("tensor cores").
    Cooperative,
}

impl Common {
    /// The cache folder.
    pub fn cache(&self) -> anyhow::Result<PathBuf> {
        match &self.cache {
            Some(folder) => Ok(folder.clone()),
            None => Ok(trine_hub::default_cache_dir()?),
        }
    }

    /// Where models come from, with downloads shown on standard error.
    pub fn store(&self) -> anyhow::Result<ModelStore> {
        Ok(ModelStore {
            cache: self.cache()?,
            folders: self.models.iter().cloned().collect::<BTreeMap<_, _>>(),
            on_event: crate::progress::download(),
        })
    }

    /// The devices to compute on.
    pub fn engine(&self) -> anyhow::Result<EngineOptions> {
        Ok(EngineOptions {
            device: self.device,
            gpu: self.gpu()?,
            threads: self.threads(),
            precision: self.precision,
            ..EngineOptions::default()
        })
    }

    /// How a GPU is opened.
    pub fn gpu(&self) -> anyhow::Result<GpuOptions> {
        let cache = (!self.gpu.no_shader_cache).then(|| self.cache()).transpose()?;
        Ok(GpuOptions {
            storage: self.gpu.gpu_storage.map(|storage| match storage {
                GpuStorage::F32 => Storage::F32,
                GpuStorage::F16 => Storage::F16,
            }),
            products: self.gpu.gpu_products.map(|products| match products {
                GpuProducts::Tiled => Products::Tiled,
                GpuProducts::Cooperative => Products::Cooperative,
            }),
            memory: self.gpu.gpu_memory.map(|mib| mib << 20),
            binding_limit: None,
            pipeline_cache: cache.map(|cache| cache.join("shaders")),
        })
    }

    /// Threads to compute with.
    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(all, usize::from)
    }
}

fn name_and_folder(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("write it as NAME=DIR")?;
    if name.is_empty() || !PathBuf::from(folder).join("config.json").is_file() {
        return Err(format!("{folder} is not the folder of a model: it holds no config.json"));
    }
    Ok((name.to_owned(), folder.into()))
}

/// A number from 0 to 1; JSON has no other way to say NaN than nothing.
fn share(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "give a number from 0 to 1".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a bundle from documents.
    Index(Index),
    /// Asks a bundle a question.
    Ask(Ask),
    /// Answers over HTTP.
    Serve(Serve),
    /// Shows what a bundle holds.
    Inspect(Inspect),
    /// Downloads and lists models.
    Models(Models),
    /// Lists what models can compute on.
    Devices(Devices),
    /// Measures ranking quality on a test collection (a BEIR folder).
    Eval(Eval),
    /// Measures speed.
    Bench(Bench),
}

/// Markdown, HTML, plain text, reStructuredText, PDF and JSONL ({_id, title, text}, plain or .gz).
#[derive(Debug, ClapArgs)]
pub struct Index {
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The bundle to write.
    #[arg(short, long, value_name = "FILE.trine")]
    pub output: PathBuf,
    #[command(flatten)]
    pub build: Build,
    /// Shows no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

/// How a bundle is built.
#[derive(Debug, Clone, ClapArgs)]
pub struct Build {
    /// Model that embeds: a name, or a Hugging Face folder.
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR")]
    pub embedder: String,
    /// Model that reranks: a cross-encoder, or an encoder, which scores by late interaction
    /// [default: the embedder].
    #[arg(long, value_name = "NAME|DIR")]
    pub reranker: Option<String>,
    /// Where documents are cut.
    #[arg(long, value_enum, default_value = "sections")]
    pub chunking: ChunkingArg,
    /// Tokens that neighbouring passages share at most.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=128))]
    pub overlap: u16,
    /// Another application than the built-in one: a spin.toml with its components beside it.
    #[arg(long, value_name = "spin.toml")]
    pub app: Option<PathBuf>,
}

/// Where documents are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ChunkingArg {
    /// At headings, paragraphs and sentences, to fit the embedder's window.
    Sections,
    /// Nowhere: a document is a passage, and what exceeds the window is not read.
    Whole,
}

impl From<ChunkingArg> for Chunking {
    fn from(chunking: ChunkingArg) -> Chunking {
        match chunking {
            ChunkingArg::Sections => Chunking::Sections,
            ChunkingArg::Whole => Chunking::Whole,
        }
    }
}

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
    /// Candidates to retrieve [default: 50].
    #[arg(long, value_name = "N")]
    pub top_k: Option<u32>,
    /// Passages to keep after reranking [default: 5].
    #[arg(long, value_name = "N")]
    pub top_n: Option<u32>,
    /// Sentences the answer may have [default: 3].
    #[arg(long, value_name = "N")]
    pub max_sentences: Option<u32>,
    /// Evidence, 0 to 1, under which there is no answer.
    #[arg(long, value_name = "X", value_parser = share)]
    pub threshold: Option<f32>,
    /// Compares the question with every passage instead of walking the index.
    #[arg(long)]
    pub exact: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// The bundle.
    #[arg(value_name = "FILE.trine")]
    pub bundle: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", env = "TRINE_LISTEN", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Bounds on requests.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct LimitArgs {
    /// Requests that run at the same time.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub concurrency: u32,
    /// Requests that wait at the same time; further ones get 503.
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub waiting: u32,
    /// Seconds a request may take.
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// MiB that a request's components may allocate.
    #[arg(long, default_value_t = 256, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..=4096))]
    pub memory: u64,
    /// KiB that a request's body may have.
    #[arg(long, default_value_t = 1024, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub body: u64,
}

impl From<LimitArgs> for trine_runtime::Limits {
    fn from(args: LimitArgs) -> Self {
        trine_runtime::Limits {
            concurrency: args.concurrency,
            waiting: args.waiting,
            timeout: std::time::Duration::from_secs(args.timeout),
            memory: (args.memory as usize) << 20,
            body: (args.body as usize) << 10,
            ..Self::default()
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct Inspect {
    /// The bundle.
    #[arg(value_name = "FILE.trine")]
    pub bundle: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Writes the application's manifest and its filled components into a folder.
    #[arg(long, value_name = "DIR")]
    pub extract: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct Models {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Downloads a model, resuming where it was interrupted, and checks it.
    Pull {
        /// Its name.
        #[arg(default_value = "all-MiniLM-L6-v2")]
        name: String,
    },
    /// Lists the known models.
    List {
        /// Prints a JSON array.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub struct Devices {
    /// Prints a JSON array.
    #[arg(long)]
    pub json: bool,
}

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
    /// Measures the vector search beside exact answers: building, memory, queries a second natively
    /// and in wasm at several recalls.
    Index {
        #[command(flatten)]
        files: IndexFiles,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
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
