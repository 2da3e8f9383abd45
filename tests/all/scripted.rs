//! A language model that says what it is told to: a real GGUF with a tokenizer and a template, whose
//! weights are all nought but those that lead from each token to the next.

#[path = "../../host/inference/tests/decoder_files/gguf_file.rs"]
mod gguf_file;

use std::path::{Path, PathBuf};

use trine_inference::DeviceChoice;
use trine_inference::generation::GenerationOptions;
use trine_node::LanguageModel;
use trine_runtime::LanguageModels;

use crate::fixture::scratch;
use gguf_file::GgufFile;

/// The token that ends an answer, and the one that a prompt ends with.
const END: usize = 256;
const ASSISTANT: usize = 257;
const FIRST: usize = 258;

const WIDTH: usize = 512;
const HEAD: usize = 64;
const INNER: usize = 32;

const TEMPLATE: &str =
    "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}<|assistant|>";

/// Tokens that it reads and writes at most.
pub const CONTEXT: usize = 32_768;

/// What it says, in pieces that are all different, a token each; then it ends or begins again.
pub fn model(name: &str, pieces: &[&str], endless: bool) -> PathBuf {
    with_template(name, pieces, endless, TEMPLATE)
}

/// The same with a template for messages of its own.
pub fn with_template(name: &str, pieces: &[&str], endless: bool, template: &str) -> PathBuf {
    let path = scratch().join(format!("{name}.gguf"));
    let mut file = GgufFile::default();
    let tokens: Vec<String> = (0..=255)
        .map(|byte| letter(byte).to_string())
        .chain(["<|end|>", "<|assistant|>"].map(str::to_owned))
        .chain(pieces.iter().map(|piece| piece.bytes().map(letter).collect()))
        .collect();
    let vocabulary = tokens.len();
    assert!(vocabulary <= WIDTH);
    describe(&mut file, &tokens);
    file.string("tokenizer.chat_template", template);
    // A token's vector is 1 at its own place, and so are the logits at the next one's.
    let mut embedding = vec![0.0; vocabulary * WIDTH];
    let mut head = embedding.clone();
    for token in 0..vocabulary {
        embedding[token * WIDTH + token] = 1.0;
        let next = match token {
            ASSISTANT => FIRST,
            _ if token < FIRST => END,
            _ if token + 1 < vocabulary => token + 1,
            _ if endless => FIRST,
            _ => END,
        };
        head[next * WIDTH + token] = 1.0;
    }
    let mut put = |name: &str, shape: &[usize], values: &[f32]| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        file.tensor(&format!("{name}.weight"), shape, 0, bytes);
    };
    put("token_embd", &[vocabulary, WIDTH], &embedding);
    put("output", &[vocabulary, WIDTH], &head);
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"] {
        put(name, &[WIDTH], &[1.0; WIDTH]);
    }
    for (name, rows, columns) in [
        ("attn_q", HEAD, WIDTH),
        ("attn_k", HEAD, WIDTH),
        ("attn_v", HEAD, WIDTH),
        ("attn_output", WIDTH, HEAD),
        ("ffn_gate", INNER, WIDTH),
        ("ffn_up", INNER, WIDTH),
        ("ffn_down", WIDTH, INNER),
    ] {
        put(&format!("blk.0.{name}"), &[rows, columns], &vec![0.0; rows * columns]);
    }
    file.write(&path);
    path
}

/// Such a model on the CPU, called by its file's name, with a cache of so many MiB.
pub fn models(path: &Path, cache: usize) -> LanguageModels {
    models_on(DeviceChoice::Cpu, path, cache)
}

/// The same on another device.
pub fn models_on(device: DeviceChoice, path: &Path, cache: usize) -> LanguageModels {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let options = GenerationOptions {
        device,
        threads: 1,
        cache_bytes: cache << 20,
        ..GenerationOptions::default()
    };
    let model = LanguageModel::open(name, path).unwrap().start(options).unwrap();
    LanguageModels::new(vec![model])
}

fn describe(file: &mut GgufFile, tokens: &[String]) {
    file.string("general.architecture", "llama");
    for (key, value) in [
        ("block_count", 1),
        ("embedding_length", WIDTH),
        ("feed_forward_length", INNER),
        ("context_length", CONTEXT),
        ("attention.head_count", 1),
        ("attention.head_count_kv", 1),
        ("attention.key_length", HEAD),
    ] {
        file.number(&format!("llama.{key}"), value);
    }
    file.float("llama.attention.layer_norm_rms_epsilon", 1e-6);
    file.string("tokenizer.ggml.model", "gpt2");
    file.string("tokenizer.ggml.pre", "gpt-2");
    file.strings("tokenizer.ggml.tokens", tokens);
    file.strings("tokenizer.ggml.merges", &[]);
    let kind = |id| if matches!(id, END | ASSISTANT) { 3 } else { 1 };
    let kinds: Vec<i32> = (0..tokens.len()).map(kind).collect();
    file.integers("tokenizer.ggml.token_type", &kinds);
    file.number("tokenizer.ggml.eos_token_id", END);
}

/// How byte-level tokenizers write a byte (Radford et al. 2019).
fn letter(byte: u8) -> char {
    let own = |b: &u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if own(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|b| !own(b)).count() as u32;
    char::from_u32(256 + before).unwrap()
}
