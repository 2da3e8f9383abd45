//! A language model that says what it is told to: a real GGUF with a tokenizer and a template, whose
//! weights are all nought but those that lead from each token to the next.

use std::path::{Path, PathBuf};

use trine_inference::DeviceChoice;
use trine_inference::generation::GenerationOptions;
use trine_node::LanguageModel;
use trine_runtime::LanguageModels;

use crate::fixture::scratch;

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
    let path = scratch().join(format!("{name}.gguf"));
    let mut file = Gguf::default();
    let tokens: Vec<String> = (0..=255)
        .map(|byte| letter(byte).to_string())
        .chain(["<|end|>", "<|assistant|>"].map(str::to_owned))
        .chain(pieces.iter().map(|piece| piece.bytes().map(letter).collect()))
        .collect();
    let vocabulary = tokens.len();
    assert!(vocabulary <= WIDTH);
    describe(&mut file, &tokens);
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
    file.tensor("token_embd.weight", &[vocabulary, WIDTH], &embedding);
    file.tensor("output.weight", &[vocabulary, WIDTH], &head);
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"] {
        file.tensor(&format!("{name}.weight"), &[WIDTH], &[1.0; WIDTH]);
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
        let zeros = vec![0.0; rows * columns];
        file.tensor(&format!("blk.0.{name}.weight"), &[rows, columns], &zeros);
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

fn describe(file: &mut Gguf, tokens: &[String]) {
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
    file.key("llama.attention.layer_norm_rms_epsilon", 6, &1e-6f32.to_le_bytes());
    file.string("tokenizer.ggml.model", "gpt2");
    file.string("tokenizer.ggml.pre", "gpt-2");
    file.strings("tokenizer.ggml.tokens", tokens);
    file.strings("tokenizer.ggml.merges", &[]);
    let kinds: Vec<u8> = (0..tokens.len())
        .flat_map(|id| if matches!(id, END | ASSISTANT) { 3i32 } else { 1 }.to_le_bytes())
        .collect();
    let count = (tokens.len() as u64).to_le_bytes();
    file.key("tokenizer.ggml.token_type", 9, &[&5u32.to_le_bytes()[..], &count, &kinds].concat());
    file.number("tokenizer.ggml.eos_token_id", END);
    file.string("tokenizer.chat_template", TEMPLATE);
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

/// A GGUF file being made, of F32 tensors.
#[derive(Default)]
struct Gguf {
    keys: Vec<u8>,
    key_count: u64,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

impl Gguf {
    fn key(&mut self, name: &str, kind: u32, value: &[u8]) {
        self.key_count += 1;
        self.keys.extend(text(name));
        self.keys.extend(kind.to_le_bytes());
        self.keys.extend(value);
    }

    fn number(&mut self, name: &str, value: usize) {
        self.key(name, 4, &(value as u32).to_le_bytes());
    }

    fn string(&mut self, name: &str, value: &str) {
        self.key(name, 8, &text(value));
    }

    fn strings(&mut self, name: &str, values: &[String]) {
        let mut bytes = 8u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(text(value)));
        self.key(name, 9, &bytes);
    }

    fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((name.to_owned(), shape.to_vec(), bytes));
    }

    fn write(&self, path: &Path) {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend(self.key_count.to_le_bytes());
        file.extend(&self.keys);
        let mut offset = 0usize;
        for (name, shape, bytes) in &self.tensors {
            file.extend(text(name));
            file.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|size| file.extend((*size as u64).to_le_bytes()));
            file.extend(0u32.to_le_bytes());
            file.extend((offset as u64).to_le_bytes());
            offset += bytes.len().next_multiple_of(32);
        }
        for (.., bytes) in &self.tensors {
            file.resize(file.len().next_multiple_of(32), 0);
            file.extend(bytes);
        }
        std::fs::write(path, file).unwrap();
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}
