//! A decoder's configuration from `config.json`, as transformers 4 and 5 write it.

use std::path::Path;

use serde::Deserialize;
use trine_kernels::Heads;

use crate::ModelError;
use crate::config::{read_json, read_json_if_any, supported};
use crate::decoder::config::DecoderConfig;
use crate::decoder::rope::{Rope, Scaling};

#[derive(Deserialize)]
struct File {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    hidden_act: String,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    rope_theta: Option<f64>,
    #[serde(alias = "rope_parameters")]
    rope_scaling: Option<RopeFile>,
    sliding_window: Option<u32>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<Ids>,
}

/// One token or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

impl Ids {
    fn all(self) -> Vec<u32> {
        match self {
            Ids::One(id) => vec![id],
            Ids::Several(ids) => ids,
        }
    }
}

#[derive(Default, Deserialize)]
struct RopeFile {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    attention_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    partial_rotary_factor: Option<f64>,
    mscale: Option<f64>,
}

/// `generation_config.json`, which may name more tokens that end an answer.
#[derive(Deserialize)]
struct Generation {
    eos_token_id: Option<Ids>,
}

pub(super) fn read(folder: &Path) -> Result<DecoderConfig, ModelError> {
    let file: File = read_json(&folder.join("config.json"))?;
    let generation: Option<Generation> = read_json_if_any(&folder.join("generation_config.json"))?;
    let kinds = ["llama", "mistral", "qwen2", "qwen3"];
    supported("model_type", &file.model_type, &kinds, "llama, mistral, qwen2, qwen3")?;
    supported("hidden_act", &file.hidden_act, &["silu"], "silu")?;
    if file.mlp_bias {
        let (field, supported) = ("mlp_bias", "false");
        return Err(ModelError::Unsupported { field, found: "true".to_owned(), supported });
    }
    let queries = file.num_attention_heads;
    let heads = Heads {
        queries,
        keys: file.num_key_value_heads.unwrap_or(queries),
        width: file.head_dim.unwrap_or(file.hidden_size / queries.max(1)),
    };
    let windows = file.windows()?;
    let rope = file.rope(heads.width)?;
    let mut ends = file.eos_token_id.map(Ids::all).unwrap_or_default();
    for id in generation.and_then(|g| g.eos_token_id).map(Ids::all).unwrap_or_default() {
        if !ends.contains(&id) {
            ends.push(id);
        }
    }
    let qwen2 = file.model_type == "qwen2";
    DecoderConfig {
        hidden_size: file.hidden_size,
        layers: file.num_hidden_layers,
        heads,
        intermediate_size: file.intermediate_size,
        vocabulary: file.vocab_size,
        context: file.max_position_embeddings,
        epsilon: file.rms_norm_eps,
        rope,
        windows,
        tied: file.tie_word_embeddings,
        biases: [file.attention_bias || qwen2, file.attention_bias && !qwen2],
        head_norms: file.model_type == "qwen3",
        begin: file.bos_token_id,
        ends,
        architecture: file.model_type,
    }
    .check()
}

impl File {
    /// Each layer's window. Mistral's is every layer's; Qwen's is that of the layers it names, or of
    /// those beyond a number.
    fn windows(&self) -> Result<Vec<Option<u32>>, ModelError> {
        let used = self.use_sliding_window.unwrap_or(self.model_type == "mistral");
        let window = self.sliding_window.filter(|_| used && self.model_type != "llama");
        let layers = self.num_hidden_layers.min(1 << 16);
        let Some(types) = self.layer_types.as_ref().filter(|_| window.is_some()) else {
            let from = self.max_window_layers.unwrap_or(0);
            return Ok((0..layers).map(|layer| window.filter(|_| layer >= from)).collect());
        };
        let of = |kind: &String| {
            let known = ["full_attention", "sliding_attention"];
            supported("layer_types", kind, &known, "full_attention, sliding_attention")?;
            Ok(window.filter(|_| kind == "sliding_attention"))
        };
        types.iter().map(of).collect()
    }

    fn rope(&self, width: usize) -> Result<Rope, ModelError> {
        let none = RopeFile::default();
        let file = self.rope_scaling.as_ref().unwrap_or(&none);
        let kind = file.rope_type.as_deref().unwrap_or("default");
        supported(
            "rope_type",
            kind,
            &["default", "linear", "llama3", "yarn"],
            "default, linear, llama3, yarn",
        )?;
        if file.partial_rotary_factor.is_some_and(|part| part != 1.0) || file.mscale.is_some() {
            return Err(ModelError::Unsupported {
                field: "rope_parameters",
                found: "with partial_rotary_factor or mscale".to_owned(),
                supported: "neither",
            });
        }
        let needed = |value: Option<f64>, name: &str| {
            value.ok_or_else(|| ModelError::Config {
                field: "rope_parameters",
                reason: format!("has no `{name}`"),
            })
        };
        let factor = || needed(file.factor, "factor");
        let original = || {
            // Before transformers 5 it might be left out of yarn's.
            let context = (kind == "yarn").then_some(self.max_position_embeddings as f64);
            let original = file.original_max_position_embeddings.or(context);
            needed(original, "original_max_position_embeddings")
        };
        let scaling = match kind {
            "linear" => Scaling::Linear { factor: factor()? },
            "llama3" => Scaling::Llama3 {
                factor: factor()?,
                low: needed(file.low_freq_factor, "low_freq_factor")?,
                high: needed(file.high_freq_factor, "high_freq_factor")?,
                original: original()?,
            },
            "yarn" => Scaling::Yarn {
                factor: factor()?,
                original: original()?,
                fast: file.beta_fast.unwrap_or(32.0),
                slow: file.beta_slow.unwrap_or(1.0),
                scale: file.attention_factor,
                whole: file.truncate.unwrap_or(true),
            },
            _ => Scaling::Default,
        };
        let theta = file.rope_theta.or(self.rope_theta).unwrap_or(10_000.0);
        Rope::new(width, theta, scaling)
    }
}
