//! Token ids against what Hugging Face transformers made of the same texts, and cuts that are
//! counted. The golden files are made by the scripts in `tests/golden`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use trine_text::tokens::{Encoded, Encoder, TokenError};

#[derive(Deserialize)]
struct Golden {
    texts: Vec<Text>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    truncated: u32,
}

#[derive(Deserialize)]
struct Tiny {
    window: usize,
    cases: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    first: String,
    second: String,
    window: Option<usize>,
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    truncated: u32,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn tiny_tokenizer() -> Vec<u8> {
    std::fs::read(golden("tiny-cross-encoder/tokenizer.json")).unwrap()
}

/// MiniLM's tokenizer where the model is at hand.
fn minilm_tokenizer() -> Option<Vec<u8>> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let folder = std::env::var_os("TRINE_TEST_MODEL")
        .map(PathBuf::from)
        .or_else(|| Some(cache?.join("trine/models/all-MiniLM-L6-v2")))?;
    let tokenizer = std::fs::read(folder.join("tokenizer.json")).ok();
    if tokenizer.is_none() {
        println!("skipped: no tokenizer.json in {}; set TRINE_TEST_MODEL", folder.display());
    }
    tokenizer
}

fn assert_pair(encoder: &Encoder, pair: &Pair) {
    let expected = Encoded {
        ids: pair.ids.clone(),
        type_ids: pair.type_ids.clone(),
        truncated: pair.truncated,
    };
    let found = encoder.encode_pair(&pair.first, &pair.second).unwrap();
    assert_eq!(found, expected, "{:?} and {:?}", pair.first, pair.second);
}

#[test]
fn texts_and_pairs_are_those_of_transformers() {
    let Some(tokenizer) = minilm_tokenizer() else {
        return;
    };
    let golden: Golden =
        serde_json::from_slice(&std::fs::read(golden("minilm.json")).unwrap()).unwrap();
    assert_eq!(golden.texts.len(), 100);
    let encoder = Encoder::new(&tokenizer, 256).unwrap();
    for Text { text, ids, truncated } in &golden.texts {
        let found = encoder.encode(text).unwrap();
        assert_eq!((&found.ids, found.truncated), (ids, *truncated), "{text:?}");
        assert_eq!(found.type_ids, vec![0; ids.len()]);
        let whole = ids.len() - 2 + *truncated as usize;
        assert_eq!(encoder.count(text).unwrap(), whole, "{text:?}");
    }
    assert!(golden.texts.iter().any(|t| t.truncated > 0 && t.ids.len() == 256));
    for pair in &golden.pairs {
        assert_pair(&Encoder::new(&tokenizer, pair.window.unwrap()).unwrap(), pair);
    }
}

#[test]
fn a_pair_is_cut_as_transformers_cuts_it() {
    let tiny: Tiny =
        serde_json::from_slice(&std::fs::read(golden("tiny-cross-encoder/golden.json")).unwrap())
            .unwrap();
    let encoder = Encoder::new(&tiny_tokenizer(), tiny.window).unwrap();
    assert!(tiny.cases.iter().any(|c| c.truncated > 0) && tiny.cases.len() >= 10);
    for pair in &tiny.cases {
        assert_pair(&encoder, pair);
    }
}

#[test]
fn truncation_and_padding_of_the_file_are_ignored() {
    let plain = Encoder::new(&tiny_tokenizer(), 64).unwrap();
    let mut file: serde_json::Value = serde_json::from_slice(&tiny_tokenizer()).unwrap();
    file["truncation"] = serde_json::json!(
        {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    file["padding"] = serde_json::json!({"strategy": {"Fixed": 128}, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    let other = Encoder::new(&serde_json::to_vec(&file).unwrap(), 64).unwrap();
    let text = "The museum lends audio guides in seven languages.";
    assert_eq!(plain.encode(text).unwrap(), other.encode(text).unwrap());
    assert_eq!(plain.encode_pair(text, text).unwrap(), other.encode_pair(text, text).unwrap());
    assert!(plain.encode(text).unwrap().ids.len() > 5);
    assert_eq!(plain.encode(text).unwrap().truncated, 0);
}

#[test]
fn a_window_without_room_for_text_is_refused() {
    let encoder = |window| Encoder::new(&tiny_tokenizer(), window);
    for window in [0, 1, 2] {
        assert!(matches!(encoder(window), Err(TokenError::Window(w)) if w == window));
    }
    let three = encoder(3).unwrap();
    assert_eq!(three.encode("one two three").unwrap().ids.len(), 3);
    assert!(matches!(three.encode_pair("one", "two"), Err(TokenError::Window(3))));
    assert!(matches!(Encoder::new(b"{}", 64), Err(TokenError::Parse(_))));
    assert!(matches!(Encoder::new(b"\xff", 64), Err(TokenError::Parse(_))));
}

#[test]
fn a_giant_text_is_counted_to_the_last_token() {
    let encoder = Encoder::new(&tiny_tokenizer(), 64).unwrap();
    let text = "the pump ".repeat(20_000);
    let encoded = encoder.encode(&text).unwrap();
    assert_eq!(encoded.ids.len(), 64);
    let each = encoder.count("the pump").unwrap();
    assert_eq!(encoder.count(&text).unwrap(), each * 20_000);
    assert_eq!(encoded.truncated as usize, each * 20_000 - 62);
}

/// Words of ASCII take a way of their own; it leads to the same tokens.
#[test]
fn every_text_has_the_tokens_that_tokenizers_gives_it() {
    let parts = [
        "the",
        "Pump",
        "unbelievably",
        "x",
        "A1",
        "[SEP]",
        "[",
        "]",
        "[sep]",
        "[UNK]x",
        "é",
        "e\u{301}",
        "naïve",
        "東京",
        "\u{a0}",
        "\u{2009}",
        "\u{b}",
        "\u{1}",
        "\u{7f}",
        "\u{0}",
        "ß",
        "İ",
        "Σ",
        " ",
        " ",
        "\n",
        "\t",
        "\r\n",
        ".",
        "--",
        "don't",
        "#",
        "$5",
        "ﬁ",
        "\u{200b}",
        "\u{feff}",
        "—",
        "ab\u{301}c",
        "🦀",
        "`",
    ];
    let files = std::iter::once(tiny_tokenizer()).chain(minilm_tokenizer());
    for file in files {
        let mut theirs = tokenizers::Tokenizer::from_bytes(&file).unwrap();
        theirs.with_padding(None).with_truncation(None).unwrap();
        let ours = Encoder::new(&file, 512).unwrap();
        let mut state = 1u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        let long = "z".repeat(101);
        for _ in 0..5_000 {
            let count = below(12);
            let mut text: String = (0..count).map(|_| parts[below(parts.len())]).collect();
            if below(50) == 0 {
                text.push_str(&long[below(3)..]);
            }
            let expected = theirs.encode(text.as_str(), true).unwrap();
            let found = ours.encode(&text).unwrap();
            assert_eq!(found.ids, expected.get_ids(), "{text:?}");
            assert_eq!(found.type_ids, expected.get_type_ids(), "{text:?}");
            let pair = theirs.encode((text.as_str(), "The pump."), true).unwrap();
            let found = ours.encode_pair(&text, "The pump.").unwrap();
            assert_eq!(
                (&found.ids[..], &found.type_ids[..]),
                (pair.get_ids(), pair.get_type_ids())
            );
        }
    }
}
