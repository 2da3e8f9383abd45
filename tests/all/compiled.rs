//! Compiled code kept on disk: used again, and made anew where it is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use trine_inference::{Engine, Graphs};
use trine_runtime::manifest::Manifest;
use trine_runtime::{App, AppOptions, RuntimeError, Source};

const ALONE: &str = r#"
spin_manifest_version = 2

[application]
name = "alone"

[[trigger.http]]
route = "/..."
component = "misbehaving"

[component.misbehaving]
source = "misbehaving.wasm"
"#;

/// Starts the application with its code in `cache`, and sees that it answers.
fn starts(cache: &Path) {
    let component = |file: &str| {
        assert_eq!(file, "misbehaving.wasm");
        Ok::<_, RuntimeError>(Source::bytes(trine_tests::MISBEHAVING.to_vec()))
    };
    let engine = Engine::start(Graphs::new(), crate::fixture::engine()).unwrap();
    let options = AppOptions { cache: Some(cache.to_owned()), ..AppOptions::default() };
    let app = App::new(Manifest::parse(ALONE).unwrap(), component, engine, &options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let body = runtime.block_on(async {
        let request = Request::get("http://localhost/misbehave/load-bytes").body(Bytes::new());
        let response = app.handle(request.unwrap()).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap().to_bytes()
    });
    assert!(!body.is_empty());
}

/// The one file of compiled code there is.
fn code(cache: &Path) -> PathBuf {
    let files = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|file| file.extension().is_some_and(|kind| kind == "cwasm"));
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

#[test]
fn compiled_code_is_used_again_and_damaged_code_is_made_anew() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().join("compiled");
    starts(&cache);
    let (file, kept) = (code(&cache), fs::read(code(&cache)).unwrap());
    // What is mapped is what lies there: the same file, not another of the same content.
    let before = inode(&file);
    starts(&cache);
    assert_eq!((code(&cache), inode(&file)), (file.clone(), before));
    for damaged in [&kept[..kept.len() / 2], &kept[..100], b"", b"not code"] {
        fs::remove_file(&file).unwrap();
        fs::write(&file, damaged).unwrap();
        starts(&cache);
        assert_eq!(fs::read(code(&cache)).unwrap().len(), kept.len());
    }
}

#[cfg(unix)]
fn inode(file: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).unwrap())
}

#[cfg(not(unix))]
fn inode(_file: &Path) -> u64 {
    0
}

#[test]
fn a_folder_that_cannot_be_written_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    starts(&file.join("compiled"));
    assert_eq!(fs::read(&file).unwrap(), b"");
}
