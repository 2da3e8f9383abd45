//! The command line.

mod bench;
mod eval;
mod generate;
mod gpu;
mod index;
mod keep;
mod search;
mod serve;

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand};
use trine_inference::generation::GenerationOptions;
use trine_inference::gpu::GpuOptions;
use trine_inference::{DeviceChoice, EngineOptions, PrecisionOption};
use trine_node::ModelStore;
use trine_runtime::LanguageModels;

pub use bench::{Bench, BenchCommand, BenchRerank, BenchScale, BenchServe, IndexFiles};
pub use eval::{Eval, Stage};
pub use generate::{BenchGenerate, Generate};
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

impl Args {
    /// Refuses a language model where nothing would be done with it.
    pub fn check(&self) -> Result<(), clap::Error> {
        let generates = match &self.command {
            Command::Generate(_) | Command::Ask(_) | Command::Serve(_) => true,
            Command::Inspect(inspect) => inspect.extract.is_some(),
            Command::Bench(bench) => matches!(bench.command, BenchCommand::Generate(_)),
            _ => false,
        };
        if let Some(name) = self.common.language_model().filter(|_| !generates) {
            let reason = format!(
                "--model {name}: this command uses no language model; write NAME=PATH to say where a \
                 model of the bundle lies"
            );
            return Err(Args::command().error(ErrorKind::ArgumentConflict, reason));
        }
        Ok(())
    }
}

/// What every command takes.
#[derive(Debug, ClapArgs)]
pub struct Common {
    /// Folder for models and compiled code [default: the user's cache folder].
    #[arg(long, global = true, env = "TRINE_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// A language model: the name of a registered one, a GGUF file or a folder. Or, as NAME=PATH, where
    /// to take the model that has this name. May be repeated.
    #[arg(long = "model", global = true, value_name = "NAME[=PATH]", value_parser = named_model)]
    pub models: Vec<NamedModel>,
    /// MiB for the keys and values that a language model keeps of what it has read.
    #[arg(long, global = true, default_value_t = 1024, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub kv_cache: u32,
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

    /// Where compiled code is kept.
    pub fn compiled(&self) -> anyhow::Result<PathBuf> {
        Ok(self.cache()?.join("compiled"))
    }

    /// Where models come from, with downloads shown on standard error.
    pub fn store(&self) -> anyhow::Result<ModelStore> {
        Ok(ModelStore {
            cache: self.cache()?,
            weight_cache: !self.no_weight_cache,
            folders: self.models.iter().filter_map(NamedModel::place).collect(),
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

    /// The language model that was named, if one was.
    pub fn language_model(&self) -> Option<&str> {
        let names = self.models.iter().filter(|model| model.path.is_none());
        names.map(|model| model.name.as_str()).next_back()
    }

    /// The language model that was named, on its device; none where none was.
    pub fn language_models(&self) -> anyhow::Result<LanguageModels> {
        let Some(name) = self.language_model() else { return Ok(LanguageModels::default()) };
        let model = self.store()?.language_model(name)?.start(self.generation()?)?;
        Ok(LanguageModels::new(vec![model]))
    }

    /// Where a language model computes.
    pub fn generation(&self) -> anyhow::Result<GenerationOptions> {
        Ok(GenerationOptions {
            device: self.device,
            gpu: self.gpu()?,
            threads: self.threads(),
            precision: self.precision,
            cache_bytes: (self.kv_cache as usize) << 20,
            ..GenerationOptions::default()
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

/// A model that was named, and where its files are if that was said.
#[derive(Clone, Debug)]
pub struct NamedModel {
    name: String,
    path: Option<PathBuf>,
}

impl NamedModel {
    fn place(&self) -> Option<(String, PathBuf)> {
        self.path.clone().map(|path| (self.name.clone(), path))
    }
}

fn named_model(text: &str) -> Result<NamedModel, String> {
    let Some((name, path)) = text.split_once('=').filter(|_| !Path::new(text).exists()) else {
        return Ok(NamedModel { name: text.to_owned(), path: None });
    };
    let path = PathBuf::from(path);
    if name.is_empty() || !(path.is_file() || path.join("config.json").is_file()) {
        let shown = path.display();
        return Err(format!("{shown} is no model: no GGUF file, and no folder with a config.json"));
    }
    Ok(NamedModel { name: name.to_owned(), path: Some(path) })
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
    /// Writes on from a prompt with a language model, without any documents.
    Generate(Generate),
    /// Answers over HTTP.
    Serve(Serve),
    /// Shows what a bundle holds.
    Inspect(Inspect),
    /// Downloads, registers and lists models.
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
    /// Writes the application's manifest and its filled components into a folder. With --model the
    /// generator writes with that language model, on hosts that have wasi:nn alone.
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
    /// Registers a model under a name: its files are linked into the cache folder, or copied where they
    /// lie on another disk.
    Add {
        /// The name to ask for it by.
        name: String,
        /// A GGUF file, a folder with config.json, safetensors and tokenizer.json, or OWNER/NAME of a
        /// model hub, where trine knows the digests.
        #[arg(value_name = "PATH|HUB-ID")]
        source: String,
        /// The licence of its weights, by its SPDX identifier [default: what its files state].
        #[arg(long, value_name = "SPDX")]
        licence: Option<String>,
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
