//! Bundles that are changed by commands, and while they are served.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use trine_node::{Change, Folding, Keeper, KeeperOptions, NodeError, fold};

use crate::client::{get, post};
use crate::command::{Served, run, signal, trine, trine_with_model};
use crate::fixture::{build_options, corpus, engine, index, model, store};

fn no_progress(_: trine_node::Step) -> Result<(), NodeError> {
    Ok(())
}

/// A copy of the test documents in a folder of its own, and a bundle of them.
fn own_bundle(name: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let documents = folder.path().join("documents");
    fs::create_dir(&documents).unwrap();
    for entry in fs::read_dir(corpus()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, documents.join(path.file_name().unwrap())).unwrap();
    }
    let built = index(name, std::slice::from_ref(&documents), &build_options());
    let bundle = folder.path().join(name);
    fs::rename(built, &bundle).unwrap();
    (folder, documents, bundle)
}

#[test]
fn commands_keep_a_bundle_up_to_date() {
    let Some(_) = model() else { return };
    let (folder, documents, bundle) = own_bundle("kept.trine");
    let told = |command: &[&str]| {
        let mut changing = trine_with_model(&[&command[0], &bundle]);
        changing.args(&command[1..]);
        let ended = run(changing);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out
    };
    let found = |question: &str| {
        let asked =
            run(trine_with_model(&[&"ask", &bundle, &question, &"--json", &"--top-n", &"3"]));
        let json = asked.json();
        let passages = json["passages"].as_array().unwrap().clone();
        passages.iter().map(|p| p["source"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = fs::read(&bundle).unwrap();
    assert!(told(&["update"]).contains("0 added, 0 changed, 0 removed, 6 unchanged"));
    fs::write(documents.join("bees.md"), "# Bees\n\nThe hive stands behind the orchard.").unwrap();
    fs::write(documents.join("cafe.md"), "# Café\n\nThe café sells walnut cake.").unwrap();
    fs::rename(documents.join("repairs.txt"), documents.join("mending.txt")).unwrap();
    let dry = told(&["update", "--dry-run"]);
    for line in ["added bees.md", "added mending.txt", "changed cafe.md", "removed repairs.txt"] {
        assert!(dry.lines().any(|told| told == line), "{line}: {dry}");
    }
    assert_eq!(fs::read(&bundle).unwrap(), before, "nothing is written before it must be");
    let done = told(&["update"]);
    assert!(done.contains("2 added, 1 changed, 1 removed, 4 unchanged"), "{done}");
    assert_eq!(found("Where does the hive stand?")[0], "bees.md");
    assert_eq!(found("Which cake does the café sell?")[0], "cafe.md");
    assert!(!found("How are tools repaired?").contains(&"repairs.txt".to_owned()));

    let more = folder.path().join("ladder.md");
    fs::write(&more, "# Ladder\n\nThe ladder leans against the barn.").unwrap();
    assert!(told(&["add", more.to_str().unwrap()]).contains("1 added"));
    assert_eq!(found("Where does the ladder lean?")[0], "ladder.md");
    let removed = told(&["remove", "b*s.md"]);
    assert!(removed.contains("removed bees.md") && removed.contains("1 removed"), "{removed}");
    assert!(!found("Where does the hive stand?").contains(&"bees.md".to_owned()));
    run(trine_with_model(&[&"remove", &bundle, &"nothing.md"])).failed(1, &["nothing.md"]);
    run(trine_with_model(&[&"remove", &bundle, &"**"])).failed(1, &["no document"]);

    let extracted = folder.path().join("app");
    run(trine(&[&"inspect", &bundle, &"--extract", &extracted])).failed(1, &["trine compact"]);
    let inspected = run(trine(&[&"inspect", &bundle, &"--json"])).json();
    assert_eq!(
        (&inspected["generation"], &inspected["about"]["documents"]),
        (&json!(4), &json!(7))
    );
    assert!(inspected["removed_passages"].as_u64() > Some(0), "{inspected}");
    assert!(told(&["compact"]).contains("compacted"));
    let inspected = run(trine(&[&"inspect", &bundle, &"--json"])).json();
    let counts = ["removed_passages", "delta_passages", "dead_bytes"].map(|name| &inspected[name]);
    assert_eq!(counts, [&json!(0); 3]);
    assert_eq!(found("Where does the ladder lean?")[0], "ladder.md");
    assert_eq!(run(trine(&[&"inspect", &bundle, &"--extract", &extracted])).code, 0);
}

/// A model other than the bundle's would give vectors that cannot be compared.
#[test]
fn another_model_is_refused() {
    let Some(folder) = model() else { return };
    let (own, documents, bundle) = own_bundle("other-model.trine");
    let other = own.path().join("other");
    fs::create_dir_all(other.join("1_Pooling")).unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::os::unix::fs::symlink(folder.join(file), other.join(file)).unwrap();
    }
    let pooling = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
    fs::write(other.join("1_Pooling/config.json"), pooling).unwrap();
    fs::write(documents.join("bees.md"), "# Bees\n\nThe hive stands behind the orchard.").unwrap();
    let mut command = trine(&[&"update", &bundle]);
    command.arg("--model").arg(format!("{}={}", crate::fixture::MODEL, other.display()));
    let before = fs::read(&bundle).unwrap();
    run(command).failed(1, &["1_Pooling/config.json", "not the file"]);
    assert_eq!(fs::read(&bundle).unwrap(), before);
}

const ROUNDS: usize = 20;

#[test]
fn a_server_answers_while_its_bundle_changes() {
    let Some(folder) = model() else { return };
    let (_folder, documents, bundle) = own_bundle("served.trine");
    let server = Served::start(&bundle, &[]);
    let (store, stop, answered) = (store(folder), AtomicBool::new(false), AtomicU64::new(0));
    let options = KeeperOptions { engine: engine(), ..KeeperOptions::default() };
    let keeper = Keeper::new(&store, options);
    std::thread::scope(|scope| {
        for path in ["/health", "/answer?q=How+long+may+a+hand+tool+be+kept"] {
            let (server, stop, answered) = (&server, &stop, &answered);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let json = get(server.address, path).ok();
                    assert!(path == "/health" || json["answer"].is_string(), "{json}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // A failure here must end the clients, too.
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..ROUNDS {
                let text =
                    format!("# Lockers\n\nThe code of locker Q{round} is {}.", round * 37 + 1);
                fs::write(documents.join("lockers.md"), text).unwrap();
                keeper.change(&bundle, Change::Update(&[]), &|| (), &no_progress).unwrap();
                if round == ROUNDS / 2 {
                    let folded = fold(&bundle, &Folding::default(), &no_progress).unwrap();
                    assert!(folded.unwrap().folded);
                }
                if round == ROUNDS / 4 {
                    broken_for_a_while(&server, &bundle);
                }
                signal(&server.child, "HUP");
                found(&server, round);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        rounds.unwrap();
    });
    assert!(answered.load(Ordering::Relaxed) > 2 * ROUNDS as u64);
}

/// Asks until the server has taken in what a round wrote.
fn found(server: &Served, round: usize) {
    let question = format!("What is the code of locker Q{round}?");
    let body = json!({ "query": question, "top_n": 3 }).to_string();
    let expected = format!("locker Q{round} is {}.", round * 37 + 1);
    loop {
        let answer = post(server.address, "/v1/answer", body.as_bytes()).ok();
        if answer["passages"].to_string().contains(&expected) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A file that is no bundle takes the bundle's place; the server stays with what it has.
fn broken_for_a_while(server: &Served, bundle: &Path) {
    let aside = bundle.with_extension("aside");
    fs::rename(bundle, &aside).unwrap();
    for broken in [&b""[..], b"\x89TRINE\r\n\x03\0\0\0", b"no bundle"] {
        fs::write(bundle, broken).unwrap();
        signal(&server.child, "HUP");
        assert_eq!(get(server.address, "/health").status, 200);
    }
    fs::remove_file(bundle).unwrap();
    signal(&server.child, "HUP");
    fs::rename(&aside, bundle).unwrap();
}
