//! What a decoder of the Llama family is, whichever file says so.

use trine_kernels::Heads;

use crate::ModelError;
use crate::decoder::rope::Rope;

/// A decoder's numbers, the same from `config.json` and from GGUF's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// `llama`, `mistral`, `qwen2` or `qwen3`.
    pub architecture: String,
    /// Width of a token's vector.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of attention.
    pub heads: Heads,
    /// Width of the feed-forward network.
    pub intermediate_size: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Tokens of a sequence at most.
    pub context: usize,
    /// Added to the mean square in normalisation.
    pub epsilon: f32,
    /// How positions turn queries and keys.
    pub rope: Rope,
    /// Of each layer, how many of the last tokens a token sees; all where it is `None`.
    pub windows: Vec<Option<u32>>,
    /// Whether the head is the embedding table.
    pub tied: bool,
    /// Whether queries, keys and values have a bias, and the output of attention.
    pub biases: [bool; 2],
    /// Whether queries and keys are normalised head by head.
    pub head_norms: bool,
    /// The token before a text, if the model has one.
    pub begin: Option<u32>,
    /// Tokens that end an answer.
    pub ends: Vec<u32>,
}

/// More than any model has, and few enough that no product of two overflows.
const MOST: usize = 1 << 24;
/// More layers than any model has.
const MOST_LAYERS: usize = 1024;

impl DecoderConfig {
    /// Refuses numbers that make no model.
    pub(super) fn check(self) -> Result<DecoderConfig, ModelError> {
        let Heads { queries, keys, width } = self.heads;
        for (field, value, most) in [
            ("hidden_size", self.hidden_size, MOST),
            ("num_hidden_layers", self.layers, MOST_LAYERS),
            ("num_attention_heads", queries, 1 << 12),
            ("num_key_value_heads", keys, 1 << 12),
            ("head_dim", width, 1 << 12),
            ("intermediate_size", self.intermediate_size, MOST),
            ("vocab_size", self.vocabulary, MOST),
            ("max_position_embeddings", self.context, MOST),
        ] {
            if value == 0 || value > most {
                let reason = format!("is {value}; it must be 1 to {most}");
                return Err(ModelError::Config { field, reason });
            }
        }
        if self.heads.columns().is_none() {
            let reason = format!("is {keys}, by which {queries} heads of queries do not divide");
            return Err(ModelError::Config { field: "num_key_value_heads", reason });
        }
        if !width.is_multiple_of(2) || self.rope.frequencies.len() != width / 2 {
            let reason =
                format!("is {width}; its columns turn in {} pairs", self.rope.frequencies.len());
            return Err(ModelError::Config { field: "head_dim", reason });
        }
        if !(0.0..1.0).contains(&self.epsilon) {
            let reason = format!("is {}; it must be 0 to 1", self.epsilon);
            return Err(ModelError::Config { field: "rms_norm_eps", reason });
        }
        if self.windows.len() != self.layers || self.windows.contains(&Some(0)) {
            let reason = format!("{:?} of {} layers", self.windows, self.layers);
            return Err(ModelError::Config { field: "sliding_window", reason });
        }
        Ok(self)
    }

    /// Columns of the widest matrix between two kernels.
    pub(crate) fn widest(&self) -> usize {
        self.heads.columns().unwrap_or(0).max(2 * self.intermediate_size).max(self.hidden_size)
    }
}
