//! Small decoders against transformers: logits, greedy text, and that neither depends on how they are
//! computed.

mod decoder_files;

use decoder_files::{Case, case, cases, folder, gguf, open, plain};
use trine_inference::generation::{Feed, SessionId, Sessions};
use trine_inference::{DecoderModel, ModelError};
use trine_kernels::gpu::{Adapter, GpuOptions, Storage};
use trine_kernels::{CpuDevice, DecoderDevice, Format, PAGE};

const CACHE: usize = 64 << 20;

fn on_cpu(model: &DecoderModel) -> Sessions<CpuDevice> {
    Sessions::new(CpuDevice::new(2).unwrap(), model, CACHE).unwrap()
}

fn feed<D: DecoderDevice>(
    sessions: &mut Sessions<D>,
    session: SessionId,
    tokens: &[u32],
) -> Vec<f32> {
    let feed = Feed { session, tokens, logits: true };
    sessions.step(&[feed]).unwrap().pop().unwrap().unwrap().to_vec()
}

/// The logits after each token, one step a token.
fn each<D: DecoderDevice>(sessions: &mut Sessions<D>, tokens: &[u32]) -> Vec<Vec<f32>> {
    let (session, _) = sessions.create(&[]);
    let logits = tokens.iter().map(|&token| feed(sessions, session, &[token])).collect();
    sessions.end(session);
    logits
}

fn likeliest(logits: &[f32]) -> u32 {
    let larger = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (0..logits.len()).fold(0, larger) as u32
}

fn greedy<D: DecoderDevice>(sessions: &mut Sessions<D>, prompt: &[u32], count: usize) -> Vec<u32> {
    let (session, _) = sessions.create(&[]);
    let mut logits = feed(sessions, session, prompt);
    let mut tokens = Vec::new();
    while tokens.len() < count {
        tokens.push(likeliest(&logits));
        logits = feed(sessions, session, &tokens[tokens.len() - 1..]);
    }
    sessions.end(session);
    tokens
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The largest distance to transformers' logits.
fn distance(case: &Case, logits: &[Vec<f32>]) -> f32 {
    let mut most = 0.0f32;
    for (at, (found, expected)) in logits.iter().zip(&case.logits).enumerate() {
        for (i, expected) in expected.iter().enumerate() {
            most = most.max((found[(at * 5 + i * 101) % found.len()] - expected).abs());
        }
    }
    most
}

#[test]
fn logits_and_greedy_text_are_those_of_transformers() {
    let cases = cases();
    assert!(cases.len() >= 10);
    for case in cases {
        let folder = case.folder();
        let mut sessions = on_cpu(&open(folder.path()));
        let logits = each(&mut sessions, &case.tokens);
        assert_eq!(logits.len(), 64);
        let off = distance(&case, &logits);
        println!("{}: off by {off:e}", case.name);
        assert!(off < 1e-3, "{}: {off:e}", case.name);
        let found: Vec<u32> = logits.iter().map(|logits| likeliest(logits)).collect();
        assert_eq!(found, case.likeliest, "{}", case.name);
        assert_eq!(
            greedy(&mut sessions, &case.tokens, case.greedy.len()),
            case.greedy,
            "{}",
            case.name
        );
    }
}

#[test]
fn gguf_gives_the_bits_of_safetensors() {
    for case in cases() {
        // What GGUF has no key for, its converter works out or leaves out.
        if ["llama-llama3", "qwen2-window"].contains(&case.name.as_str()) {
            continue;
        }
        let (folder, tensors) = (case.folder(), case.tensors());
        let (_kept, path) = gguf(&case.config, &tensors, plain);
        let (mut ours, mut theirs) = (on_cpu(&open(folder.path())), on_cpu(&open(&path)));
        let (a, b) = (each(&mut ours, &case.tokens), each(&mut theirs, &case.tokens));
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(bits(a), bits(b), "{}", case.name);
        }
    }
}

#[test]
fn parts_batches_and_forks_give_the_bits_of_tokens_one_by_one() {
    for name in ["llama", "mistral", "qwen3"] {
        let case = case(name);
        let folder = case.folder();
        let mut sessions = on_cpu(&open(folder.path()));
        let tokens: Vec<u32> = (0..150).map(|i| i * 53 % 320).collect();
        let alone = each(&mut sessions, &tokens);
        let same =
            |found: &[f32], at: usize| assert_eq!(bits(found), bits(&alone[at]), "{name} {at}");
        let (whole, _) = sessions.create(&[]);
        same(&feed(&mut sessions, whole, &tokens[..149]), 148);
        // Three texts at different places, some of which want no logits.
        let [a, b, c] = [0; 3].map(|_| sessions.create(&[]).0);
        let mut read = [0; 3];
        for step in [[40, 1, 70], [1, 1, 33], [60, 97, 1], [1, 1, 1]] {
            let parts = [a, b, c].into_iter().zip(step).enumerate();
            let feeds: Vec<Feed> = parts
                .map(|(i, (session, count))| {
                    let tokens = &tokens[read[i]..read[i] + count];
                    Feed { session, tokens, logits: i != 1 || count == 1 }
                })
                .collect();
            let found = sessions.step(&feeds).unwrap();
            for i in 0..3 {
                read[i] += step[i];
                assert_eq!(found[i].is_some(), feeds[i].logits);
                found[i].iter().for_each(|logits| same(logits, read[i] - 1));
            }
        }
        // Two continue differently from the middle of a page; neither sees the other.
        assert_ne!(read[1] % PAGE, 0);
        let fork = sessions.fork(b).unwrap();
        feed(&mut sessions, fork, &[7, 8, 9]);
        same(&feed(&mut sessions, b, &tokens[read[1]..=read[1]]), read[1]);
        let before = sessions.counts();
        [whole, a, b, c, fork].into_iter().for_each(|session| sessions.end(session));
        let after = sessions.counts();
        assert!(after.free > before.free && sessions.is_empty());
        assert_eq!(after.free + after.kept, after.pages, "every page came back");
    }
}

#[test]
fn a_text_that_begins_alike_is_not_read_again() {
    let case = case("llama");
    let folder = case.folder();
    let mut sessions = on_cpu(&open(folder.path()));
    let tokens: Vec<u32> = (0..100).map(|i| i * 53 % 320).collect();
    let (first, cached) = sessions.create(&tokens);
    assert_eq!(cached, 0);
    let expected = feed(&mut sessions, first, &tokens);
    for end_first in [false, true] {
        let (again, cached) = sessions.create(&tokens);
        assert_eq!(cached, 96);
        assert_eq!(bits(&feed(&mut sessions, again, &tokens[cached..])), bits(&expected));
        sessions.end(again);
        if end_first {
            sessions.end(first);
        }
    }
    assert_eq!(sessions.counts().reused_tokens, 192);
    // A page whose tokens differ is another.
    let mut other = tokens.clone();
    other[40] += 1;
    assert_eq!(sessions.create(&other).1, 32);
}

#[test]
fn a_full_cache_is_an_error_and_no_loss() {
    let case = case("llama");
    let folder = case.folder();
    // Two layers of two heads, each 16 columns of keys and a panel of values: 24 KiB a page.
    let model = open(folder.path());
    let mut sessions = Sessions::new(CpuDevice::new(1).unwrap(), &model, 100_000).unwrap();
    let pages = sessions.counts().pages;
    assert!((2..10).contains(&pages), "{pages}");
    let tokens: Vec<u32> = (0..(pages * PAGE) as u32 + 1).map(|i| i * 3 % 320).collect();
    let (session, _) = sessions.create(&[]);
    feed(&mut sessions, session, &tokens[..PAGE + 5]);
    let too_long = Feed { session, tokens: &tokens[PAGE + 5..], logits: true };
    let error = sessions.step(&[too_long]).unwrap_err();
    assert!(error.to_string().contains("cache"), "{error}");
    // What was there still is, and what was taken for the step is given back with it.
    let next = feed(&mut sessions, session, &tokens[PAGE + 5..PAGE + 6]);
    assert_eq!(bits(&next), bits(&each(&mut on_cpu(&model), &tokens[..PAGE + 6])[PAGE + 5]));
    sessions.end(session);
    let counts = sessions.counts();
    assert_eq!(counts.free + counts.kept, pages);
    // All that is kept can go for something new.
    let (session, _) = sessions.create(&[]);
    feed(&mut sessions, session, &tokens[1..]);
}

#[test]
fn steps_that_cannot_be_are_refused() {
    let case = case("llama");
    let folder = case.folder();
    let mut sessions = on_cpu(&open(folder.path()));
    let (session, _) = sessions.create(&[]);
    let mut refused = |session, tokens: &[u32]| {
        sessions.step(&[Feed { session, tokens, logits: true }]).unwrap_err().to_string()
    };
    assert!(refused(session, &[320]).contains("320 is none of the vocabulary's"));
    assert!(refused(session, &[]).contains("none"));
    assert!(refused(session, &[1; 513]).contains("at most 512"));
    let feed = Feed { session, tokens: &[1], logits: false };
    assert!(sessions.step(&[feed.clone(), feed]).unwrap_err().to_string().contains("twice"));
    sessions.end(session);
    let gone = Feed { session, tokens: &[1], logits: false };
    assert!(sessions.step(&[gone]).unwrap_err().to_string().contains("no such session"));
    assert!(sessions.fork(session).is_err());
}

/// A row of random whole numbers in blocks whose values are about those of the row's place.
fn quantised(format: Format, name: &str, row: &[f32]) -> Vec<u8> {
    let size = format.row_bytes(row.len()).unwrap();
    let seed =
        name.bytes().fold(row[0].to_bits().into(), |s: u64, b| s * 31 % (1 << 40) + u64::from(b));
    let drawn = trine_kernels::parity::numbers(size, seed);
    let mut bytes: Vec<u8> = drawn.iter().map(|x| ((x + 1.0) * 128.0) as u8).collect();
    let half = |x: f32| half::f16::from_f32(x).to_le_bytes();
    for (block, value) in bytes.chunks_mut(format.block_bytes()).zip(&drawn) {
        let scale = 0.1 + 0.05 * value;
        match format {
            Format::Q8_0 => block[..2].copy_from_slice(&half(scale / 127.0)),
            Format::Q4_0 => block[..2].copy_from_slice(&half(scale / 8.0)),
            // The same scale in all runs; minima that make the numbers' mean 0.
            Format::Q4K | Format::Q5K => {
                let most = if format == Format::Q4K { 15.0 } else { 31.0 };
                block[..2].copy_from_slice(&half(scale * 2.0 / most / 32.0));
                block[2..4].copy_from_slice(&half(scale / 32.0));
                // 32 in each run: the upper bits of the last four lie in the first, lower ones are 0.
                block[4..12].fill(32 | 0x80);
                block[12..16].fill(0);
            }
            Format::Q6K => {
                block[192..208].fill(16);
                block[208..].copy_from_slice(&half(scale / 32.0 / 16.0));
            }
            _ => unreachable!(),
        }
    }
    bytes
}

#[test]
fn quantised_weights_agree_with_what_they_stand_for() {
    let mut case = case("llama");
    for (field, size) in [("hidden_size", 256), ("intermediate_size", 256), ("head_dim", 64)] {
        case.config[field] = size.into();
    }
    for (name, shape) in &mut case.shapes {
        let columns = if name.contains("norm") { vec![256] } else { vec![256, 256] };
        *shape = columns;
        match name.as_str() {
            name if name.contains("k_proj") || name.contains("v_proj") => shape[0] = 128,
            "lm_head.weight" | "model.embed_tokens.weight" => shape[0] = 320,
            _ => {}
        }
    }
    // As many as it reads: of 200 a few that are nearly as likely as others decide.
    let tokens: Vec<u32> = (0..512).map(|i| i * 53 % 320).collect();
    for format in [
        Format::Q8_0,
        Format::Q4_0,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
        Format::F16,
        Format::Bf16,
    ] {
        // One pass to draw the blocks, in which the tensors become what those stand for.
        let mut tensors = case.tensors();
        let mut blocks = std::collections::BTreeMap::new();
        for (name, (shape, values)) in &mut tensors {
            for row in values.chunks_mut(256).filter(|_| shape.len() == 2) {
                let bytes = match format {
                    Format::F16 => {
                        row.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect()
                    }
                    Format::Bf16 => {
                        row.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect()
                    }
                    _ => quantised(format, name, row),
                };
                format.read(&bytes, row);
                let key: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
                blocks.insert(key, bytes);
            }
        }
        let (_kept, path) = gguf(&case.config, &tensors, |_, row| {
            let key: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
            (format, blocks[&key].clone())
        });
        let dequantised = folder(&case.config, &tensors);
        let expected = each(&mut on_cpu(&open(dequantised.path())), &tokens);
        let found = each(&mut on_cpu(&open(&path)), &tokens);
        let same =
            found.iter().zip(&expected).filter(|(a, b)| likeliest(a) == likeliest(b)).count();
        println!("{format:?}: {same} of {} likeliest tokens", tokens.len());
        assert!(same * 100 >= 95 * tokens.len(), "{format:?}: {same}");
        assert!(found.iter().flatten().all(|x| x.is_finite()));
    }
}

#[test]
fn a_gpu_gives_the_text_of_the_cpu() {
    let adapters = Adapter::all();
    if adapters.is_empty() {
        println!("skipped: no adapter (apt install mesa-vulkan-drivers)");
    }
    for adapter in adapters {
        for name in ["llama-odd-heads", "mistral", "qwen3"] {
            let case = case(name);
            let folder = case.folder();
            let options = GpuOptions { storage: Some(Storage::F32), ..GpuOptions::default() };
            let device = adapter.open(options).unwrap();
            let mut sessions = Sessions::new(device, &open(folder.path()), 1 << 20).unwrap();
            let off = distance(&case, &each(&mut sessions, &case.tokens));
            println!("{name} on {}: off by {off:e}", sessions.device());
            assert!(off < 1e-3, "{name}: {off:e}");
            assert_eq!(greedy(&mut sessions, &case.tokens, 40), case.greedy, "{name}");
            let (session, _) = sessions.create(&[]);
            feed(&mut sessions, session, &case.tokens[..40]);
            let fork = sessions.fork(session).unwrap();
            feed(&mut sessions, fork, &[1]);
            let next = feed(&mut sessions, session, &case.tokens[40..41]);
            assert_eq!(likeliest(&next), case.likeliest[40], "{name}: a fork is not seen");
        }
    }
}

#[test]
fn models_that_cannot_be_are_refused_by_name() {
    let case = case("llama");
    let refused = |edit: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        edit(&mut case);
        let folder = case.folder();
        match DecoderModel::open(folder.path()) {
            Err(error) => error.to_string(),
            Ok(model) => Sessions::new(CpuDevice::new(1).unwrap(), &model, CACHE)
                .err()
                .map_or_else(String::new, |error| error.to_string()),
        }
    };
    assert_eq!(refused(&|_| {}), "");
    assert!(refused(&|c| c.config["model_type"] = "gemma".into()).contains("`gemma`"));
    assert!(refused(&|c| c.config["hidden_act"] = "gelu".into()).contains("hidden_act"));
    assert!(
        refused(&|c| c.config["num_key_value_heads"] = 3.into()).contains("num_key_value_heads")
    );
    assert!(
        refused(&|c| c.config["num_attention_heads"] = 0.into()).contains("num_attention_heads")
    );
    assert!(refused(&|c| c.config["vocab_size"] = 321.into()).contains("embed_tokens"));
    assert!(
        refused(&|c| c.config["rope_parameters"]["rope_type"] = "dynamic".into())
            .contains("dynamic")
    );
    assert!(refused(&|c| c.config["rope_parameters"]["rope_theta"] = 0.0.into()).contains("rope"));
    assert!(refused(&|c| c.config["num_hidden_layers"] = 3.into()).contains("model.layers.2."));
    assert!(refused(&|c| c.config["mlp_bias"] = true.into()).contains("mlp_bias"));
    let missing = "model.layers.1.mlp.up_proj.weight";
    assert!(refused(&|c| drop(c.shapes.remove(missing))).contains(missing));
    let in_gguf = |edit: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        edit(&mut case);
        let (_kept, path) = gguf(&case.config, &case.tensors(), plain);
        match DecoderModel::open(&path) {
            Err(error) => error.to_string(),
            Ok(model) => {
                let sessions = Sessions::new(CpuDevice::new(1).unwrap(), &model, CACHE);
                sessions.err().unwrap().to_string()
            }
        }
    };
    assert!(in_gguf(&|c| c.config["model_type"] = "gemma".into()).contains("gemma"));
    assert!(in_gguf(&|c| drop(c.shapes.remove(missing))).contains("blk.1.ffn_up.weight"));
    let none = tempfile::tempdir().unwrap();
    assert!(matches!(DecoderModel::open(none.path()), Err(ModelError::File { .. })));
    let text = none.path().join("model.gguf");
    std::fs::write(&text, "not GGUF").unwrap();
    let error = DecoderModel::open(&text).err().unwrap().to_string();
    assert!(error.contains("does not begin with GGUF"), "{error}");
}
