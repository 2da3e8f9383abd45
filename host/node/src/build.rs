//! Documents to a bundle.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use trine_bundle::Writer;
use trine_corpus::{Corpus, CutOptions, Cutter, Cutting, ReadOptions, Report};
use trine_index::lexical::Bm25;
use trine_index::setup::{self, GeneratorSetup, RerankerSetup, RetrieverSetup};
use trine_index::{
    BuildOptions as GraphOptions, MediaType, Passage, Segment, SegmentOptions, Vector,
};
use trine_inference::{Engine, EngineOptions};
use trine_runtime::manifest::Manifest;
use trine_runtime::snapshot::{Part, snapshot};
use trine_text::tokens::{Encoded, Encoder};
use trine_text::{passage_input, plain};

use crate::about::{ABOUT, About, Chunking, SPIN_TOML, component_section, file_name};
use crate::models::{Loaded, graphs};
use crate::{ModelStore, NodeError};

/// Evidence under which the extractive generator abstains. Of 40 questions on two handbooks and 20
/// that neither answers, it keeps silent on 8 of the former and answers 2 of the latter.
const THRESHOLD: f32 = 0.375;
/// Tokens embedded in one call: enough to keep every thread busy.
const BATCH_TOKENS: usize = 16 * 1024;

/// What to index.
pub struct Input<'a> {
    /// Files and folders.
    pub paths: &'a [PathBuf],
    /// Where the bundle will lie.
    pub output: &'a Path,
}

/// How to index it.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Name or folder of the model that embeds.
    pub embedder: String,
    /// Name or folder of the model that reranks; the embedder, by late interaction, when absent.
    pub reranker: Option<String>,
    /// How documents are cut.
    pub chunking: Chunking,
    /// Tokens that neighbouring passages share at most.
    pub overlap: usize,
    /// The device that embeds, and the threads that also build the index.
    pub engine: EngineOptions,
    /// Another application than the built-in one.
    pub app: Option<PathBuf>,
}

/// How far a build is.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Reading, cutting and embedding.
    Passages(trine_corpus::Progress),
    /// Connecting vectors.
    Graph {
        /// How many there are.
        vectors: usize,
        /// How many are connected.
        done: usize,
    },
    /// Filling and freezing a component.
    Snapshot {
        /// Its role.
        component: &'static str,
    },
    /// Writing the file.
    Writing,
}

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// What the bundle says of itself.
    pub about: About,
    /// Its content digest.
    pub digest: String,
    /// What was read and skipped.
    pub report: Report,
    /// Passages longer than the embedder's window, and the tokens of them that it did not read.
    pub truncated: (u64, u64),
}

/// Builds a bundle. Until it is whole nothing lies at the output path, or what lay there before.
pub fn build(
    input: &Input,
    options: &BuildOptions,
    models: &ModelStore,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<Built, NodeError> {
    let application = Application::load(options.app.as_deref())?;
    // Writing comes last, but where nothing can be written nothing need be computed.
    let writer = Writer::create(input.output)?;
    let embedder = models.load(&options.embedder)?.must_embed("retriever")?;
    let reranker = match &options.reranker {
        Some(name) => models.load(name)?,
        None => embedder.clone(),
    };

    let indexed = embed_corpus(input.paths, options, &embedder, progress)?;
    let dimensions = indexed.vectors.first().map_or(0, Vector::dimensions);
    let segment = connect(&indexed.passages, indexed.vectors, options.engine.threads, progress)?;

    let about = About {
        trine: env!("CARGO_PKG_VERSION").to_owned(),
        documents: indexed.report.documents,
        passages: indexed.passages.len() as u64,
        dimensions,
        chunking: options.chunking,
        embedder: embedder.reference()?,
        reranker: reranker.reference()?,
        scoring: reranker.scoring(),
        generator: embedder.reference()?,
    };
    let parts = |role: Role| match role {
        Role::Retriever => retriever_parts(&embedder, &segment, indexed.report.documents),
        Role::Reranker => reranker_parts(&reranker),
        Role::Generator => generator_parts(&embedder),
    };
    let digest = write(writer, &about, &application, &parts, progress)?;
    Ok(Built { about, digest, report: indexed.report, truncated: indexed.truncated })
}

/// The corpus, embedded.
struct Indexed {
    passages: Vec<Passage>,
    vectors: Vec<Vector>,
    report: Report,
    truncated: (u64, u64),
}

fn embed_corpus(
    paths: &[PathBuf],
    options: &BuildOptions,
    embedder: &Loaded,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<Indexed, NodeError> {
    let encoder = embedder.encoder()?;
    let corpus = Corpus::open(paths, ReadOptions::default())?;
    // A text that cannot be counted is cut by the encoder, which reports it.
    let count = |text: &str| encoder.count(text).unwrap_or(0);
    let cutting = match options.chunking {
        Chunking::Sections => Cutting::Sections,
        Chunking::Whole => Cutting::Whole,
    };
    let window = embedder.window();
    let target = window * 4 / 5;
    let cut =
        CutOptions { cutting, window, target, overlap: options.overlap, ..CutOptions::default() };
    let cutter = Cutter::new(&count, cut);

    let engine = Engine::start(graphs(embedder, embedder)?, options.engine.clone())?;
    let mut batch = Batch::new(&encoder, &engine, &embedder.name);
    let stopped = std::cell::RefCell::new(None);
    let report = corpus.passages::<NodeError>(
        &cutter,
        &|p| {
            if let Err(error) = progress(Step::Passages(p)) {
                *stopped.borrow_mut() = Some(error);
            }
        },
        &mut |_fields, passages| {
            if let Some(error) = stopped.take() {
                return Err(error);
            }
            batch.add(passages)
        },
    )?;
    batch.flush()?;
    let Batch { passages, vectors, truncated, .. } = batch;
    Ok(Indexed { passages, vectors, report, truncated })
}

/// Passages on their way to vectors.
struct Batch<'a> {
    encoder: &'a Encoder,
    engine: &'a Engine,
    graph: &'a str,
    pending: Vec<Encoded>,
    pending_tokens: usize,
    passages: Vec<Passage>,
    vectors: Vec<Vector>,
    truncated: (u64, u64),
}

impl<'a> Batch<'a> {
    fn new(encoder: &'a Encoder, engine: &'a Engine, graph: &'a str) -> Batch<'a> {
        Batch {
            encoder,
            engine,
            graph,
            pending: vec![],
            pending_tokens: 0,
            passages: vec![],
            vectors: vec![],
            truncated: (0, 0),
        }
    }

    fn add(&mut self, passages: Vec<Passage>) -> Result<(), NodeError> {
        let encoded: Vec<Encoded> = passages
            .par_iter()
            .map(|p| {
                let markdown = p.media_type == MediaType::Markdown;
                self.encoder.encode(&passage_input(&p.title, &p.headings, &p.text, markdown))
            })
            .collect::<Result<_, _>>()?;
        for one in encoded {
            self.truncated.0 += u64::from(one.truncated > 0);
            self.truncated.1 += u64::from(one.truncated);
            self.pending_tokens += one.ids.len();
            self.pending.push(one);
            if self.pending_tokens >= BATCH_TOKENS {
                self.flush()?;
            }
        }
        self.passages.extend(passages);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), NodeError> {
        let vectors = self.engine.embed_blocking(self.graph, &self.pending)?;
        self.vectors.extend(vectors.into_iter().map(Vector::normalized));
        self.pending.clear();
        self.pending_tokens = 0;
        Ok(())
    }
}

/// Builds the index on as many threads as were asked for.
fn connect(
    passages: &[Passage],
    vectors: Vec<Vector>,
    threads: usize,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<Segment, NodeError> {
    let count = vectors.len();
    let mut report = |done| progress(Step::Graph { vectors: count, done });
    report(0)?;
    let graph = GraphOptions { threads, ..GraphOptions::default() };
    let options = SegmentOptions { graph, ..SegmentOptions::default() };
    let plain = |p: &Passage| plain(&p.text, p.media_type == MediaType::Markdown);
    Segment::build(passages, vectors, plain, options, &mut report)
}

/// The application that the bundle will hold.
struct Application {
    text: String,
    manifest: Manifest,
    folder: Option<PathBuf>,
}

/// What a dependency is filled with, told by the interface it satisfies.
#[derive(Clone, Copy)]
enum Role {
    Retriever,
    Reranker,
    Generator,
}

impl Role {
    fn of(import: &str) -> Option<Role> {
        let interface = import.strip_prefix("trine:rag/")?;
        match interface.split('@').next()? {
            "retriever" => Some(Role::Retriever),
            "reranker" => Some(Role::Reranker),
            "generator" => Some(Role::Generator),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Role::Retriever => "retriever",
            Role::Reranker => "reranker",
            Role::Generator => "generator",
        }
    }
}

impl Application {
    fn load(path: Option<&Path>) -> Result<Application, NodeError> {
        let text = match path {
            None => crate::SPIN_TOML.to_owned(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| NodeError::Io { path: path.to_owned(), error })?,
        };
        let manifest = Manifest::parse(&text)?;
        let folder = path.map(|p| p.parent().unwrap_or(Path::new("")).to_owned());
        Ok(Application { text, manifest, folder })
    }

    /// A component as it was built: from beside the manifest, or the built-in one of that name.
    fn component(&self, file: &str) -> Result<Vec<u8>, NodeError> {
        match &self.folder {
            Some(folder) => {
                let path = folder.join(file);
                std::fs::read(&path).map_err(|error| NodeError::Io { path, error })
            }
            None => {
                trine_components::by_file(file_name(file)).map(<[u8]>::to_vec).ok_or_else(|| {
                    NodeError::malformed("application", format!("no built-in component is {file}"))
                })
            }
        }
    }

    fn role(&self, file: &str) -> Option<Role> {
        let components = self.manifest.components.values();
        let mut dependencies = components.flat_map(|c| &c.dependencies);
        dependencies.find(|(_, path)| *path == file).and_then(|(import, _)| Role::of(import))
    }
}

fn write<'a>(
    mut writer: Writer,
    about: &About,
    application: &Application,
    parts: &dyn Fn(Role) -> Result<Vec<Part<'a>>, NodeError>,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<String, NodeError> {
    writer.section(ABOUT, &json(about)?)?;
    writer.section(SPIN_TOML, application.text.as_bytes())?;
    for file in application.manifest.files() {
        let component = application.component(file)?;
        let component = match application.role(file) {
            None => component,
            Some(role) => {
                progress(Step::Snapshot { component: role.name() })?;
                snapshot(role.name(), &component, parts(role)?)?
            }
        };
        writer.section(&component_section(file), &component)?;
    }
    progress(Step::Writing)?;
    Ok(writer.finish()?)
}

fn retriever_parts<'a>(
    embedder: &Loaded,
    segment: &Segment,
    documents: u64,
) -> Result<Vec<Part<'a>>, NodeError> {
    let setup = RetrieverSetup {
        model: embedder.name.clone(),
        graph: embedder.embedding_graph(),
        max_tokens: embedder.window(),
        pooling: embedder.pooling(),
        documents: documents as u32,
        bm25: Bm25::default(),
    };
    let mut parts = vec![
        Part::bytes(setup::SETUP, &json(&setup)?),
        Part::bytes(setup::TOKENIZER, &embedder.tokenizer),
    ];
    let segment = segment.to_parts()?;
    parts.extend(segment.iter().map(|(name, bytes)| Part::bytes(name, bytes)));
    Ok(parts)
}

fn reranker_parts<'a>(reranker: &Loaded) -> Result<Vec<Part<'a>>, NodeError> {
    let setup = RerankerSetup {
        model: reranker.name.clone(),
        graph: reranker.reranking_graph(),
        max_tokens: reranker.window(),
        scoring: reranker.scoring(),
    };
    Ok(vec![
        Part::bytes(setup::SETUP, &json(&setup)?),
        Part::bytes(setup::TOKENIZER, &reranker.tokenizer),
    ])
}

fn generator_parts<'a>(encoder: &Loaded) -> Result<Vec<Part<'a>>, NodeError> {
    let setup = GeneratorSetup {
        model: encoder.name.clone(),
        graph: encoder.embedding_graph(),
        max_tokens: encoder.window(),
        pooling: encoder.pooling(),
        threshold: THRESHOLD,
    };
    Ok(vec![
        Part::bytes(setup::SETUP, &json(&setup)?),
        Part::bytes(setup::TOKENIZER, &encoder.tokenizer),
    ])
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, NodeError> {
    serde_json::to_vec_pretty(value).map_err(|e| NodeError::malformed("settings", e))
}
