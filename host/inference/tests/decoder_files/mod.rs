//! Small decoders made anew from their seeds, as folders of safetensors and as GGUF files.
#![allow(dead_code, reason = "not every test file needs every kind")]

mod gguf_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use tempfile::TempDir;
use trine_inference::DecoderModel;
use trine_kernels::Format;

pub use gguf_file::GgufFile;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

/// A decoder and what transformers makes of it; see `tests/golden/make_tiny_decoders.py`.
#[derive(Clone, Deserialize)]
pub struct Case {
    pub name: String,
    pub config: serde_json::Value,
    pub shapes: BTreeMap<String, Vec<usize>>,
    pub tokens: Vec<u32>,
    pub logits: Vec<[f32; 3]>,
    pub likeliest: Vec<u32>,
    pub greedy: Vec<u32>,
}

pub fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-decoders.json");
    serde_json::from_slice::<Golden>(&std::fs::read(path).unwrap()).unwrap().cases
}

pub fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

/// The numbers of a tensor, as the script draws them.
fn numbers(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(1, |seed: u64, byte| (seed * 131 + u64::from(byte)) % (1 << 40));
    let mut values = trine_kernels::parity::numbers(count, seed);
    let norm = name.contains("norm");
    values.iter_mut().for_each(|x| *x = if norm { 1.0 + *x * 0.2 } else { *x * 0.2 });
    values
}

/// Tensors by the names of transformers.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl Case {
    pub fn tensors(&self) -> Tensors {
        let tensor = |(name, shape): (&String, &Vec<usize>)| {
            (name.clone(), (shape.clone(), numbers(name, shape.iter().product())))
        };
        self.shapes.iter().map(tensor).collect()
    }

    pub fn folder(&self) -> TempDir {
        folder(&self.config, &self.tensors())
    }
}

pub fn open(path: impl AsRef<Path>) -> DecoderModel {
    DecoderModel::open(path).unwrap()
}

pub fn folder(config: &serde_json::Value, tensors: &Tensors) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let views = tensors.iter().map(|(name, (shape, values))| {
        let bytes = bytemuck::cast_slice(values);
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
    folder
}

/// What llama.cpp's converter makes of a model of transformers. `rows` gives the bytes of a matrix's
/// row of so many numbers, and what they are.
pub fn gguf(
    config: &serde_json::Value,
    tensors: &Tensors,
    bytes_of: impl FnMut(&str, &[f32]) -> (Format, Vec<u8>),
) -> (TempDir, PathBuf) {
    gguf_with(GgufFile::default(), config, tensors, bytes_of)
}

/// [`gguf`] with more keys.
pub fn gguf_with(
    mut file: GgufFile,
    config: &serde_json::Value,
    tensors: &Tensors,
    mut bytes_of: impl FnMut(&str, &[f32]) -> (Format, Vec<u8>),
) -> (TempDir, PathBuf) {
    let size = |name: &str| config[name].as_u64().unwrap() as usize;
    let family = config["model_type"].as_str().unwrap();
    let family = if family == "mistral" { "llama" } else { family };
    file.string("general.architecture", family);
    let key = |name: &str| format!("{family}.{name}");
    for (name, value) in [
        ("block_count", size("num_hidden_layers")),
        ("embedding_length", size("hidden_size")),
        ("feed_forward_length", size("intermediate_size")),
        ("attention.head_count", size("num_attention_heads")),
        ("attention.head_count_kv", size("num_key_value_heads")),
        ("context_length", size("max_position_embeddings")),
        ("vocab_size", size("vocab_size")),
    ] {
        file.number(&key(name), value);
    }
    if let Some(width) = config["head_dim"].as_u64() {
        file.number(&key("attention.key_length"), width as usize);
    }
    if let Some(window) = config["sliding_window"].as_u64() {
        file.number(&key("attention.sliding_window"), window as usize);
    }
    file.float(&key("attention.layer_norm_rms_epsilon"), config["rms_norm_eps"].as_f64().unwrap());
    let rope = &config["rope_parameters"];
    file.float(&key("rope.freq_base"), rope["rope_theta"].as_f64().unwrap());
    if let Some(kind @ ("linear" | "yarn")) = rope["rope_type"].as_str() {
        file.string(&key("rope.scaling.type"), kind);
        file.float(&key("rope.scaling.factor"), rope["factor"].as_f64().unwrap());
        if let Some(length) = rope["original_max_position_embeddings"].as_u64() {
            file.number(&key("rope.scaling.original_context_length"), length as usize);
        }
    }
    let head = config["head_dim"].as_u64().map(|width| width as usize);
    let head = head.unwrap_or(size("hidden_size") / size("num_attention_heads"));
    for (name, (shape, values)) in tensors {
        let columns = *shape.last().unwrap();
        let rows: Vec<&[f32]> = values.chunks(if shape.len() == 1 { 1 } else { columns }).collect();
        let turned = family == "llama" && (name.contains("q_proj") || name.contains("k_proj"));
        let row = |j: usize| match turned {
            // Row j of the file is row `source` of transformers.
            true => j / head * head + j % head % 2 * (head / 2) + j % head / 2,
            false => j,
        };
        let mut bytes = Vec::new();
        let mut format = Format::F32;
        if shape.len() == 1 {
            (0..rows.len()).for_each(|j| bytes.extend(rows[row(j)][0].to_le_bytes()));
        } else {
            for j in 0..rows.len() {
                let (kind, row) = bytes_of(name, rows[row(j)]);
                format = kind;
                bytes.extend(row);
            }
        }
        file.tensor(&gguf_name(name), shape, kind(format), bytes);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    file.write(&path);
    (folder, path)
}

/// ggml's type of a format.
fn kind(format: Format) -> u32 {
    match format {
        Format::F32 => 0,
        Format::F16 => 1,
        Format::Q4_0 => 2,
        Format::Q8_0 => 8,
        Format::Q4K => 12,
        Format::Q5K => 13,
        Format::Q6K => 14,
        Format::Bf16 => 30,
    }
}

/// As they are.
pub fn plain(_: &str, row: &[f32]) -> (Format, Vec<u8>) {
    (Format::F32, row.iter().flat_map(|x| x.to_le_bytes()).collect())
}

fn gguf_name(name: &str) -> String {
    let mut name = name.replace("model.layers.", "blk.");
    for (ours, theirs) in [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ] {
        name = name.replace(ours, theirs);
    }
    name
}

/// The tiny Llama as a GGUF with a tokenizer of single characters and a few pieces.
pub fn with_tokenizer() -> (TempDir, DecoderModel) {
    let case = case("llama");
    let mut file = GgufFile::default();
    let pieces = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let words = ["▁", "h", "i", "hi", "▁hi", "t", "▁t", "e", "he", "the", "▁the"].map(String::from);
    let mut tokens: Vec<String> = pieces.chain(bytes).chain(words).collect();
    while tokens.len() < 320 {
        tokens.push(format!("w{}", tokens.len()));
    }
    let kinds: Vec<i32> = (0..320)
        .map(|id| match id {
            0 => 2,
            1 | 2 => 3,
            3..259 => 6,
            _ => 1,
        })
        .collect();
    let scores: Vec<f32> = (0..320).map(|id| -(id as f32)).collect();
    file.string("tokenizer.ggml.model", "llama");
    file.strings("tokenizer.ggml.tokens", &tokens);
    file.floats("tokenizer.ggml.scores", &scores);
    file.integers("tokenizer.ggml.token_type", &kinds);
    file.number("tokenizer.ggml.bos_token_id", 1);
    file.number("tokenizer.ggml.eos_token_id", 2);
    file.flag("tokenizer.ggml.add_bos_token", true);
    let template =
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";
    file.string("tokenizer.chat_template", template);
    let (folder, path) = gguf_with(file, &case.config, &case.tensors(), plain);
    let model = open(&path);
    (folder, model)
}
