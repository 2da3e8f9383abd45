//! A tokenizer from GGUF's metadata, by way of the `tokenizer.json` that it was made from.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::{TextTokenizer, parse};
use crate::ModelError;
use crate::gguf::{Gguf, Value};

/// Of words, numbers and punctuation: Llama 3's, with runs of up to so many digits.
fn llama3(digits: &str) -> String {
    format!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

/// How text is cut before its pieces are merged, by the name that llama.cpp gives it
/// (`tokenizer.ggml.pre`).
fn pre_tokenizer(name: &str) -> Option<Json> {
    let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let bytes = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": regex});
    let all = |parts: Vec<Json>| json!({"type": "Sequence", "pretokenizers": parts});
    Some(match name {
        "llama-bpe" | "llama3" | "llama-v3" => all(vec![split(&llama3("{1,3}")), bytes(false)]),
        "qwen2" | "deepseek-r1-qwen" => all(vec![split(&llama3("")), bytes(false)]),
        "smollm" => all(vec![json!({"type": "Digits", "individual_digits": true}), bytes(true)]),
        "gpt-2" => bytes(true),
        // What llama.cpp takes where a converter did not know.
        "default" => all(vec![
            split(r"[\p{P}\$\+<=>\^~\|]+"),
            split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
            split(r"\p{N}+"),
            split(r"[0-9][0-9][0-9]"),
            bytes(false),
        ]),
        _ => return None,
    })
}

/// llama.cpp's types of tokens.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

pub(super) fn read(gguf: &Gguf) -> Result<TextTokenizer, ModelError> {
    let wrong = |reason: String| ModelError::Format { path: gguf.path().to_owned(), reason };
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let missing = |name: &str| wrong(format!("key `{}` is missing or of another type", key(name)));
    let get = |name: &str| gguf.get(&key(name));
    let text = |name: &str| get(name).and_then(Value::as_str);
    let tokens = get("tokens").and_then(Value::as_strings).ok_or_else(|| missing("tokens"))?;
    let types = get("token_type").and_then(Value::as_integers).unwrap_or_default();
    let kind = |id: usize| types.get(id).copied().unwrap_or(1);
    let vocabulary: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut json = match text("model").ok_or_else(|| missing("model"))? {
        "gpt2" => {
            let name = text("pre").unwrap_or("default");
            let pre = pre_tokenizer(name).ok_or_else(|| ModelError::Unsupported {
                field: "tokenizer.ggml.pre",
                found: format!("`{name}`"),
                supported: "llama-bpe, qwen2, smollm, gpt-2, default",
            })?;
            let merges =
                get("merges").and_then(Value::as_strings).ok_or_else(|| missing("merges"))?;
            byte_level(pre, name, &vocabulary, merges)
        }
        "llama" => {
            let scores =
                get("scores").and_then(Value::as_floats).ok_or_else(|| missing("scores"))?;
            let space = get("add_space_prefix").and_then(Value::as_bool).unwrap_or(true);
            let unknown = (0..tokens.len()).find(|&id| kind(id) == UNKNOWN);
            sentence_pieces(space, &vocabulary, scores, unknown.map(|id| tokens[id].as_str()))
        }
        other => {
            return Err(ModelError::Unsupported {
                field: "tokenizer.ggml.model",
                found: format!("`{other}`"),
                supported: "gpt2, llama",
            });
        }
    };
    let added =
        tokens.iter().enumerate().filter(|(id, _)| matches!(kind(*id), CONTROL | USER_DEFINED));
    let added: Vec<Json> = added
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": kind(id) == CONTROL})
        })
        .collect();
    json["added_tokens"] = added.into();
    let around = |flag: &str, token: &str, default: bool| {
        let wanted = get(flag).and_then(Value::as_bool).unwrap_or(default);
        let id = get(token).and_then(Value::as_usize).filter(|_| wanted)?;
        Some((id, tokens.get(id)?))
    };
    let sentence_pieces = text("model") == Some("llama");
    let begin = around("add_bos_token", "bos_token_id", sentence_pieces);
    let end = around("add_eos_token", "eos_token_id", false);
    json["post_processor"] = template(begin, end);
    parse(gguf.path(), json.to_string().as_bytes())
}

/// Byte-level BPE (Radford et al. 2019).
fn byte_level(pre: Json, name: &str, vocabulary: &HashMap<&str, usize>, merges: &[String]) -> Json {
    let normalizer = if name == "qwen2" { json!({"type": "NFC"}) } else { Json::Null };
    json!({
        "version": "1.0",
        "normalizer": normalizer,
        "pre_tokenizer": pre,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": false,
            // Words that are tokens are taken whole.
            "ignore_merges": name.starts_with("llama"),
        },
    })
}

/// SentencePiece's BPE (Kudo & Richardson 2018): of two pieces side by side those are merged first
/// whose whole has the highest score.
fn sentence_pieces(
    space: bool,
    vocabulary: &HashMap<&str, usize>,
    scores: &[f64],
    unknown: Option<&str>,
) -> Json {
    let score = |id: usize| scores.get(id).copied().unwrap_or(f64::NEG_INFINITY);
    let mut merges: Vec<(f64, usize, usize, [&str; 2])> = Vec::new();
    for (token, &id) in vocabulary {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&l), Some(&r)) = (vocabulary.get(left), vocabulary.get(right)) {
                merges.push((score(id), l, r, [left, right]));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let merges: Vec<[&str; 2]> = merges.into_iter().map(|(.., pair)| pair).collect();
    let replaced = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let prepended = json!({"type": "Prepend", "prepend": "▁"});
    let normalizers = if space { vec![prepended, replaced] } else { vec![replaced] };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if space {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({
        "version": "1.0",
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": true,
            "fuse_unk": true, "unk_token": unknown, "ignore_merges": false,
        },
    })
}

/// What goes around a text, and around two.
fn template(begin: Option<(usize, &String)>, end: Option<(usize, &String)>) -> Json {
    let special = |token: Option<(usize, &String)>, kind: u32| {
        token.map(|(_, text)| json!({"SpecialToken": {"id": text, "type_id": kind}}))
    };
    let around = |name: &str, kind: u32| -> Vec<Json> {
        let text = json!({"Sequence": {"id": name, "type_id": kind}});
        special(begin, kind).into_iter().chain([text]).chain(special(end, kind)).collect()
    };
    let tokens: serde_json::Map<String, Json> = [begin, end]
        .into_iter()
        .flatten()
        .map(|(id, text)| (text.clone(), json!({"id": text, "ids": [id], "tokens": [text]})))
        .collect();
    let pair: Vec<Json> = around("A", 0).into_iter().chain(around("B", 1)).collect();
    json!({"type": "TemplateProcessing", "single": around("A", 0), "pair": pair, "special_tokens": tokens})
}
