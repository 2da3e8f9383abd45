//! Models that are registered: found again by name, checked like all others, and replaced whole.

use std::fs;
use std::path::Path;

use tempfile::tempdir;
use trine_hub::{Error, GGUF, Kind, Registration, cached, find, pull, register, registered};

fn named(name: &str) -> Registration {
    Registration {
        name: name.to_owned(),
        kind: Kind::Generator,
        licence: "MIT".to_owned(),
        description: "it \"says\"\n\\ much\u{7f}".to_owned(),
    }
}

#[test]
fn a_file_is_linked_and_found_again_by_name() {
    let (cache, home) = (tempdir().unwrap(), tempdir().unwrap());
    let file = home.path().join("some model.Q4_0.gguf");
    fs::write(&file, b"GGUF and more").unwrap();
    let made = register(named("mine"), &file, cache.path()).unwrap();
    assert_eq!(find("mine", cache.path()).unwrap(), made);
    assert_eq!(registered(cache.path()).unwrap(), std::slice::from_ref(&made));
    assert_eq!((made.size(), made.description.as_str()), (13, named("").description.as_str()));
    // Its own disk is the cache's, so that it takes no room twice.
    fs::remove_file(&file).unwrap();
    let folder = pull(&made, cache.path(), &|_| {}).unwrap();
    assert_eq!(fs::read(folder.join(GGUF)).unwrap(), b"GGUF and more");
    // A copy that was changed is not taken for it.
    fs::write(folder.join(GGUF), b"GGUF and less").unwrap();
    assert_eq!(cached(&made, cache.path()), None);
    let failed = pull(&made, cache.path(), &|_| {}).unwrap_err().to_string();
    assert!(failed.contains("some model.Q4_0.gguf"), "{failed}");
}

#[test]
fn a_folder_gives_the_files_of_a_model_and_no_others() {
    let (cache, home) = (tempdir().unwrap(), tempdir().unwrap());
    let names = ["config.json", "tokenizer.json", "model-00001-of-00002.safetensors"];
    for name in names.iter().chain(&["secret.txt", "pytorch_model.bin"]) {
        fs::write(home.path().join(name), name).unwrap();
    }
    let made = register(named("mine"), home.path(), cache.path()).unwrap();
    let paths: Vec<&str> = made.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, names);
    // The same name again means the new files, also where the old ones are in use.
    let folder = cached(&made, cache.path()).unwrap();
    let old = fs::File::open(folder.join("config.json")).unwrap();
    fs::remove_file(home.path().join("config.json")).unwrap();
    fs::write(home.path().join("config.json"), "another").unwrap();
    let again = register(named("mine"), home.path(), cache.path()).unwrap();
    assert_eq!(registered(cache.path()).unwrap(), [again]);
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), b"another");
    assert_eq!(std::io::read_to_string(old).unwrap(), "config.json");
}

#[test]
fn what_cannot_be_registered_leaves_nothing() {
    let (cache, home) = (tempdir().unwrap(), tempdir().unwrap());
    let file = home.path().join("a.gguf");
    fs::write(&file, b"GGUF").unwrap();
    let refused = |name: &str, path: &Path| register(named(name), path, cache.path()).unwrap_err();
    assert!(matches!(refused("all-MiniLM-L6-v2", &file), Error::Taken { .. }));
    assert!(refused("../up", &file).to_string().contains("`name`"));
    assert!(refused("a b", &file).to_string().contains("`name`"));
    assert!(matches!(refused("gone", &home.path().join("gone")), Error::Io { .. }));
    let empty = tempdir().unwrap();
    assert!(refused("empty", empty.path()).to_string().contains("[[file]]"));
    assert_eq!(registered(cache.path()).unwrap(), []);
    assert!(fs::read_dir(cache.path()).unwrap().next().is_none());
}
