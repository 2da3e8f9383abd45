//! Models by name: their files, their kind, their digests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use trine_hub::ADAPTER;
use trine_index::setup::{self, Scoring};
use trine_inference::{Adapter, Graphs, Model, ModelKind, PrecisionOption, View};
use trine_text::tokens::Encoder;

use crate::{ModelRef, NodeError};

/// The files that decide what a model answers. The last is optional in a folder.
const DECISIVE: [&str; 4] = ["config.json", "tokenizer.json", WEIGHTS, "1_Pooling/config.json"];
/// The largest of them.
const WEIGHTS: &str = "model.safetensors";

/// Where models come from.
pub struct ModelStore {
    /// The cache folder; models lie in its `models/NAME`.
    pub cache: PathBuf,
    /// Folders, or GGUF files, given for names, before any other place.
    pub folders: BTreeMap<String, PathBuf>,
    /// Whether weights packed for the CPU are kept in the cache's `weights`.
    pub weight_cache: bool,
    /// Told what a download does.
    pub on_event: Box<dyn Fn(trine_hub::Event)>,
}

/// A model, loaded. Clones share its weights.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    /// Its own, or its base's.
    pub(crate) folder: PathBuf,
    /// The digest of the adapter that was opened.
    adapter: Option<String>,
    pub(crate) model: Arc<Model>,
    pub(crate) tokenizer: Vec<u8>,
}

impl ModelStore {
    /// The folder of the model `name`: one given for it, one put into the cache by hand, or a
    /// known model's, downloaded if need be. A path to a folder is taken as it is.
    pub fn folder(&self, name: &str) -> Result<PathBuf, NodeError> {
        if let Some(folder) = self.folders.get(name) {
            return Ok(folder.clone());
        }
        let is_model =
            |folder: &Path| folder.join("config.json").is_file() || folder.join(ADAPTER).is_file();
        let path = Path::new(name);
        if is_model(path) {
            return Ok(path.to_owned());
        }
        let manifest = match trine_hub::find(name, &self.cache) {
            Ok(manifest) => manifest,
            Err(unknown @ trine_hub::Error::Unknown { .. }) => {
                let by_hand = self.cache.join("models").join(file_name(name));
                return match is_model(&by_hand) {
                    true => Ok(by_hand),
                    false => Err(unknown.into()),
                };
            }
            Err(error) => return Err(error.into()),
        };
        // An adapter is of no use without what it changes.
        if let Some(base) = &manifest.base {
            self.folder(base)?;
        }
        Ok(trine_hub::pull(&manifest, &self.cache, &*self.on_event)?)
    }

    /// Loads the model `name`, to be computed where and how an engine has it.
    pub fn model(&self, name: &str) -> Result<Arc<Model>, NodeError> {
        Ok(self.load(name)?.model)
    }

    /// Opens the model in a folder, and where an adapter lies there the base that it changes. The
    /// folder that has the tokenizer, the adapter's digest, and the model.
    pub(crate) fn open(
        &self,
        folder: PathBuf,
    ) -> Result<(PathBuf, Option<String>, Model), NodeError> {
        let named = |folder: &Path, error| {
            let name = file_name(&folder.to_string_lossy()).to_owned();
            NodeError::Model { name, folder: folder.to_owned(), error: Box::new(error) }
        };
        let path = folder.join(ADAPTER);
        let (folder, adapter, model) = match path.is_file() {
            false => {
                let model = Model::open(&folder).map_err(|e| named(&folder, e))?;
                (folder, None, model)
            }
            true => {
                let adapter = Adapter::open(&path).map_err(|e| named(&folder, e))?;
                let base = self.folder(adapter.base())?;
                let model = Model::open_adapted(&base, &adapter).map_err(|e| named(&folder, e))?;
                (base, Some(adapter.sha256()), model)
            }
        };
        let model = match self.weight_cache {
            true => model.with_weight_cache(self.cache.join("weights")),
            false => model,
        };
        Ok((folder, adapter, model))
    }

    /// Loads the model `name`; a path's name is its last part.
    pub(crate) fn load(&self, name: &str) -> Result<Loaded, NodeError> {
        self.load_at(name, PrecisionOption::Auto)
    }

    /// [`ModelStore::load`], to be computed at a precision.
    fn load_at(&self, name: &str, precision: PrecisionOption) -> Result<Loaded, NodeError> {
        let (folder, adapter, model) = self.open(self.folder(name)?)?;
        let tokenizer = read(&folder.join("tokenizer.json"))?;
        let (name, model) = (file_name(name).to_owned(), Arc::new(model.at(precision)));
        Ok(Loaded { name, folder, adapter, model, tokenizer })
    }

    /// Loads the model that a bundle names, and holds its files against the bundle's digests.
    pub(crate) fn load_pinned(
        &self,
        reference: &ModelRef,
        precision: PrecisionOption,
    ) -> Result<Loaded, NodeError> {
        let loaded = self.load_at(&reference.name, precision)?;
        let here = loaded.digests()?;
        // A file too many decides as much as one that is missing.
        for file in reference.sha256.keys().chain(here.keys()) {
            let (expected, found) = (reference.sha256.get(file), here.get(file));
            if found != expected {
                let shown = |digest: Option<&String>| digest.map_or("none", |d| d).to_owned();
                return Err(NodeError::Digest {
                    model: reference.name.clone(),
                    file: file.clone(),
                    found: shown(found),
                    expected: shown(expected),
                });
            }
        }
        Ok(loaded)
    }
}

impl Loaded {
    pub(crate) fn reference(&self) -> Result<ModelRef, NodeError> {
        Ok(ModelRef { name: self.name.clone(), sha256: self.digests()? })
    }

    /// The digests of the files that decide what it answers.
    fn digests(&self) -> Result<BTreeMap<String, String>, NodeError> {
        let mut digests = BTreeMap::new();
        digests.extend(self.adapter.iter().map(|digest| (ADAPTER.to_owned(), digest.clone())));
        for file in DECISIVE {
            let path = self.folder.join(file);
            let digest = match file {
                WEIGHTS => self.model.sha256().map_err(|error| NodeError::Model {
                    name: self.name.clone(),
                    folder: self.folder.clone(),
                    error: Box::new(error),
                })?,
                _ => None,
            };
            match digest {
                // Of the very file that was opened.
                Some(digest) => digests.insert(file.to_owned(), digest.to_owned()),
                None if path.is_file() => digests.insert(file.to_owned(), sha256(&path)?),
                None => None,
            };
        }
        Ok(digests)
    }

    /// The tokenizer with this model's window.
    pub(crate) fn encoder(&self) -> Result<Encoder, NodeError> {
        Ok(Encoder::new(&self.tokenizer, self.window())?)
    }

    pub(crate) fn window(&self) -> usize {
        self.model.info().max_tokens
    }

    pub(crate) fn pooling(&self) -> setup::Pooling {
        match self.model.info().pooling {
            trine_inference::Pooling::Mean => setup::Pooling::Mean,
            trine_inference::Pooling::Cls => setup::Pooling::Cls,
        }
    }

    /// Refuses what does not embed texts.
    pub(crate) fn must_embed(self, role: &'static str) -> Result<Loaded, NodeError> {
        self.must_be(&[ModelKind::Encoder], role, "sentence encoder")
    }

    /// Refuses what does not score pairs.
    pub(crate) fn must_rerank(self) -> Result<Loaded, NodeError> {
        let kinds = [ModelKind::Encoder, ModelKind::CrossEncoder];
        self.must_be(&kinds, "reranker", "cross-encoder or an encoder")
    }

    /// Refuses what does not read answers.
    pub(crate) fn must_read(self) -> Result<Loaded, NodeError> {
        self.must_be(&[ModelKind::Reader], "reader", "reader (question answering)")
    }

    fn must_be(
        self,
        kinds: &[ModelKind],
        role: &'static str,
        needed: &'static str,
    ) -> Result<Loaded, NodeError> {
        let found = match self.model.info().kind {
            kind if kinds.contains(&kind) => return Ok(self),
            ModelKind::Encoder => "sentence encoder",
            ModelKind::CrossEncoder => "cross-encoder",
            ModelKind::Reader => "reader",
        };
        Err(NodeError::Kind { model: self.name, found, role, needed })
    }

    /// How it scores pairs: by its own head, or, where it has none, by late interaction.
    pub(crate) fn scoring(&self) -> Scoring {
        match self.model.info().kind {
            ModelKind::CrossEncoder => Scoring::CrossEncoder,
            ModelKind::Encoder | ModelKind::Reader => Scoring::LateInteraction,
        }
    }

    /// Adds the graphs that guests ask for to embed texts.
    pub(crate) fn add_embedding(&self, graphs: &mut Graphs) -> Result<(), NodeError> {
        graphs.insert(&self.name, self.model.clone(), View::Encoder)?;
        let view = View::SentenceEmbedding;
        Ok(graphs.insert(self.embedding_graph(), self.model.clone(), view)?)
    }

    /// The graphs that embed texts, and no others.
    pub(crate) fn embedding_graphs(&self) -> Result<Graphs, NodeError> {
        let mut graphs = Graphs::new();
        self.add_embedding(&mut graphs)?;
        Ok(graphs)
    }

    /// Adds the graph that guests ask for to score pairs.
    pub(crate) fn add_reranking(&self, graphs: &mut Graphs) -> Result<(), NodeError> {
        let view = match self.scoring() {
            Scoring::CrossEncoder => View::CrossEncoder,
            Scoring::LateInteraction => View::LateInteraction,
        };
        Ok(graphs.insert(self.reranking_graph(), self.model.clone(), view)?)
    }

    /// Adds the graph that guests ask for to read answers.
    pub(crate) fn add_reading(&self, graphs: &mut Graphs) -> Result<(), NodeError> {
        Ok(graphs.insert(&self.name, self.model.clone(), View::Reader)?)
    }

    /// The name by which guests load it to embed texts.
    pub(crate) fn embedding_graph(&self) -> String {
        format!("{}/sentence-embedding", self.name)
    }

    /// The name by which guests load it to score pairs.
    pub(crate) fn reranking_graph(&self) -> String {
        match self.scoring() {
            Scoring::CrossEncoder => self.name.clone(),
            Scoring::LateInteraction => format!("{}/late-interaction", self.name),
        }
    }
}

fn sha256(path: &Path) -> Result<String, NodeError> {
    let at = |error| NodeError::Io { path: path.to_owned(), error };
    let mut hasher = Sha256::new();
    let mut file = fs::File::open(path).map_err(at)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).map_err(at)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, NodeError> {
    fs::read(path).map_err(|error| NodeError::Io { path: path.to_owned(), error })
}

pub(crate) fn file_name(name: &str) -> &str {
    Path::new(name).file_name().and_then(|n| n.to_str()).unwrap_or(name)
}
