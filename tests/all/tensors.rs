//! wasi:nn as a hostile guest uses it: every bad tensor gets a code and the input's name, and the
//! device goes on. On the CPU, and on the first adapter of this machine.

use std::sync::OnceLock;

use serde_json::{Value, json};

use trine_inference::EngineOptions;

use crate::fixture::{MODEL, Serving, engine, gpu, limits, misbehaving_bundle};

/// One for each device.
pub fn servers() -> &'static [Serving] {
    static SERVERS: OnceLock<Vec<Serving>> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let Some(bundle) = misbehaving_bundle() else { return vec![] };
        let gpu = gpu().map(|device| EngineOptions { device, ..engine() });
        let engines = [engine()].into_iter().chain(gpu);
        engines.map(|engine| Serving::with_engine(bundle, engine, limits())).collect()
    })
}

/// An int64 input.
pub fn ids(name: &str, dimensions: &[u64], values: &[i64]) -> Value {
    json!({ "name": name, "type": "i64", "dimensions": dimensions, "values": values })
}

/// What is right about every call but for one input.
fn good() -> Vec<Value> {
    vec![
        ids("input_ids", &[2, 3], &[101, 2000, 102, 101, 102, 0]),
        ids("attention_mask", &[2, 3], &[1, 1, 1, 1, 1, 0]),
    ]
}

fn compute(server: &Serving, graph: &str, inputs: Vec<Value>) -> Value {
    server.post("/misbehave/compute", &json!({ "graph": graph, "inputs": inputs })).ok()
}

/// The good call with the input of `bad`'s name replaced, or added: an `InvalidArgument` whose
/// text has these words. Afterwards a good call works.
#[track_caller]
fn refused(server: &Serving, bad: Value, words: &[&str]) {
    let mut inputs = good();
    inputs.retain(|input| input["name"] != bad["name"]);
    let name = bad["name"].as_str().unwrap().to_owned();
    inputs.push(bad);
    let reply = compute(server, MODEL, inputs);
    assert_eq!(reply["error"]["code"], "ErrorCode::InvalidArgument", "{reply}");
    let text = reply["error"]["data"].as_str().unwrap();
    for word in words.iter().copied().chain([format!("`{name}`").as_str()]) {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    computes(server);
}

#[track_caller]
fn computes(server: &Serving) {
    let expected = json!({ "outputs": [{ "name": "last_hidden_state", "shape": [2, 3, 384] }] });
    assert_eq!(compute(server, MODEL, good()), expected);
}

#[test]
fn good_tensors_are_computed() {
    for server in servers() {
        computes(server);
        server.is_well();
    }
}

#[test]
fn types_that_are_no_ids() {
    for server in servers() {
        for (ty, width) in [("fp16", 2), ("fp32", 4), ("fp64", 8), ("u8", 1)] {
            for name in ["input_ids", "attention_mask"] {
                let input =
                    json!({ "name": name, "type": ty, "dimensions": [2, 3], "bytes": 6 * width });
                refused(server, input, &[]);
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit() {
    for server in servers() {
        let values = [101, 2000, 102, 101, 102, 0];
        for dimensions in [&[][..], &[6], &[1, 2, 3], &[3, 2], &[1, 6], &[6, 1]] {
            // An empty shape is one value.
            let values = if dimensions.is_empty() { &values[..1] } else { &values[..] };
            let input = if dimensions == [3, 2] || dimensions == [1, 6] || dimensions == [6, 1] {
                ids("attention_mask", dimensions, values)
            } else {
                ids("input_ids", dimensions, values)
            };
            refused(server, input, &[]);
        }
        refused(server, ids("input_ids", &[0, 3], &[]), &["0"]);
        refused(server, ids("input_ids", &[3, 0], &[]), &["0"]);
    }
}

#[test]
fn data_that_is_not_what_the_shape_says() {
    for server in servers() {
        for bytes in [0, 1, 47, 49, 4096] {
            let input =
                json!({ "name": "input_ids", "type": "i64", "dimensions": [2, 3], "bytes": bytes });
            refused(server, input, &[&bytes.to_string()]);
        }
        // Shapes that claim four gigabytes and far more, over eight bytes.
        for dimensions in [&[65_536, 8192][..], &[u32::MAX, u32::MAX], &[u32::MAX; 16]] {
            let input =
                json!({ "name": "input_ids", "type": "i64", "dimensions": dimensions, "bytes": 8 });
            refused(server, input, &["8 bytes"]);
        }
    }
}

#[test]
fn ids_that_no_vocabulary_has() {
    for server in servers() {
        for id in [-1, 30_522, 1 << 31, 1 << 40, i64::MIN, i64::MAX] {
            refused(
                server,
                ids("input_ids", &[2, 3], &[101, id, 102, 101, 102, 0]),
                &[&id.to_string()],
            );
        }
        for kind in [-1, 2, i64::MAX] {
            refused(
                server,
                ids("token_type_ids", &[2, 3], &[0, kind, 0, 0, 0, 0]),
                &[&kind.to_string()],
            );
        }
    }
}

#[test]
fn masks_with_holes() {
    for server in servers() {
        for mask in [[0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 2, 1, 1, 1]]
        {
            refused(server, ids("attention_mask", &[2, 3], &mask), &["row"]);
        }
    }
}

#[test]
fn texts_longer_than_the_model() {
    for server in servers() {
        let rows = |rows: u64, columns: u64| {
            let n = (rows * columns) as usize;
            vec![
                ids("input_ids", &[rows, columns], &vec![101; n]),
                ids("attention_mask", &[rows, columns], &vec![1; n]),
            ]
        };
        for (n, columns) in [(1, 513), (1, 60_000), (140, 512)] {
            let reply = compute(server, MODEL, rows(n, columns));
            assert_eq!(reply["error"]["code"], "ErrorCode::InvalidArgument", "{reply}");
            assert!(reply["error"]["data"].as_str().unwrap().contains("tokens"), "{reply}");
            computes(server);
        }
        assert!(compute(server, MODEL, rows(1, 512)).get("outputs").is_some());
    }
}

#[test]
fn inputs_that_are_missing_unknown_or_doubled() {
    for server in servers() {
        for missing in ["input_ids", "attention_mask"] {
            let mut inputs = good();
            inputs.retain(|input| input["name"] != missing);
            let reply = compute(server, MODEL, inputs);
            assert_eq!(reply["error"]["code"], "ErrorCode::InvalidArgument", "{reply}");
            let text = reply["error"]["data"].as_str().unwrap();
            assert!(text.contains(missing) && text.contains("missing"), "{text}");
        }
        refused(server, ids("pixel_values", &[1, 1], &[1]), &["unknown", "input_ids"]);
        let mut doubled = good();
        doubled.push(doubled[0].clone());
        let reply = compute(server, MODEL, doubled);
        assert!(reply["error"]["data"].as_str().unwrap().contains("twice"), "{reply}");
        computes(server);
    }
}

#[test]
fn a_model_that_is_not_there() {
    for server in servers() {
        for name in ["gpt-5", "", "../all-MiniLM-L6-v2", "/etc/passwd", "all-MiniLM-L6-v2\0"] {
            let reply = compute(server, name, good());
            assert_eq!(reply["error"]["code"], "ErrorCode::NotFound", "{reply}");
            let text = reply["error"]["data"].as_str().unwrap();
            assert!(text.contains(&format!("`{name}`")) && text.contains(MODEL), "{text}");
        }
        server.is_well();
    }
}

#[test]
fn bytes_are_not_loaded_as_a_model() {
    for server in servers() {
        let reply = server.get("/misbehave/load-bytes").ok();
        assert_eq!(reply["error"]["code"], "ErrorCode::UnsupportedOperation", "{reply}");
        assert!(reply["error"]["data"].as_str().unwrap().contains("by name"), "{reply}");
        server.is_well();
    }
}
