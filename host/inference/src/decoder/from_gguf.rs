//! A decoder's configuration from GGUF's metadata.

use trine_kernels::Heads;

use crate::ModelError;
use crate::decoder::config::DecoderConfig;
use crate::decoder::rope::{Rope, Scaling};
use crate::gguf::{Gguf, Value};

/// What a file lacks or has wrong, by the key.
fn wrong(gguf: &Gguf, key: &str, reason: &str) -> ModelError {
    ModelError::Format { path: gguf.path().to_owned(), reason: format!("key `{key}` {reason}") }
}

/// The value of a key of one type, if it is there.
fn optional<T>(
    gguf: &Gguf,
    key: &str,
    of: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, ModelError> {
    let found =
        gguf.get(key).map(|value| of(value).ok_or_else(|| wrong(gguf, key, "is of another type")));
    found.transpose()
}

fn needed<T>(gguf: &Gguf, key: &str, of: impl Fn(&Value) -> Option<T>) -> Result<T, ModelError> {
    optional(gguf, key, of)?.ok_or_else(|| wrong(gguf, key, "is missing"))
}

pub(super) fn read(gguf: &Gguf) -> Result<DecoderConfig, ModelError> {
    let architecture = needed(gguf, "general.architecture", text)?;
    let known = ["llama", "qwen2", "qwen3"];
    crate::config::supported("general.architecture", &architecture, &known, "llama, qwen2, qwen3")?;
    let key = |name: &str| format!("{architecture}.{name}");
    let size = |name: &str| needed(gguf, &key(name), Value::as_usize);
    let float = |name: &str| optional(gguf, &key(name), Value::as_f64);
    if optional(gguf, &key("expert_count"), Value::as_usize)?.is_some_and(|count| count > 0) {
        let (field, supported) = ("expert_count", "0: no mixture of experts");
        return Err(ModelError::Unsupported { field, found: "more than 0".to_owned(), supported });
    }
    let (hidden_size, layers) = (size("embedding_length")?, size("block_count")?);
    let queries = size("attention.head_count")?;
    let own_width = optional(gguf, &key("attention.key_length"), Value::as_usize)?;
    let heads = Heads {
        queries,
        keys: optional(gguf, &key("attention.head_count_kv"), Value::as_usize)?.unwrap_or(queries),
        width: own_width.unwrap_or(hidden_size / queries.max(1)),
    };
    for name in ["attention.value_length", "rope.dimension_count"] {
        if optional(gguf, &key(name), Value::as_usize)?.is_some_and(|width| width != heads.width) {
            let reason = format!("is not the {} columns of a head", heads.width);
            return Err(wrong(gguf, &key(name), &reason));
        }
    }
    let window = optional(gguf, &key("attention.sliding_window"), Value::as_usize)?;
    let window = window.and_then(|window| u32::try_from(window).ok()).filter(|&window| window > 0);
    let context = size("context_length")?;
    let has = |name: &str| gguf.tensors().any(|tensor| tensor == name);
    let mut rope = Rope::new(
        heads.width,
        float("rope.freq_base")?.unwrap_or(10_000.0),
        scaling(gguf, &architecture, context)?,
    )?;
    // Llama 3's stretching, worked out by the converter.
    if has("rope_freqs.weight") {
        let half = heads.width / 2;
        let divisors = gguf.place("rope_freqs.weight", [1, half])?.numbers(half)?;
        rope.frequencies.iter_mut().zip(divisors).for_each(|(f, divisor)| *f /= divisor);
    }
    let token = |name: &str| {
        let id = optional(gguf, &format!("tokenizer.ggml.{name}_token_id"), Value::as_usize)?;
        Ok::<_, ModelError>(id.and_then(|id| u32::try_from(id).ok()))
    };
    let mut ends: Vec<u32> = [token("eos")?, token("eot")?].into_iter().flatten().collect();
    ends.dedup();
    let tokens = "tokenizer.ggml.tokens";
    let vocabulary = match optional(gguf, &key("vocab_size"), Value::as_usize)? {
        Some(size) => size,
        None => needed(gguf, tokens, |value| value.as_strings().map(<[String]>::len))?,
    };
    DecoderConfig {
        hidden_size,
        layers,
        heads,
        intermediate_size: size("feed_forward_length")?,
        vocabulary,
        context,
        epsilon: needed(gguf, &key("attention.layer_norm_rms_epsilon"), Value::as_f64)? as f32,
        rope,
        windows: vec![window; layers.min(1 << 16)],
        tied: !has("output.weight"),
        biases: [has("blk.0.attn_q.bias"), has("blk.0.attn_output.bias")],
        head_norms: has("blk.0.attn_q_norm.weight"),
        begin: token("bos")?,
        ends,
        architecture,
    }
    .check()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn scaling(gguf: &Gguf, architecture: &str, context: usize) -> Result<Scaling, ModelError> {
    let key = |name: &str| format!("{architecture}.rope.scaling.{name}");
    let float = |name: &str| optional(gguf, &key(name), Value::as_f64);
    let kind = optional(gguf, &key("type"), text)?.unwrap_or_else(|| "none".to_owned());
    let factor = float("factor")?.unwrap_or(1.0);
    match kind.as_str() {
        "none" => Ok(Scaling::Default),
        "linear" => Ok(Scaling::Linear { factor }),
        "yarn" => {
            let length = key("original_context_length");
            let original = optional(gguf, &length, Value::as_usize)?.unwrap_or(context);
            // llama.cpp multiplies what yarn asks for by this.
            let attention = float("attn_factor")?.unwrap_or(1.0);
            let scale = attention * if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
            Ok(Scaling::Yarn {
                factor,
                original: original as f64,
                fast: float("yarn_beta_fast")?.unwrap_or(32.0),
                slow: float("yarn_beta_slow")?.unwrap_or(1.0),
                scale: Some(scale),
                whole: true,
            })
        }
        _ => Err(ModelError::Unsupported {
            field: "rope.scaling.type",
            found: format!("`{kind}`"),
            supported: "none, linear, yarn",
        }),
    }
}
