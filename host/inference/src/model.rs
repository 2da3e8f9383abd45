//! A model as it lies in a folder: what it is, and its weights on the host.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use trine_kernels::{Pooling, Precision};

use crate::bert::BertWeights;
use crate::config::{BertConfig, SentenceSettings};
use crate::weights::{RandomWeights, WeightsFile};
use crate::{Adapter, ModelError, PrecisionOption};

/// What a model's weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A text to one vector a token.
    Encoder,
    /// A pair of texts to a score a label.
    CrossEncoder,
    /// A question and a passage to the span of the passage that answers.
    Reader,
}

/// What a model is, apart from its name and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// What it computes.
    pub kind: ModelKind,
    /// Width of a token's vector.
    pub hidden_size: usize,
    /// Its window in tokens, special ones included: what it was trained or set up for.
    pub max_tokens: usize,
    /// Positions it has embeddings for; sequences between `max_tokens` and this still run.
    pub max_positions: usize,
    /// Tokens of its vocabulary.
    pub vocabulary: usize,
    /// Kinds of segment.
    pub token_types: usize,
    /// How its token vectors become one.
    pub pooling: Pooling,
    /// Whether that one is scaled to length 1.
    pub normalize: bool,
    /// Outputs of a cross-encoder, or of each token of a reader; 0 of an encoder.
    pub labels: usize,
    /// Numbers it was trained to.
    pub parameters: usize,
}

/// A model checked, ready for a device. Its weights are mapped, and read by the devices that take
/// them.
pub struct Model {
    info: ModelInfo,
    config: BertConfig,
    weights: BertWeights,
    /// `None` of random weights.
    file: Option<WeightsFile>,
    /// The digest of what changed them.
    adapter: Option<String>,
    sha256: OnceLock<String>,
    precision: PrecisionOption,
    weight_cache: Option<PathBuf>,
}

impl Model {
    /// Reads a Hugging Face folder: `config.json` and `model.safetensors`, and where they are
    /// there `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json` and
    /// `tokenizer_config.json`. Fails when
    /// a file is missing or damaged, a tensor is missing or of the wrong shape, or the model asks
    /// for what is not implemented; nothing is left to fail at the first computation.
    pub fn open(folder: impl AsRef<Path>) -> Result<Model, ModelError> {
        let folder = folder.as_ref();
        let config = BertConfig::read(folder)?;
        let kind = config.kind()?;
        let settings = SentenceSettings::read(folder, config.pooling())?;
        let file = WeightsFile::read(folder)?;
        let weights = BertWeights::read(&config, kind, &file.tensors()?)?;
        Ok(Model { file: Some(file), ..Model::new(config, kind, settings, weights) })
    }

    /// The model in `folder` as an adapter changes it. What the folder's model is for does not
    /// matter; the adapter says what the changed one is for.
    pub fn open_adapted(folder: impl AsRef<Path>, adapter: &Adapter) -> Result<Model, ModelError> {
        let folder = folder.as_ref();
        let config = BertConfig::read(folder)?;
        let mut settings = SentenceSettings::read(folder, config.pooling())?;
        settings.max_tokens = adapter.max_tokens().or(settings.max_tokens);
        let file = WeightsFile::read(folder)?;
        let kind = adapter.kind();
        let weights = BertWeights::read(&config, kind, &adapter.over(file.tensors()?)?)?;
        let model = Model::new(config, kind, settings, weights);
        Ok(Model { file: Some(file), adapter: Some(adapter.sha256()), ..model })
    }

    /// The same model, computed on a CPU at a precision of its own; `Auto` leaves it to the
    /// engine's options.
    pub fn at(self, precision: PrecisionOption) -> Model {
        Model { precision, ..self }
    }

    /// The same model, whose weights are packed for a CPU once and kept in a file of `folder`, which
    /// the next engine maps. Files there that are damaged are written anew.
    pub fn with_weight_cache(self, folder: PathBuf) -> Model {
        Model { weight_cache: Some(folder), ..self }
    }

    /// The SHA-256 of the file of weights (of an adapted model its base's), in hexadecimal, found when it is first asked for; `None` of
    /// random weights.
    pub fn sha256(&self) -> Result<Option<&str>, ModelError> {
        let Some(file) = &self.file else { return Ok(None) };
        if self.sha256.get().is_none() {
            let _ = self.sha256.set(file.sha256()?);
        }
        Ok(self.sha256.get().map(String::as_str))
    }

    /// A model of MiniLM-L6-H384's shape (Wang et al. 2020) whose weights are random, the same
    /// for the same seed: it takes the time of a real one, and its answers mean nothing.
    pub fn random_minilm(kind: ModelKind, seed: u64) -> Result<Model, ModelError> {
        let config = BertConfig::minilm(kind);
        let weights = BertWeights::read(&config, kind, &RandomWeights { seed })?;
        let settings =
            SentenceSettings { pooling: Pooling::Mean, normalize: true, max_tokens: None };
        Ok(Model::new(config, kind, settings, weights))
    }

    fn new(
        config: BertConfig,
        kind: ModelKind,
        settings: SentenceSettings,
        weights: BertWeights,
    ) -> Model {
        let positions = config.max_position_embeddings;
        let info = ModelInfo {
            kind,
            hidden_size: config.hidden_size,
            max_tokens: settings.max_tokens.unwrap_or(positions).min(positions),
            max_positions: positions,
            vocabulary: config.vocab_size,
            token_types: config.type_vocab_size,
            pooling: settings.pooling,
            normalize: settings.normalize,
            labels: weights.labels(),
            parameters: weights.parameters(),
        };
        Model {
            info,
            config,
            weights,
            file: None,
            adapter: None,
            sha256: OnceLock::new(),
            precision: PrecisionOption::Auto,
            weight_cache: None,
        }
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// What weights packed for a CPU are kept by: the digests of all they are made of.
    pub(crate) fn key(&self) -> Result<Option<String>, ModelError> {
        let Some(weights) = self.sha256()? else { return Ok(None) };
        Ok(Some(match &self.adapter {
            None => weights.to_owned(),
            Some(adapter) => format!("{}-{}", &weights[..32], &adapter[..32]),
        }))
    }

    pub(crate) fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Its own precision on this machine; `None` where it is the engine's.
    pub(crate) fn precision(&self) -> Option<Precision> {
        (self.precision != PrecisionOption::Auto).then(|| self.precision.here())
    }

    pub(crate) fn weight_cache(&self) -> Option<&Path> {
        self.weight_cache.as_deref()
    }

    pub(crate) fn weights(&self) -> &BertWeights {
        &self.weights
    }
}
