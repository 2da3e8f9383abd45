//! Signals: a build that is stopped can be taken up again, a server that is stopped ends well.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::client::get;
use crate::command::{Served, signal, trine_with_model};
use crate::fixture::{bundle, model};

/// A corpus that takes long enough for a signal to arrive on the way: the command says how far it
/// is, and is told to stop at its first word.
fn long_corpus() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs::File::create(folder.path().join("many.jsonl")).unwrap();
    for id in 0..3000 {
        let text = format!("Record {id} is about number {id}. ").repeat(12);
        writeln!(file, r#"{{"_id": "{id}", "title": "Record {id}", "text": "{text}"}}"#).unwrap();
    }
    folder
}

#[test]
fn an_interrupted_index_leaves_only_what_it_can_go_on_from() {
    let Some(_) = model() else { return };
    let corpus = long_corpus();
    for name in ["INT", "TERM"] {
        let output = tempfile::tempdir().unwrap();
        let bundle = output.path().join("never.trine");
        let mut child = trine_with_model(&[&"index", &corpus.path(), &"-o", &bundle])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let first = err.next().unwrap();
        assert!(first.starts_with("embedding: "), "{first}");
        signal(&child, name);
        let rest: Vec<String> = err.collect();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
        assert!(rest.iter().any(|l| l == "error: stopped; the bundle was not written"), "{rest:?}");
        assert!(rest.iter().any(|l| l.contains("goes on from there")), "{rest:?}");
        let left = fs::read_dir(output.path()).unwrap().flatten().map(|entry| entry.file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["never.trine.work"]);
    }
}

#[test]
fn an_interrupted_server_ends_well() {
    let Some(bundle) = bundle() else { return };
    for name in ["INT", "TERM"] {
        let mut server = Served::start(bundle, &["--concurrency", "2"]);
        get(server.address, "/health").ok();
        signal(&server.child, name);
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn two_servers_do_not_share_a_port() {
    let Some(bundle) = bundle() else { return };
    let server = Served::start(bundle, &["--concurrency", "2"]);
    let address = server.address.to_string();
    let second = trine_with_model(&[&"serve", &bundle, &"--listen", &address]);
    crate::command::run(second).failed(1, &[&format!("listening on {address}")]);
    get(server.address, "/health").ok();
}
