//! `trine generate`, `trine models add` and `trine bench generate`, with a tiny model made here.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value, json};
use tempfile::{TempDir, tempdir};

const HIDDEN: usize = 16;
const VOCABULARY: usize = 256;

/// A Llama of one layer with random weights, whose tokens are bytes.
fn tiny() -> TempDir {
    let folder = tempdir().unwrap();
    let write = |name: &str, json: Value| {
        fs::write(folder.path().join(name), json.to_string()).unwrap();
    };
    write(
        "config.json",
        json!({
            "model_type": "llama", "hidden_act": "silu", "hidden_size": HIDDEN, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": HIDDEN, "vocab_size": VOCABULARY,
            "max_position_embeddings": 96, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        }),
    );
    // GPT-2's characters for bytes: those that print are themselves.
    let prints = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let others = (0..256).filter(|byte| !prints(byte)).zip(256..);
    let characters = (0..256).filter(prints).map(|byte| (byte, byte)).chain(others);
    let vocabulary: Map<String, Value> = characters
        .map(|(byte, code)| (char::from_u32(code).unwrap().to_string(), byte.into()))
        .collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    write(
        "tokenizer.json",
        json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": bytes,
            "post_processor": null, "decoder": bytes,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
        }),
    );
    fs::write(folder.path().join("model.safetensors"), weights()).unwrap();
    fs::write(folder.path().join("README.md"), "---\nlicense: mit\n---\n# Tiny\n").unwrap();
    folder
}

fn weights() -> Vec<u8> {
    let square = [HIDDEN, HIDDEN];
    let layer = ["q_proj", "k_proj", "v_proj", "o_proj"].map(|part| format!("self_attn.{part}"));
    let mlp = ["gate_proj", "up_proj", "down_proj"].map(|part| format!("mlp.{part}"));
    let norms = ["input_layernorm", "post_attention_layernorm"].map(str::to_owned);
    let in_layer = |part: &String| format!("model.layers.0.{part}.weight");
    let matrices = layer.iter().chain(&mlp).map(|part| (in_layer(part), square.to_vec()));
    let norms = norms.iter().map(in_layer).chain(["model.norm.weight".to_owned()]);
    let table = ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]);
    let all = matrices.chain(norms.map(|name| (name, vec![HIDDEN]))).chain([table]);
    let (mut head, mut data, mut state) = (Map::new(), Vec::new(), 7u32);
    for (name, shape) in all {
        let start = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            data.extend(((state >> 8) as f32 / (1 << 23) as f32 - 1.0).to_le_bytes());
        }
        let offsets = [start, data.len()];
        head.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": offsets}));
    }
    let head = Value::from(head).to_string();
    [&(head.len() as u64).to_le_bytes()[..], head.as_bytes(), &data].concat()
}

fn trine(cache: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trine"))
        .args(["--device", "cpu", "--threads", "2", "--kv-cache", "4"])
        .args(arguments)
        .env("TRINE_CACHE", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Standard output of a command that succeeds.
fn output(cache: &Path, arguments: &[&str], input: &str) -> String {
    let output = trine(cache, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Standard error of a command that ends with `code`.
fn refusal(cache: &Path, arguments: &[&str], code: i32) -> String {
    let output = trine(cache, arguments, "");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    text(&output.stderr).to_owned()
}

fn joined<'a>(first: &[&'a str], then: &[&'a str]) -> Vec<&'a str> {
    [first, then].concat()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_registered_model_is_listed_and_writes_on_without_its_folder() {
    let (cache, model) = (tempdir().unwrap(), tiny());
    let (cache, path) = (cache.path(), model.path().to_str().unwrap());
    let added = output(cache, &["models", "add", "tiny", path], "");
    assert!(added.starts_with("tiny: generator, ") && added.contains("mit"), "{added}");
    model.close().unwrap();
    let list = output(cache, &["models", "list"], "");
    let line = list.lines().find(|line| line.starts_with("tiny  ")).unwrap();
    assert!(line.contains("generator (llama, F32, 96 tokens)"), "{line}");
    let list = json(&output(cache, &["models", "list", "--json"], ""));
    let listed = list.as_array().unwrap().iter().find(|model| model["name"] == "tiny").unwrap();
    assert_eq!((&listed["architecture"], &listed["weights"]), (&json!("llama"), &json!("F32")));
    assert_eq!((&listed["context"], &listed["licence"]), (&json!(96), &json!("mit")));

    let command = ["generate", "--model", "tiny", "--raw", "--max-tokens", "12"];
    let shown = output(cache, &joined(&command, &["ab cd"]), "");
    // From standard input it is the same.
    assert_eq!(output(cache, &command, "ab cd"), shown);
    let answer = json(&output(cache, &joined(&command, &["--json", "ab cd"]), ""));
    assert_eq!(format!("{}\n", answer["text"].as_str().unwrap()), shown);
    assert_eq!(answer["end"], "length");
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": 5, "cached_tokens": 0, "generated_tokens": 12})
    );
    let drawn = |seed: &str| {
        let options =
            ["--temperature", "2", "--top-k", "50", "--top-p", "0.95", "--seed", seed, "ab cd"];
        output(cache, &joined(&command, &options), "")
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
    let report = [
        "bench",
        "generate",
        "--model",
        "tiny",
        "--prompt",
        "40",
        "--generate",
        "3",
        "--rounds",
        "1",
        "--json",
    ];
    let report = json(&output(cache, &report, ""));
    for figure in [
        "prompt_tokens_per_second",
        "repeated_prompt_seconds",
        "generated_tokens_per_second",
        "sessions_tokens_per_second",
    ] {
        assert!(report[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {report}");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let (cache, model) = (tempdir().unwrap(), tiny());
    let (cache, path) = (cache.path(), model.path().to_str().unwrap());
    output(cache, &["models", "add", "tiny", path, "--licence", "MIT"], "");
    for (arguments, said) in [
        (&["generate", "hi"][..], "--model"),
        (&["generate", "--model", "nothing", "hi"], "registered are: tiny"),
        (&["generate", "--model", "tiny", "hi"], "--raw"),
        (&["generate", "--model", "tiny", "--raw", ""], "prompt"),
        (&["generate", "--model", "tiny", "--raw", "--max-tokens", "95", "hi"], "reads 96"),
        (&["generate", "--model", "tiny", "--raw", "--top-p", "2", "hi"], "top_p"),
        (&["models", "add", "all-MiniLM-L6-v2", path], "choose another"),
        (&["models", "add", "x", "someone/something"], "hf download someone/something"),
    ] {
        let refused = refusal(cache, arguments, 1);
        assert!(refused.contains(said), "{arguments:?}: {refused}");
    }
    let unused = refusal(cache, &["inspect", "x.trine", "--model", "tiny"], 2);
    assert!(unused.contains("uses no language model"), "{unused}");
}
