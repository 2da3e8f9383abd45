//! The command line.

mod bench;
mod eval;
mod gpu;
mod index;
mod keep;
mod search;
mod serve;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use trine_inference::gpu::GpuOptions;
use trine_inference::{DeviceChoice, EngineOptions, PrecisionOption};
use trine_node::ModelStore;

pub use bench::{Bench, BenchCommand, BenchRerank, BenchScale, BenchServe, IndexFiles};
pub use eval::{Eval, Stage};
pub use gpu::GpuArgs;
pub use index::{Build, ChunkingArg, Index, VectorsArg, WordArgs};
pub use keep::{Add, ChangeArgs, Compact, Remove, Update, Watch};
pub use search::{Ask, ModeArg, Search};
pub use serve::{LimitArgs, Serve};

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
    /// In which numbers the CPU multiplies: auto, f32, bf16 or int8. auto takes what the
    /// application's manifest says, else bf16 where the CPU is fast at it, else f32, never int8.
    #[arg(
        long,
        global = true,
        env = "TRINE_PRECISION",
        default_value = "auto",
        value_name = "PRECISION"
    )]
    pub precision: PrecisionOption,
    /// Packs weights for the CPU at every start instead of keeping them in the cache folder.
    #[arg(long, global = true)]
    pub no_weight_cache: bool,
    #[command(flatten)]
    pub gpu: GpuArgs,
}

impl Common {
    /// The cache folder.
    pub fn cache(&self) -> anyhow::Result<PathBuf> {
        match &self.cache {
            Some(folder) => Ok(std::path::absolute(folder)?),
            None => Ok(trine_hub::default_cache_dir()?),
        }
    }

    /// Where models come from, with downloads shown on standard error.
    pub fn store(&self) -> anyhow::Result<ModelStore> {
        Ok(ModelStore {
            cache: self.cache()?,
            weight_cache: !self.no_weight_cache,
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
        Ok(self.gpu.options(cache.map(|cache| cache.join("shaders"))))
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

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a bundle from documents.
    Index(Index),
    /// Adds documents to a bundle; what is in it already and has not changed is left alone.
    Add(Add),
    /// Removes documents from a bundle.
    Remove(Remove),
    /// Brings a bundle up to date with the documents that it was made from.
    Update(Update),
    /// Keeps a bundle up to date until Ctrl-C.
    Watch(Watch),
    /// Makes one index of a bundle's index and what was added and removed since.
    Compact(Compact),
    /// Asks a bundle a question.
    Ask(Ask),
    /// Finds passages in a bundle, without an answer.
    Search(Search),
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
