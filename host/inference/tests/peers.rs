//! What trine computes beside what the libraries compute that models are made with: transformers,
//! Hugging Face's tokenizers, SentencePiece, llama.cpp. Needs a Python with these, by the name in
//! `TRINE_PYTHON` or `python3`; without one each test says so and passes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;
use trine_inference::DecoderModel;
use trine_inference::generation::{Feed, SessionId, Sessions};
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
    likeliest: BTreeMap<String, Vec<u32>>,
}

fn likeliest(logits: &[f32]) -> u32 {
    let larger = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (0..logits.len()).fold(0, larger) as u32
}

/// A model that reads and writes one text, token by token.
struct Text {
    sessions: Sessions<CpuDevice>,
    session: SessionId,
}

impl Text {
    fn new(model: &Path) -> Text {
        let (device, model) = (CpuDevice::new(2).unwrap(), DecoderModel::open(model).unwrap());
        let mut sessions = Sessions::new(device, &model, 256 << 20).unwrap();
        let (session, _) = sessions.create(&[]);
        Text { sessions, session }
    }

    /// The logits after the next token.
    fn read(&mut self, token: u32) -> Vec<f32> {
        let feed = Feed { session: self.session, tokens: &[token], logits: true };
        self.sessions.step(&[feed]).unwrap().pop().unwrap().unwrap().to_vec()
    }
}

#[test]
fn a_model_of_smollms_shape_gives_the_logits_of_transformers() {
    let Some(out) = made_by("decoders.py", "gguf, numpy, torch, transformers") else { return };
    let out = out.path();
    let Expected { prompt, greedy, likeliest: quantised } = json(&out.join("expected.json"));
    let logits = fs::read(out.join("logits")).unwrap();
    let logits: Vec<f32> =
        logits.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    for file in ["folder", "F32.gguf"] {
        let mut text = Text::new(&out.join(file));
        let mut last = Vec::new();
        let mut most = 0.0f32;
        for (&token, expected) in prompt.iter().zip(logits.chunks(logits.len() / 64)) {
            last = text.read(token);
            assert_eq!(last.len(), expected.len());
            most = last.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(most, f32::max);
        }
        println!("{file}: off by {most:e}");
        assert!(most < 1e-3, "{file}: {most:e}");
        for (at, &expected) in greedy.iter().enumerate() {
            assert_eq!(likeliest(&last), expected, "{file}: token {at}");
            last = text.read(expected);
        }
    }
    for (kind, expected) in quantised {
        let mut text = Text::new(&out.join(format!("{kind}.gguf")));
        let alike = prompt.iter().zip(&expected);
        let alike = alike.filter(|&(&token, &expected)| likeliest(&text.read(token)) == expected);
        let alike = alike.count();
        println!("{kind}: {alike} of {} alike", prompt.len());
        assert!(alike * 100 >= prompt.len() * 95, "{kind}: {alike} of {}", prompt.len());
    }
}

type Ids = BTreeMap<String, Vec<Vec<u32>>>;

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
        let tokenizer = model.tokenizer().unwrap();
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
