//! What trine computes beside what the libraries compute that models are made with: transformers,
//! Hugging Face's tokenizers, SentencePiece, llama.cpp. Needs a Python with these, by the name in
//! `TRINE_PYTHON` or `python3`; without one each test says so and passes.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;
use trine_inference::DecoderModel;
use trine_inference::generation::{Feed, Sessions};
use trine_inference::text::{TextStream, TextTokenizer};
use trine_kernels::CpuDevice;

/// A folder with what a script of `tests/peers` made, if Python has the modules that it needs.
fn made_by(script: &str, modules: &str) -> Option<TempDir> {
    let python = std::env::var("TRINE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imported = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if !imported.is_ok_and(|imported| imported.status.success()) {
        println!("skipped: {python} lacks one of {modules}");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers").join(script);
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(&python).arg(script).arg(folder.path()).status().unwrap();
    assert!(status.success(), "{status}");
    Some(folder)
}

fn json<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Expected {
    prompt: Vec<u32>,
    greedy: Vec<u32>,
    vocabulary: usize,
}

fn likeliest(logits: &[f32]) -> u32 {
    let larger = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (0..logits.len()).fold(0, larger) as u32
}

struct Compared {
    /// The largest distance of a logit.
    distance: f32,
    /// Positions where the likeliest token is the same.
    agree: usize,
    greedy: Vec<u32>,
}

/// Reads the prompt token by token, beside the logits in a file, and writes on.
fn compare(model: &Path, logits: &Path, expected: &Expected, write: usize) -> Compared {
    let device = CpuDevice::new(2).unwrap();
    let mut sessions =
        Sessions::new(device, &DecoderModel::open(model).unwrap(), 256 << 20).unwrap();
    let logits = fs::read(logits).unwrap();
    let logits: Vec<f32> =
        logits.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let rows = logits.chunks_exact(expected.vocabulary);
    assert_eq!(rows.len(), expected.prompt.len());
    let (session, _) = sessions.create(&[]);
    let mut step = |token: u32| {
        let feed = Feed { session, tokens: &[token], logits: true };
        sessions.step(&[feed]).unwrap().pop().unwrap().unwrap()
    };
    let mut compared = Compared { distance: 0.0, agree: 0, greedy: Vec::new() };
    let mut last = Vec::new();
    for (&token, row) in expected.prompt.iter().zip(rows) {
        last = step(token);
        let distances = last.iter().zip(row).map(|(found, expected)| (found - expected).abs());
        compared.distance = distances.fold(compared.distance, f32::max);
        compared.agree += usize::from(likeliest(&last) == likeliest(row));
    }
    while compared.greedy.len() < write {
        compared.greedy.push(likeliest(&last));
        last = step(compared.greedy[compared.greedy.len() - 1]);
    }
    compared
}

#[test]
fn a_model_of_smollms_shape_gives_the_logits_of_transformers() {
    let Some(out) = made_by("decoders.py", "gguf, numpy, torch, transformers") else { return };
    let out = out.path();
    let expected: Expected = json(&out.join("expected.json"));
    for file in ["folder", "F32.gguf"] {
        let found =
            compare(&out.join(file), &out.join("F32.logits"), &expected, expected.greedy.len());
        println!("{file}: off by {:e}", found.distance);
        assert!(found.distance < 1e-3, "{file}: {:e}", found.distance);
        assert_eq!(found.greedy, expected.greedy, "{file}");
    }
    for kind in ["Q8_0", "Q4_0"] {
        let (model, logits) =
            (out.join(format!("{kind}.gguf")), out.join(format!("{kind}.logits")));
        let found = compare(&model, &logits, &expected, 0);
        println!(
            "{kind}: off by {:e}, {} of {} alike",
            found.distance,
            found.agree,
            expected.prompt.len()
        );
        assert!(found.agree * 100 >= expected.prompt.len() * 95, "{kind}: {}", found.agree);
    }
}

type Ids = std::collections::BTreeMap<String, Vec<Vec<u32>>>;

/// What a stream gives of some tokens, which must be what they decode to at once.
fn streamed(tokenizer: &TextTokenizer, tokens: &[u32]) -> String {
    let mut stream = TextStream::default();
    let mut text = String::new();
    for &token in tokens {
        text.push_str(&stream.push(tokenizer, token).unwrap());
    }
    text + &stream.finish(tokenizer).unwrap()
}

#[test]
fn texts_are_cut_into_the_tokens_of_the_libraries() {
    let modules = "gguf, llama_cpp, sentencepiece, tokenizers";
    let Some(out) = made_by("vocabularies.py", modules) else { return };
    let strings: Vec<String> = json(&out.path().join("strings.json"));
    let expected: Ids = json(&out.path().join("expected.json"));
    assert!(strings.len() >= 2000 && expected.len() >= 5);
    for (name, ids) in &expected {
        let model = DecoderModel::open(out.path().join(format!("{name}.gguf"))).unwrap();
        let tokenizer = TextTokenizer::of(&model).unwrap();
        let mut differing = 0;
        for (text, ids) in strings.iter().zip(ids) {
            let found = tokenizer.encode(text, false).unwrap();
            if found != *ids {
                differing += 1;
                let named =
                    |ids: &[u32]| ids.iter().map(|&id| tokenizer.name(id)).collect::<Vec<_>>();
                println!("{name}: {text:?}\n  {:?}\n  {:?}", named(&found), named(ids));
            }
            let decoded = tokenizer.decode(ids).unwrap();
            assert_eq!(streamed(&tokenizer, ids), decoded, "{name}: {text:?}");
            // NFC writes some characters otherwise.
            if name != "qwen2" {
                assert_eq!(decoded, *text, "{name}");
            }
        }
        assert_eq!(differing, 0, "{name}: of {} strings", strings.len());
    }
}
