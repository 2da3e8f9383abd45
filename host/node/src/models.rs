//! Models by name: their files, their kind, their digests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use trine_index::setup::{self, Scoring};
use trine_inference::{Graphs, Model, ModelError, ModelKind, PrecisionOption, View};
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
    /// Folders given for names, before any other place.
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
    pub(crate) folder: PathBuf,
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
        let path = Path::new(name);
        if path.is_dir() && path.join("config.json").is_file() {
            return Ok(path.to_owned());
        }
        let manifest = match trine_hub::find(name) {
            Ok(manifest) => manifest,
            Err(unknown) => {
                let by_hand = self.cache.join("models").join(file_name(name));
                return match by_hand.join("config.json").is_file() {
                    true => Ok(by_hand),
                    false => Err(unknown.into()),
                };
            }
        };
        Ok(trine_hub::pull(&manifest, &self.cache, &*self.on_event)?)
    }

    /// Opens the model in a folder.
    pub fn open(&self, folder: &Path) -> Result<Model, ModelError> {
        let model = Model::open(folder)?;
        Ok(match self.weight_cache {
            true => model.with_weight_cache(self.cache.join("weights")),
            false => model,
        })
    }

    /// Loads the model `name`; a path's name is its last part.
    pub(crate) fn load(&self, name: &str) -> Result<Loaded, NodeError> {
        self.load_at(name, PrecisionOption::Auto)
    }

    /// [`ModelStore::load`], to be computed at a precision.
    fn load_at(&self, name: &str, precision: PrecisionOption) -> Result<Loaded, NodeError> {
        let folder = self.folder(name)?;
        let name = file_name(name).to_owned();
        let model = match self.open(&folder) {
            Ok(model) => Arc::new(model.at(precision)),
            Err(error) => {
                return Err(NodeError::Model { name, folder, error: Box::new(error) });
            }
        };
        let tokenizer = read(&folder.join("tokenizer.json"))?;
        Ok(Loaded { name, folder, model, tokenizer })
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
        match self.model.info().kind {
            ModelKind::Encoder => Ok(self),
            ModelKind::CrossEncoder => Err(NodeError::Kind {
                model: self.name,
                found: "cross-encoder",
                role,
                needed: "sentence encoder",
            }),
        }
    }

    /// How it scores pairs: by its own head, or, where it has none, by late interaction.
    pub(crate) fn scoring(&self) -> Scoring {
        match self.model.info().kind {
            ModelKind::CrossEncoder => Scoring::CrossEncoder,
            ModelKind::Encoder => Scoring::LateInteraction,
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

fn file_name(name: &str) -> &str {
    Path::new(name).file_name().and_then(|n| n.to_str()).unwrap_or(name)
}
