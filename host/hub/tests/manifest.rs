//! Manifests: those of the repository, and everything that is refused.

mod fixture;

use std::path::Path;

use fixture::{good_wheel, manifest_text};
use tempfile::tempdir;
use trine_hub::{Error, Kind, Manifest, builtin, find, list};

fn refusal(text: &str) -> String {
    match Manifest::parse(text, "toy.toml") {
        Err(error @ Error::Manifest { .. }) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
        Ok(manifest) => panic!("it was accepted: {manifest:?}"),
    }
}

#[test]
fn every_manifest_of_the_repository_is_built_in_under_its_own_name() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let files = std::fs::read_dir(models).unwrap();
    let files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files.filter(|name| name.ends_with(".toml")).collect();
    files.sort();
    let manifests = builtin().unwrap();
    let mut names: Vec<_> = manifests.iter().map(|m| format!("{}.toml", m.name)).collect();
    names.sort();
    assert_eq!(files, names);
    assert!(!names.is_empty());
}

#[test]
fn a_model_is_found_by_name_and_an_unknown_name_lists_the_known() {
    let cache = tempdir().unwrap();
    let find = |name| find(name, cache.path());
    let minilm = find("all-MiniLM-L6-v2").unwrap();
    assert_eq!(minilm.kind, Kind::SentenceEncoder);
    assert!(minilm.files.iter().any(|file| file.path == "1_Pooling/config.json"));
    assert!(minilm.size() > 90_000_000);
    let message = find("MiniLM").unwrap_err().to_string();
    assert!(message.contains("all-MiniLM-L6-v2"), "{message}");
}

#[test]
fn an_empty_cache_lists_everything_as_not_cached() {
    let cache = tempdir().unwrap();
    let listed = list(cache.path()).unwrap();
    assert_eq!(listed.len(), builtin().unwrap().len());
    assert!(listed.iter().all(|model| !model.cached));
    assert!(std::fs::read_dir(cache.path()).unwrap().next().is_none());
}

#[test]
fn no_name_leads_out_of_the_models_folder() {
    let good = manifest_text(&good_wheel());
    assert!(Manifest::parse(&good, "toy.toml").is_ok());
    let fields = [
        ("name = \"toy\"", "name"),
        ("path = \"weights.bin\"", "file.path"),
        ("repository = \"trine/toy\"", "source.repository"),
        ("revision = \"abc\"", "source.revision"),
        ("package = \"Toy_Model\"", "source.package"),
        ("file = \"toy_model-1.0-py3-none-any.whl\"", "source.file"),
        ("prefix = \"toy_model/model\"", "source.prefix"),
    ];
    let evil = [
        "..",
        "../x",
        "x/../../y",
        "/etc/passwd",
        "",
        ".",
        "x//y",
        "x/",
        "C:x",
        "x\\\\..\\\\y",
        ".hidden",
        "x/.hidden",
        "x.",
        "nul\\u0000",
        "a b",
        "x.part",
        "x?y",
        "x#y",
        "x%2e%2e",
    ];
    for (line, field) in fields {
        assert!(good.contains(line), "{line}");
        let key = line.split(' ').next().unwrap();
        for value in evil {
            let text = good.replacen(line, &format!("{key} = \"{value}\""), 1);
            let message = refusal(&text);
            assert!(message.contains(&format!("`{field}`")), "{field} {value:?}: {message}");
        }
    }
}

#[test]
fn what_is_missing_unknown_or_of_the_wrong_kind_is_named() {
    let good = manifest_text(&good_wheel());
    let sources = good.find("[[source]]").unwrap();
    let cases = [
        (good.replacen("name = \"toy\"\n", "", 1), "name"),
        (good.replacen("licence = \"CC0-1.0\"", "licence = \" \"", 1), "licence"),
        (good.replacen("sentence-encoder", "oracle", 1), "oracle"),
        (good.replacen("size = 1500000", "size = 0", 1), "file.size"),
        (good.replacen("size = 1500000", "size = -1", 1), "size"),
        (good.replacen("size = 1500000\n", "", 1), "size"),
        (good.replacen("1_Pooling/config.json", "Weights.BIN", 1), "comes twice"),
        (good.replacen("sha256 = \"", "sha256 = \"0", 1), "SHA-256"),
        (good.replacen("sha256 = \"", "md5 = \"", 1), "md5"),
        (good.replacen("kind = \"hub\"", "kind = \"ftp\"", 1), "ftp"),
        (good.replacen("revision = \"abc\"", "", 1), "revision"),
        (good.replacen("revision = \"abc\"", "revision = \"abc\"\nhost = \"x\"", 1), "host"),
        (good.replacen("repository = \"trine/toy\"", "repository = \"toy\"", 1), "owner/name"),
        (good[..sources].to_owned(), "[[source]]"),
        ("name = ".to_owned(), "toy.toml"),
    ];
    for (text, part) in cases {
        let message = refusal(&text);
        assert!(message.contains(part) && message.contains("toy.toml"), "{part}: {message}");
    }
}
