//! A model folder's JSON files, typed and checked.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use trine_kernels::Pooling;

use crate::{ModelError, ModelKind};

/// `config.json` of a BERT (Devlin et al. 2019), as Hugging Face writes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct BertConfig {
    /// Classes of transformers that the weights are for.
    pub architectures: Vec<String>,
    /// Family.
    pub model_type: String,
    /// Width of a token's vector, H in the paper.
    pub hidden_size: usize,
    /// Layers, L in the paper.
    pub num_hidden_layers: usize,
    /// Attention heads, A in the paper.
    pub num_attention_heads: usize,
    /// Width of the feed-forward network.
    pub intermediate_size: usize,
    /// Longest sequence that has position embeddings.
    pub max_position_embeddings: usize,
    /// Kinds of segment.
    pub type_vocab_size: usize,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f32,
    /// Activation of the feed-forward network.
    pub hidden_act: String,
    /// How positions enter; absolute when absent.
    #[serde(default)]
    pub position_embedding_type: Option<String>,
    /// Outputs of a classifier, where they are given by number.
    #[serde(default)]
    num_labels: Option<usize>,
    /// Outputs of a classifier, where they are given by name.
    #[serde(default)]
    id2label: Option<BTreeMap<String, String>>,
    /// Width that DPR's encoders project their vector to; 0 for none.
    #[serde(default)]
    projection_dim: usize,
}

/// The `model_type` of DPR's encoders, a BERT each under names of their own.
const DPR: &str = "dpr";

/// More than any model has, and few enough that no product of two overflows.
const MOST: usize = 1 << 24;

impl BertConfig {
    /// all-MiniLM-L6-v2's, or a cross-encoder's of its shape.
    pub(crate) fn minilm(kind: ModelKind) -> BertConfig {
        let class = match kind {
            ModelKind::Encoder => "BertModel",
            ModelKind::CrossEncoder => "BertForSequenceClassification",
            ModelKind::Reader => "BertForQuestionAnswering",
        };
        BertConfig {
            architectures: vec![class.to_owned()],
            model_type: "bert".to_owned(),
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            vocab_size: 30_522,
            layer_norm_eps: 1e-12,
            hidden_act: "gelu".to_owned(),
            position_embedding_type: None,
            num_labels: Some(1),
            id2label: None,
            projection_dim: 0,
        }
    }

    /// Columns of the widest matrix between two kernels.
    pub(crate) fn widest(&self) -> usize {
        (3 * self.hidden_size).max(self.intermediate_size)
    }

    pub(crate) fn read(folder: &Path) -> Result<BertConfig, ModelError> {
        let config: BertConfig = read_json(&folder.join("config.json"))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ModelError> {
        supported("model_type", &self.model_type, &["bert", DPR], "bert, dpr")?;
        // "gelu_new" and others approximate it otherwise: close, and wrong.
        supported("hidden_act", &self.hidden_act, &["gelu"], "gelu")?;
        let positions = self.position_embedding_type.as_deref().unwrap_or("absolute");
        supported("position_embedding_type", positions, &["absolute"], "absolute")?;
        if self.projection_dim != 0 {
            let found = self.projection_dim.to_string();
            let field = "projection_dim";
            return Err(ModelError::Unsupported { field, found, supported: "0" });
        }
        for (field, value) in [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
            ("vocab_size", self.vocab_size),
            ("num_labels", self.labels()),
        ] {
            if value == 0 || value > MOST {
                let reason = format!("is {value}; it must be 1 to {MOST}");
                return Err(ModelError::Config { field, reason });
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let reason = format!("{} does not divide by the heads", self.hidden_size);
            return Err(ModelError::Config { field: "hidden_size", reason });
        }
        if !(0.0..1.0).contains(&self.layer_norm_eps) {
            let reason = format!("is {}; it must be 0 to 1", self.layer_norm_eps);
            return Err(ModelError::Config { field: "layer_norm_eps", reason });
        }
        Ok(())
    }

    /// What the weights are for.
    pub(crate) fn kind(&self) -> Result<ModelKind, ModelError> {
        match self.architectures.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["BertModel" | "DPRQuestionEncoder" | "DPRContextEncoder"] => Ok(ModelKind::Encoder),
            ["BertForSequenceClassification"] => Ok(ModelKind::CrossEncoder),
            ["BertForQuestionAnswering"] => Ok(ModelKind::Reader),
            _ => Err(ModelError::Unsupported {
                field: "architectures",
                found: format!("{:?}", self.architectures),
                supported: "BertModel, BertForSequenceClassification, BertForQuestionAnswering, \
                            DPRQuestionEncoder, DPRContextEncoder",
            }),
        }
    }

    /// How its authors make one vector of a text, where no file says: DPR by the first token
    /// (Karpukhin et al. 2020), sentence-transformers by the mean.
    pub(crate) fn pooling(&self) -> Pooling {
        if self.model_type == DPR { Pooling::Cls } else { Pooling::Mean }
    }

    /// Outputs of the classifier; two where nothing is said, as transformers has it.
    pub(crate) fn labels(&self) -> usize {
        self.num_labels.or(self.id2label.as_ref().map(BTreeMap::len)).unwrap_or(2)
    }
}

/// What the files of sentence-transformers say besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentenceSettings {
    /// `max_seq_length` of `sentence_bert_config.json`, or, where sentence-transformers 6 has put it,
    /// `model_max_length` of `tokenizer_config.json`.
    pub(crate) max_tokens: Option<usize>,
    pub(crate) pooling: Pooling,
    pub(crate) normalize: bool,
}

/// `1_Pooling/config.json`: a name since sentence-transformers 6, a switch a mode before.
#[derive(Deserialize)]
struct PoolingFile {
    pooling_mode: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    class: String,
}

#[derive(Deserialize)]
struct SentenceFile {
    max_seq_length: Option<usize>,
}

#[derive(Deserialize)]
struct TokenizerFile {
    /// 1e30 where there is no bound.
    model_max_length: Option<f64>,
}

impl SentenceSettings {
    /// Files that are absent leave the pooling given, not normalised.
    pub(crate) fn read(folder: &Path, pooling: Pooling) -> Result<SentenceSettings, ModelError> {
        let modules: Option<Vec<Module>> = read_json_if_any(&folder.join("modules.json"))?;
        let mut normalize = false;
        for Module { class } in modules.unwrap_or_default() {
            let name = class.rsplit('.').next().unwrap_or_default();
            // A module left out, such as Dense, would give other vectors without a word.
            let known = ["Transformer", "Pooling", "Normalize"];
            supported("modules.json type", name, &known, "Transformer, Pooling, Normalize")?;
            normalize |= name == "Normalize";
        }
        let stated: Option<PoolingFile> =
            read_json_if_any(&folder.join("1_Pooling").join("config.json"))?;
        let file: Option<SentenceFile> =
            read_json_if_any(&folder.join("sentence_bert_config.json"))?;
        let tokenizer: Option<TokenizerFile> =
            read_json_if_any(&folder.join("tokenizer_config.json"))?;
        let bound = tokenizer.and_then(|t| t.model_max_length).filter(|most| *most >= 1.0);
        Ok(SentenceSettings {
            // As it rounds down: what is beyond any window stays beyond it.
            max_tokens: file.and_then(|f| f.max_seq_length).or(bound.map(|most| most as usize)),
            pooling: stated.map_or(Ok(pooling), |p| p.mode())?,
            normalize,
        })
    }
}

impl PoolingFile {
    fn mode(&self) -> Result<Pooling, ModelError> {
        let switched_on = self.rest.iter().filter(|(_, value)| **value == true);
        let modes: Vec<&str> = switched_on
            .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
            .chain(self.pooling_mode.as_deref())
            .collect();
        match modes[..] {
            ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
            ["cls" | "cls_token"] => Ok(Pooling::Cls),
            _ => Err(ModelError::Unsupported {
                field: "pooling_mode",
                found: format!("{modes:?}"),
                supported: "one of mean, cls",
            }),
        }
    }
}

pub(crate) fn supported(
    field: &'static str,
    found: &str,
    known: &[&str],
    supported: &'static str,
) -> Result<(), ModelError> {
    if known.contains(&found) {
        return Ok(());
    }
    Err(ModelError::Unsupported { field, found: format!("`{found}`"), supported })
}

/// Configurations are some hundred bytes; this is where reading stops.
const MOST_JSON: u64 = 4 << 20;

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    read_json_if_any(path)?.ok_or_else(|| ModelError::File {
        path: path.to_owned(),
        reason: "there is no such file".to_owned(),
    })
}

/// `None` where there is no such file.
pub(crate) fn read_json_if_any<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ModelError> {
    let Some(text) = read_if_any(path, MOST_JSON)? else { return Ok(None) };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|e| ModelError::Format { path: path.to_owned(), reason: e.to_string() })
}

/// Vocabularies are some megabytes.
const MOST_BYTES: u64 = 256 << 20;

/// A whole file, of a vocabulary or a template; `None` where there is none.
pub(crate) fn read_bytes_if_any(path: &Path) -> Result<Option<Vec<u8>>, ModelError> {
    read_if_any(path, MOST_BYTES)
}

fn read_if_any(path: &Path, most: u64) -> Result<Option<Vec<u8>>, ModelError> {
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(most).read_to_end(&mut text));
    match read {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ModelError::File { path: path.to_owned(), reason: e.to_string() }),
        Ok(_) => Ok(Some(text)),
    }
}
