//! Documents to a bundle.

use std::path::{Path, PathBuf};

use trine_bundle::Writer;
use trine_corpus::{Progress, Report};
use trine_index::lexical::{Bm25, LexicalOptions};
use trine_index::setup::{
    self, Calibration, Fusion, GeneratorSetup, ReaderSetup, ReadingSetup, RerankerSetup,
    RetrieverSetup, Scoring,
};
use trine_index::{Precision, Vector};
use trine_inference::EngineOptions;
use trine_runtime::snapshot::{Part, snapshot};

use crate::about::{
    ABOUT, About, Chunking, RETRIEVER_SETUP, SPIN_TOML, TOKENIZER, component_section, json,
};
use crate::application::{Application, Role};
use crate::embed::{Cut, Gather};
use crate::living::{self, BaseOptions, Document};
use crate::models::Loaded;
use crate::resume::Resuming;
use crate::{ModelStore, NodeError};

/// Evidence under which the extractive generator abstains. Of 40 questions on two handbooks and 20
/// that neither answers, it keeps silent on 8 of the former and answers 2 of the latter.
const THRESHOLD: f32 = 0.375;
/// The same, of a reader's calibrated evidence.
const READER_THRESHOLD: f32 = 0.5;
/// How logits of a reader and scores of late interaction become evidence: the weights are fitted by
/// models/training/evidence.py; the bias is such that of 40 questions on two handbooks 2 are below the
/// threshold, and of 20 that they do not answer 18.
const CALIBRATION: Calibration =
    Calibration { bias: -0.15, span: 0.2, passage: 3.9, closely: 0.23 };
/// The same where the reranker's scores are on another scale.
const SPAN_ALONE: Calibration = Calibration { bias: 0.5, span: 0.29, passage: 0.0, closely: 0.21 };
/// What a reranker's scores weigh beside the first stage's, what similar passages lend each other, and what
/// a passage gains that answers; chosen by models/training/fusion.py.
const FUSION: f32 = 0.4;
const SMOOTHING: f32 = 0.3;
const ANSWERS: f32 = 4.0;
/// How many times the first stage's deviation late interaction's scores deviate, on the same collections.
const SPREAD: f32 = 0.5;
/// Tokens that a reader reads in one piece at most, for sixteen such windows are one call.
const READ_AT_ONCE: usize = 512;

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
    /// Name or folder of the model that reranks.
    pub reranker: String,
    /// Name or folder of the model that reads answers; whole sentences are chosen when absent.
    pub reader: Option<String>,
    /// How documents are cut.
    pub chunking: Chunking,
    /// Tokens that neighbouring passages share at most.
    pub overlap: usize,
    /// How words are read.
    pub lexical: LexicalOptions,
    /// How words are weighed.
    pub bm25: Bm25,
    /// How exactly vectors are kept; as exactly as their number allows when absent.
    pub vectors: Option<Precision>,
    /// The device that embeds, and the threads that also build the index.
    pub engine: EngineOptions,
    /// Another application than the built-in one.
    pub app: Option<PathBuf>,
    /// Whether to go on with what a build of the same output that did not end has embedded.
    pub resume: bool,
}

/// How far a build or a change is.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A build that did not end has embedded so many passages.
    Resuming {
        /// How many.
        passages: u64,
    },
    /// Reading, cutting and embedding.
    Passages(Progress),
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
    /// Passages whose vectors were taken over from a build that did not end.
    pub resumed: u64,
}

/// Builds a bundle. Until it is whole nothing lies at the output path, or what lay there before; and
/// beside it lies what has been embedded, for the next build of the same output to go on with.
pub fn build(
    input: &Input,
    options: &BuildOptions,
    models: &ModelStore,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<Built, NodeError> {
    let assembly = Assembly::start(input.output, options, models)?;
    let embedder = &assembly.models.embedder;
    let BuildOptions { chunking, overlap, resume, .. } = *options;
    let resuming = Resuming::start(input.output, embedder, &options.engine, resume)?;
    if resuming.found() > 0 {
        progress(Step::Resuming { passages: resuming.found() })?;
    }
    let gathered = Gather {
        encoder: &embedder.encoder()?,
        cut: Cut { chunking, overlap, window: embedder.window() },
        embed: &|texts| resuming.embed(texts),
        unchanged: &|_, _, _| false,
        known: &|_| Ok(None),
        progress,
    };
    let gathered = gathered.run(input.paths)?;
    let (resumed, work) = (resuming.resumed(), resuming.finish());
    let paths = whole_paths(input.paths)?;
    let (about, digest) = assembly.finish(gathered.documents, paths, progress)?;
    work.remove()?;
    Ok(Built { about, digest, report: gathered.report, truncated: gathered.truncated, resumed })
}

/// Builds a bundle at `output` of documents that are embedded already; returns what it says of
/// itself, and its content digest.
pub fn assemble(
    output: &Path,
    documents: Vec<Document>,
    options: &BuildOptions,
    models: &ModelStore,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<(About, String), NodeError> {
    Assembly::start(output, options, models)?.finish(documents, vec![], progress)
}

/// A bundle on its way.
struct Assembly<'a> {
    options: &'a BuildOptions,
    application: Application,
    writer: Writer,
    models: Models,
}

/// The models that components are told of.
struct Models {
    embedder: Loaded,
    reranker: Loaded,
    reader: Option<Loaded>,
}

impl Models {
    fn load(options: &BuildOptions, store: &ModelStore) -> Result<Models, NodeError> {
        let embedder = store.load(&options.embedder)?.must_embed("retriever")?;
        let reranker = match &options.reranker {
            name if *name == options.embedder => embedder.clone(),
            name => store.load(name)?.must_rerank()?,
        };
        let read = |name: &String| store.load(name)?.must_read();
        let reader = options.reader.as_ref().map(read).transpose()?;
        Ok(Models { embedder, reranker, reader })
    }
}

impl<'a> Assembly<'a> {
    /// Sees that all that is needed is there.
    fn start(
        output: &Path,
        options: &'a BuildOptions,
        models: &ModelStore,
    ) -> Result<Assembly<'a>, NodeError> {
        let application = Application::load(options.app.as_deref())?;
        // Writing comes last, but where nothing can be written nothing need be computed.
        let writer = Writer::create(output)?;
        let models = Models::load(options, models)?;
        Ok(Assembly { options, application, writer, models })
    }

    fn finish(
        self,
        documents: Vec<Document>,
        paths: Vec<PathBuf>,
        progress: &dyn Fn(Step) -> Result<(), NodeError>,
    ) -> Result<(About, String), NodeError> {
        let Assembly { options, application, mut writer, models } = self;
        let Models { embedder, reranker, reader } = &models;
        let passages = documents.iter().map(|document| document.passages.len()).sum::<usize>();
        let first = documents.first().and_then(|document| document.vectors.first());
        let about = About {
            trine: env!("CARGO_PKG_VERSION").to_owned(),
            documents: documents.len() as u64,
            passages: passages as u64,
            dimensions: first.map_or(0, Vector::dimensions),
            chunking: options.chunking,
            overlap: options.overlap,
            vectors: options.vectors,
            lexical: options.lexical,
            paths,
            embedder: embedder.reference()?,
            reranker: reranker.reference()?,
            scoring: reranker.scoring(),
            generator: embedder.reference()?,
            reader: reader.as_ref().map(Loaded::reference).transpose()?,
        };
        let mut connected = |done| progress(Step::Graph { vectors: passages, done });
        connected(0)?;
        let BuildOptions { vectors, lexical, .. } = *options;
        let base = BaseOptions { threads: options.engine.threads, vectors, lexical };
        living::write_base(&mut writer, documents, base, &mut connected)?;
        write_application(&mut writer, &application, &models, progress)?;
        let setup = retriever_setup(embedder, about.documents, options.bm25);
        writer.section(RETRIEVER_SETUP, &json(&setup)?)?;
        writer.section(TOKENIZER, &embedder.tokenizer)?;
        writer.section(ABOUT, &json(&about)?)?;
        progress(Step::Writing)?;
        Ok((about, writer.finish()?))
    }
}

/// Paths that mean the same wherever a later command is given.
pub(crate) fn whole_paths(paths: &[PathBuf]) -> Result<Vec<PathBuf>, NodeError> {
    let whole = |path: &PathBuf| {
        let absolute = std::path::absolute(path);
        absolute.map_err(|error| NodeError::Io { path: path.clone(), error })
    };
    paths.iter().map(whole).collect()
}

/// Writes the manifest and the components: filled, but for the retriever, whose parts change, and for
/// generators that write, which are made of components that were filled before.
fn write_application(
    writer: &mut Writer,
    application: &Application,
    models: &Models,
    progress: &dyn Fn(Step) -> Result<(), NodeError>,
) -> Result<(), NodeError> {
    writer.section(SPIN_TOML, application.text.as_bytes())?;
    for file in application.manifest.files() {
        let component = application.component(file)?;
        let fill = |role: Role, parts| {
            progress(Step::Snapshot { component: role.name() })?;
            Ok::<_, NodeError>(snapshot(role.name(), &component, parts)?)
        };
        let component = match Role::of(&application.manifest, file) {
            Some(role @ Role::Reranker) => fill(role, reranker_parts(models)?)?,
            Some(role @ Role::Generator) if !application.manifest.writes => {
                fill(role, generator_parts(models)?)?
            }
            Some(Role::Retriever | Role::Generator) | None => component,
        };
        writer.section(&component_section(file), &component)?;
    }
    Ok(())
}

fn retriever_setup(embedder: &Loaded, documents: u64, bm25: Bm25) -> RetrieverSetup {
    RetrieverSetup {
        model: embedder.name.clone(),
        graph: embedder.embedding_graph(),
        max_tokens: embedder.window(),
        pooling: embedder.pooling(),
        documents: documents as u32,
        bm25,
    }
}

fn reranker_parts(models: &Models) -> Result<Vec<Part<'_>>, NodeError> {
    let Models { reranker, reader, .. } = models;
    // A cross-encoder has read the passages already.
    let late = reranker.scoring() == Scoring::LateInteraction;
    let reader = reader.as_ref().filter(|_| late);
    let setup = RerankerSetup {
        model: reranker.name.clone(),
        graph: reranker.reranking_graph(),
        max_tokens: reranker.window(),
        scoring: reranker.scoring(),
        fusion: Fusion {
            weight: FUSION,
            spread: late.then_some(SPREAD),
            smoothing: SMOOTHING,
            reading: reader.map(|reader| ReadingSetup {
                graph: reader.name.clone(),
                max_tokens: reader.window().min(READ_AT_ONCE),
                weight: ANSWERS,
            }),
        },
    };
    let mut parts = vec![
        Part::bytes(setup::SETUP, json(&setup)?),
        Part::bytes(setup::TOKENIZER, &reranker.tokenizer),
    ];
    if let Some(reader) = reader.filter(|reader| reader.tokenizer != reranker.tokenizer) {
        parts.push(Part::bytes(setup::READER_TOKENIZER, &reader.tokenizer));
    }
    Ok(parts)
}

fn generator_parts(models: &Models) -> Result<Vec<Part<'_>>, NodeError> {
    let Models { embedder: encoder, reranker, reader } = models;
    let setup = GeneratorSetup {
        model: encoder.name.clone(),
        graph: encoder.embedding_graph(),
        max_tokens: encoder.window(),
        pooling: encoder.pooling(),
        threshold: if reader.is_some() { READER_THRESHOLD } else { THRESHOLD },
        reader: reader.as_ref().map(|reader| ReaderSetup {
            model: reader.name.clone(),
            graph: reader.name.clone(),
            max_tokens: reader.window().min(READ_AT_ONCE),
            calibration: match reranker.scoring() {
                Scoring::LateInteraction => CALIBRATION,
                Scoring::CrossEncoder => SPAN_ALONE,
            },
        }),
    };
    let mut parts = vec![
        Part::bytes(setup::SETUP, json(&setup)?),
        Part::bytes(setup::TOKENIZER, &encoder.tokenizer),
    ];
    if let Some(reader) = reader.as_ref().filter(|reader| reader.tokenizer != encoder.tokenizer) {
        parts.push(Part::bytes(setup::READER_TOKENIZER, &reader.tokenizer));
    }
    Ok(parts)
}
