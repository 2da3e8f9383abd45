//! Language models by name: registered ones, GGUF files, and folders.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trine_components::DECODER;
use trine_hub::{ADAPTER, GGUF, Kind, Manifest, Registration, Source};
use trine_index::setup;
use trine_inference::generation::{GenerationOptions, Generations};
use trine_inference::text::{ChatTemplate, DecoderSetup, Message, TextError, TextTokenizer};
use trine_inference::{DecoderModel, ModelError, ModelKind};
use trine_runtime::snapshot::{Part, snapshot};

use crate::models::file_name;
use crate::{ModelStore, NodeError};

/// A language model, opened: what an answer is made with. Its weights are read by the device that
/// takes them.
pub struct LanguageModel {
    /// The name that it was asked for by; of a path, the last part without `.gguf`.
    pub name: String,
    /// What it is, and its weights.
    pub model: DecoderModel,
    /// Text to its tokens and back.
    pub tokenizer: Arc<TextTokenizer>,
    /// Messages to a prompt; `None` where the model brings none.
    pub template: Option<ChatTemplate>,
}

impl LanguageModel {
    /// Opens a GGUF file, or a folder of `config.json`, safetensors and `tokenizer.json`.
    pub fn open(name: &str, path: &Path) -> Result<LanguageModel, NodeError> {
        let open = || {
            let model = DecoderModel::open(path)?;
            let tokenizer = Arc::new(model.tokenizer()?);
            let template = model.chat_template()?;
            Ok(LanguageModel { name: name.to_owned(), model, tokenizer, template })
        };
        open().map_err(|error: ModelError| NodeError::Model {
            name: name.to_owned(),
            folder: path.to_owned(),
            error: Box::new(error),
        })
    }

    /// The tokens of a prompt for an answer to some messages, by the model's own template.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let missing =
            || TextError::Template("the model brings none; give it plain text".to_owned());
        let prompt = self.template.as_ref().ok_or_else(missing)?.prompt(messages)?;
        self.tokenizer.encode(&prompt, false)
    }

    /// The decoder component for it: what drives it on a host that has wasi:nn alone, where the graph
    /// of its name gives logits.
    pub(crate) fn decoder(&self) -> Result<Vec<u8>, NodeError> {
        let config = self.model.config();
        let setup = DecoderSetup {
            model: self.name.clone(),
            context: u32::try_from(config.context).unwrap_or(u32::MAX),
            ends: config.ends.clone(),
            template: self.template.clone(),
        };
        let malformed = |e: &dyn Display| NodeError::malformed("tokenizer", e);
        let setup = serde_json::to_vec(&setup).map_err(|e| malformed(&e))?;
        let tokenizer = self.tokenizer.json().map_err(|e| malformed(&e))?;
        let parts = vec![
            Part::bytes(setup::SETUP, setup),
            Part::bytes(setup::TOKENIZER, tokenizer.into_bytes()),
        ];
        Ok(snapshot(DECODER.file, DECODER.bytes, parts)?)
    }

    /// Takes it to a device, to answer there for applications.
    pub fn start(
        self,
        options: GenerationOptions,
    ) -> Result<trine_runtime::LanguageModel, NodeError> {
        let LanguageModel { name, model, tokenizer, template } = self;
        let context = model.config().context;
        let generations = Generations::start(model, Some(tokenizer.clone()), options)?;
        Ok(trine_runtime::LanguageModel::new(name, context, generations, tokenizer, template))
    }
}

impl ModelStore {
    /// The language model `name`: one given for the name, a path to a GGUF file or a folder, or one
    /// that was registered with `trine models add` or put into the cache by hand. Fails, listing what
    /// there is, where there is none.
    pub fn language_model(&self, name: &str) -> Result<LanguageModel, NodeError> {
        let path = self.language_model_path(name)?;
        LanguageModel::open(file_name(name).trim_end_matches(".gguf"), &path)
    }

    /// The model alone, without its tokenizer and template.
    pub fn decoder(&self, name: &str) -> Result<DecoderModel, NodeError> {
        let path = self.language_model_path(name)?;
        DecoderModel::open(&path).map_err(|error| NodeError::Model {
            name: name.to_owned(),
            folder: path,
            error: Box::new(error),
        })
    }

    fn language_model_path(&self, name: &str) -> Result<PathBuf, NodeError> {
        if let Some(path) = self.folders.get(name) {
            return Ok(path.clone());
        }
        if let Some(path) = decoder_at(name.into()) {
            return Ok(path);
        }
        let known = trine_hub::known(&self.cache)?;
        let folder = match known.iter().find(|manifest| manifest.name == name) {
            Some(manifest) => trine_hub::pull(manifest, &self.cache, &*self.on_event)?,
            None => self.cache.join("models").join(file_name(name)),
        };
        decoder_at(folder).ok_or_else(|| {
            let known = known.into_iter().filter(|manifest| manifest.kind == Kind::Generator);
            let known: Vec<String> = known.map(|manifest| manifest.name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            NodeError::NoLanguageModel { name: name.to_owned(), known }
        })
    }

    /// Registers a model under a name: a GGUF file, a folder with a model's files, or a repository of
    /// a model hub, `OWNER/NAME`, whose digests trine knows. Files are linked into the cache, or copied
    /// where they lie on another disk. Without a licence the one that the files state is written down.
    /// Fails where the files make no model that trine can run.
    pub fn add(
        &self,
        name: &str,
        source: &str,
        licence: Option<String>,
    ) -> Result<Manifest, NodeError> {
        let path = self.source(source)?;
        let path = path.as_path();
        let (kind, description, stated) = self.describe(name, path)?;
        let licence = licence.or(stated).unwrap_or_else(|| "unknown".to_owned());
        let registration = Registration { name: name.to_owned(), kind, licence, description };
        Ok(trine_hub::register(registration, path, &self.cache)?)
    }

    /// Where the files of a model to be registered lie. From a hub come only files whose digests are
    /// known: others would be taken on trust.
    fn source(&self, source: &str) -> Result<PathBuf, NodeError> {
        if Path::new(source).exists() {
            return Ok(source.into());
        }
        let on_hub = |from: &Source| matches!(from, Source::Hub(hub) if hub.repository == source);
        let known = trine_hub::builtin()?;
        match known.iter().find(|manifest| manifest.sources.iter().any(on_hub)) {
            Some(manifest) => Ok(trine_hub::pull(manifest, &self.cache, &*self.on_event)?),
            None => Err(NodeError::NoSource { origin: source.to_owned() }),
        }
    }

    /// What a model is, in a line, and the licence that its files state.
    fn describe(
        &self,
        name: &str,
        path: &Path,
    ) -> Result<(Kind, String, Option<String>), NodeError> {
        if path.join(ADAPTER).is_file() || is_bert(path) {
            let kind = match self.open(path.to_owned())?.2.info().kind {
                ModelKind::Encoder => Kind::SentenceEncoder,
                ModelKind::CrossEncoder => Kind::CrossEncoder,
                ModelKind::Reader => Kind::Reader,
            };
            return Ok((kind, "registered here".to_owned(), stated_licence(path)));
        }
        let LanguageModel { model, .. } = LanguageModel::open(name, path)?;
        let stated = match model.gguf() {
            Some(gguf) => gguf.get("general.license").and_then(|v| v.as_str()).map(str::to_owned),
            None => stated_licence(path),
        };
        Ok((Kind::Generator, summary(&model), stated))
    }
}

/// A language model in a line: `llama, Q4_0, 8192 tokens`.
fn summary(model: &DecoderModel) -> String {
    let config = model.config();
    format!("{}, {}, {} tokens", config.architecture, model.weights(), config.context)
}

/// A file, or what a folder has of a decoder: a GGUF file, as in the cache, or all of it.
fn decoder_at(path: PathBuf) -> Option<PathBuf> {
    let file = path.join(GGUF);
    match file.is_file() {
        true => Some(file),
        false => (path.is_file() || path.join("config.json").is_file()).then_some(path),
    }
}

/// What a folder's `config.json` says of its architecture.
#[derive(serde::Deserialize)]
struct Config {
    model_type: String,
}

fn is_bert(folder: &Path) -> bool {
    let config = std::fs::read(folder.join("config.json")).unwrap_or_default();
    let config: Option<Config> = serde_json::from_slice(&config).ok();
    config.is_some_and(|config| ["bert", "dpr"].contains(&config.model_type.as_str()))
}

/// The licence in the front matter of a folder's README, where model hubs have it.
fn stated_licence(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("README.md")).ok()?;
    let (front_matter, _) = text.strip_prefix("---")?.split_once("\n---")?;
    let licence = front_matter.lines().find_map(|line| line.strip_prefix("license:"))?;
    Some(licence.trim().trim_matches(['"', '\'']).to_owned()).filter(|licence| !licence.is_empty())
}
