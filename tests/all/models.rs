//! Models that are not those of the bundle, or not there: refused, with what to do.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use trine_node::{BuildOptions, NodeError};

use crate::command::{run, trine};
use crate::fixture::{
    MODEL, build_options, bundle, corpus, index, limits, model, open, open_with, store,
};

/// A copy of the model whose files can be changed one by one.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        fs::copy(model().unwrap().join(file), folder.path().join(file)).unwrap();
    }
    let weights = "model.safetensors";
    std::os::unix::fs::symlink(model().unwrap().join(weights), folder.path().join(weights))
        .unwrap();
    folder
}

/// The message that the bundle does not open with this model.
#[track_caller]
fn refused(folder: &Path) -> (NodeError, String) {
    let opened = open(bundle().unwrap(), folder, limits());
    let error = opened.err().expect("it opened with another model");
    let message = error.to_string();
    (error, message)
}

#[test]
fn the_same_files_elsewhere_are_the_same_model() {
    let Some(bundle) = bundle() else { return };
    assert!(open(bundle, copy().path(), limits()).is_ok());
}

#[test]
fn a_changed_file_is_refused_with_both_digests() {
    let Some(_) = bundle() else { return };
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        let folder = copy();
        let path = folder.path().join(file);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push('\n');
        fs::write(&path, &text).unwrap();
        let (error, message) = refused(folder.path());
        let NodeError::Digest { found, expected, .. } = &error else { panic!("{message}") };
        assert_eq!(found, &trine_bundle::sha256_hex(text.as_bytes()));
        let original = fs::read(model().unwrap().join(file)).unwrap();
        assert_eq!(expected, &trine_bundle::sha256_hex(&original));
        for words in [found, expected, file, MODEL, "--model"] {
            assert!(message.contains(words), "`{words}` is not in: {message}");
        }
    }
}

#[test]
fn changed_weights_are_refused() {
    let Some(_) = bundle() else { return };
    let folder = copy();
    let path = folder.path().join("model.safetensors");
    let mut weights = fs::read(&path).unwrap();
    let middle = weights.len() / 2;
    weights[middle] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, &weights).unwrap();
    let (error, message) = refused(folder.path());
    assert!(matches!(error, NodeError::Digest { .. }), "{message}");
    assert!(message.contains("model.safetensors"), "{message}");
    drop(weights);

    let cut = fs::File::options().write(true).open(&path).unwrap();
    cut.set_len(1_000_000).unwrap();
    let (_, message) = refused(folder.path());
    assert!(message.contains("model.safetensors"), "{message}");
}

#[test]
fn another_tokenizer_or_configuration_is_refused() {
    let Some(_) = bundle() else { return };
    let change = |file: &str, from: &str, to: &str| {
        let folder = copy();
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        refused(folder.path()).1
    };
    let tokenizer = change("tokenizer.json", "\"house\"", "\"hausa\"");
    assert!(tokenizer.contains("tokenizer.json"), "{tokenizer}");
    let layers = change("config.json", "\"num_hidden_layers\": 6", "\"num_hidden_layers\": 5");
    assert!(layers.contains("config.json"), "{layers}");
    let broken = change("config.json", "{", "");
    assert!(broken.contains("config.json"), "{broken}");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let Some(_) = bundle() else { return };
    for file in ["tokenizer.json", "model.safetensors", "1_Pooling/config.json"] {
        let folder = copy();
        fs::remove_file(folder.path().join(file)).unwrap();
        let (_, message) = refused(folder.path());
        assert!(message.contains(file), "`{file}` is not in: {message}");
    }
}

/// Pooling that was not there when the bundle was built would change every vector.
#[test]
fn a_file_too_many_is_refused() {
    let Some(_) = bundle() else { return };
    let folder = copy();
    let pooling = folder.path().join("1_Pooling/config.json");
    let aside = folder.path().join("aside.json");
    fs::rename(&pooling, &aside).unwrap();
    let embedder = folder.path().to_str().unwrap().to_owned();
    let reranker = embedder.clone();
    let options = BuildOptions { embedder, reranker, reader: None, ..build_options() };
    let bundle = index("no-pooling.trine", &[corpus()], &options);
    let name = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut store = store(folder.path());
    store.folders.insert(name, folder.path().to_owned());
    assert!(open_with(&bundle, &store, limits()).is_ok());
    fs::rename(&aside, &pooling).unwrap();
    let message = open_with(&bundle, &store, limits()).err().expect("it opened").to_string();
    assert!(message.contains("1_Pooling/config.json") && message.contains("none"), "{message}");
}

/// A model that no hub has, and that is not there: nothing is asked of any network.
#[test]
fn a_missing_model_is_named_and_the_way_to_give_it() {
    let Some(_) = bundle() else { return };
    let folder = copy();
    let own = folder.path().join("our-own-encoder");
    fs::create_dir(&own).unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling"] {
        fs::rename(folder.path().join(file), own.join(file)).unwrap();
    }
    let options = BuildOptions { embedder: own.to_str().unwrap().to_owned(), ..build_options() };
    let bundle = index("own-model.trine", &[corpus()], &options);
    let asked = |model: Option<&Path>| {
        let mut command = trine(&[&"ask", &bundle, &"How long may a hand tool be kept?"]);
        if let Some(model) = model {
            command.arg("--model").arg(format!("our-own-encoder={}", model.display()));
        }
        run(command)
    };
    asked(None).failed(1, &["our-own-encoder"]);
    let found = asked(Some(&own));
    assert_eq!(found.code, 0, "{found:?}");
    assert!(found.out.contains("fourteen days"), "{found:?}");
}
