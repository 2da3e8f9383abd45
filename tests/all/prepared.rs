//! Bundles are made ready where they are built: opening them makes nothing, and what is damaged or
//! missing is made again, once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use trine_node::{Node, OpenOptions, open};
use trine_runtime::{AppOptions, Preparing};

use crate::command::{Ended, run, signal, trine_with_model};
use crate::fixture::{corpus, engine, limits, model, store};

/// A folder with a bundle of the test documents, and a cache in which that is ready.
struct Prepared {
    folder: tempfile::TempDir,
}

/// What indexing said, and the folder that others are copied from.
fn indexed() -> Option<&'static (Prepared, Ended)> {
    static INDEXED: OnceLock<(Prepared, Ended)> = OnceLock::new();
    model()?;
    Some(INDEXED.get_or_init(|| {
        let prepared = Prepared { folder: tempfile::tempdir().unwrap() };
        let ended = run(prepared.command(&["index", "-o"], &[corpus().to_str().unwrap()]));
        assert_eq!(ended.code, 0, "{ended:?}");
        (prepared, ended)
    }))
}

impl Prepared {
    fn copied() -> Option<Prepared> {
        let (from, _) = indexed()?;
        let to = Prepared { folder: tempfile::tempdir().unwrap() };
        fs::copy(from.bundle(), to.bundle()).unwrap();
        fs::create_dir_all(to.compiled()).unwrap();
        for name in from.kept().keys() {
            fs::copy(from.compiled().join(name), to.compiled().join(name)).unwrap();
        }
        Some(to)
    }

    fn bundle(&self) -> PathBuf {
        self.folder.path().join("a.trine")
    }

    fn compiled(&self) -> PathBuf {
        self.folder.path().join("cache").join("compiled")
    }

    /// `trine` with this cache: arguments, the bundle, more arguments.
    fn command(&self, before: &[&str], after: &[&str]) -> Command {
        let mut command = trine_with_model(&[]);
        command.env("TRINE_CACHE", self.folder.path().join("cache"));
        command.args(before).arg(self.bundle()).args(after);
        command
    }

    fn told(&self, command: &str, after: &[&str]) -> Ended {
        let ended = run(self.command(&[command], after));
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    /// The files of compiled code: names and lengths.
    fn kept(&self) -> BTreeMap<String, u64> {
        let Ok(entries) = fs::read_dir(self.compiled()) else { return BTreeMap::new() };
        let files = entries.map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
        });
        files.filter(|(name, _)| name != "lock").collect()
    }

    /// The file of those that has what the index was filled in.
    fn memory(&self, code: &BTreeMap<String, u64>) -> PathBuf {
        let kept = self.kept();
        let mut new = kept.keys().filter(|name| !code.contains_key(*name));
        let found = new.next().unwrap();
        assert_eq!(new.next(), None);
        self.compiled().join(found)
    }

    fn open(&self, preparing: fn(Preparing)) -> Node {
        let (cache, preparing) = (Some(self.compiled()), Some(preparing));
        let app = AppOptions { cache, preparing, limits: limits(), ..AppOptions::default() };
        let options = OpenOptions { engine: engine(), app };
        let node = open(&self.bundle(), &options, &store(model().unwrap())).unwrap();
        let body = r#"{"query": "How long may a hand tool be kept?"}"#;
        let request = Request::post("http://localhost/v1/retrieve").body(Bytes::from(body));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (status, body) = runtime.block_on(node.request(request.unwrap())).unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(status == 200 && body.contains("borrowing.md"), "{status}: {body}");
        node
    }
}

/// For what has to be ready.
fn nothing(what: Preparing) {
    panic!("{what:?}");
}

fn anything(_: Preparing) {}

#[test]
fn what_was_indexed_is_ready_and_changes_make_what_is_new() {
    let Some((_, indexed)) = indexed() else { return };
    assert!(indexed.err.contains("preparing: "), "{indexed:?}");
    let prepared = Prepared::copied().unwrap();
    let first = prepared.kept();
    assert_eq!(first.len(), 3, "code, the filled memory, and what is around both: {first:?}");
    prepared.open(nothing);
    // What is added is no part of the index that was prepared.
    let more = prepared.folder.path().join("bees.md");
    fs::write(&more, "# Bees\n\nThe hive stands behind the orchard.").unwrap();
    prepared.told("add", &[more.to_str().unwrap()]);
    prepared.open(nothing);
    assert_eq!(prepared.kept(), first);
    // A new index is another memory, and the code is the same.
    let told = prepared.told("compact", &[]);
    assert!(told.err.contains("preparing: "), "{told:?}");
    let second = prepared.kept();
    assert_eq!(second.len(), 4, "{second:?}");
    prepared.open(nothing);
    assert_eq!(prepared.kept(), second);
    prepared.told("add", &[corpus().to_str().unwrap()]);
    prepared.told("compact", &["--no-prepare"]);
    assert_eq!(prepared.kept(), second);
}

#[test]
fn a_signal_ends_preparing_at_once_and_the_bundle_is_whole() {
    let Some(prepared) = Prepared::copied() else { return };
    fs::remove_dir_all(prepared.compiled()).unwrap();
    let command = &mut prepared.command(&["compact"], &[]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(err.any(|line| line == "preparing: compiling components"));
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(err.count(), 0, "nothing is to be said");
    prepared.open(anything);
}

#[test]
fn what_is_damaged_or_gone_is_made_again() {
    let Some(prepared) = Prepared::copied() else { return };
    let whole = prepared.kept();
    for name in whole.keys() {
        let file = prepared.compiled().join(name);
        let bytes = fs::read(&file).unwrap();
        for damaged in [&bytes[..bytes.len() / 2], b""] {
            // Not written to: it may be mapped.
            fs::remove_file(&file).unwrap();
            fs::write(&file, damaged).unwrap();
            prepared.open(anything);
            assert_eq!(prepared.kept(), whole);
        }
    }
    prepared.open(nothing);
}

#[test]
fn what_several_want_is_made_once_and_leftovers_go() {
    static FILLED: AtomicUsize = AtomicUsize::new(0);
    fn counted(what: Preparing) {
        if what == Preparing::Memory {
            FILLED.fetch_add(1, Ordering::Relaxed);
        }
    }
    let Some(prepared) = Prepared::copied() else { return };
    let whole = prepared.kept();
    // The memory is what changes with the index.
    prepared.told("remove", &["cafe.md"]);
    prepared.told("compact", &[]);
    fs::remove_file(prepared.memory(&whole)).unwrap();
    let left = prepared.compiled().join("unfinished-by-one-that-was-killed");
    fs::write(&left, b"half").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| prepared.open(counted));
        }
    });
    assert_eq!(FILLED.load(Ordering::Relaxed), 1);
    assert!(!left.exists());
    prepared.open(nothing);
}

/// As on a disk that is full: files may not grow beyond what the bundle has.
#[cfg(unix)]
#[test]
fn a_bundle_is_whole_where_nothing_can_be_kept() {
    let Some(prepared) = Prepared::copied() else { return };
    let largest = prepared.kept().into_iter().max_by_key(|(_, length)| *length).unwrap();
    fs::remove_file(prepared.compiled().join(&largest.0)).unwrap();
    let limit = fs::metadata(prepared.bundle()).unwrap().len() + (1 << 20);
    assert!(limit < largest.1, "{limit} {largest:?}");
    fs::remove_file(prepared.bundle()).unwrap();
    let index = prepared.command(&["index", "-o"], &[corpus().to_str().unwrap()]);
    let mut limited = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", limit / 512);
    limited.args(["-c", &script, "sh"]).arg(index.get_program()).args(index.get_args());
    for (name, value) in index.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let ended = run(limited);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("compiled code is not kept"), "{ended:?}");
    assert!(!prepared.kept().contains_key(&largest.0));
    prepared.open(anything);
    assert!(prepared.kept().contains_key(&largest.0));
}

#[test]
fn bundles_for_other_machines_are_not_prepared() {
    let Some(_) = model() else { return };
    let own = Prepared { folder: tempfile::tempdir().unwrap() };
    let corpus = corpus();
    let ended = run(own.command(&["index", "--no-prepare", "-o"], &[corpus.to_str().unwrap()]));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.err.contains("preparing"), "{ended:?}");
    assert!(own.bundle().is_file() && own.kept().is_empty());
}
