//! Several bundles behind one address, and answers that are given again.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::client::{get, post, text};
use crate::command::{Served, run, trine_with_model};
use crate::fixture::{build_options, bundle, index};

const QUESTION: &str = "How long may a hand tool be kept?";

/// A bundle of one document that says something else than the others.
fn other() -> std::path::PathBuf {
    let folder = tempfile::tempdir().unwrap();
    let text = "# Tools\n\nA hand tool may be kept for ninety days in the northern branch.\n";
    fs::write(folder.path().join("north.md"), text).unwrap();
    index("north.trine", &[folder.path().to_owned()], &build_options())
}

fn named(name: &str, bundle: &Path) -> String {
    format!("{name}={}", bundle.display())
}

fn body(question: &str) -> Vec<u8> {
    json!({ "query": question }).to_string().into_bytes()
}

#[test]
fn each_bundle_answers_under_its_name_from_its_own_documents() {
    let Some(library) = bundle() else { return };
    let north = other();
    let more = [named("north", &north), named("library", library)];
    let server = Served::start(library, &[&more[0], &more[1], "--metrics", "127.0.0.1:0"]);
    let answer = |path: &str| {
        let answer = post(server.address, path, &body(QUESTION)).ok();
        answer["answer"].as_str().unwrap().to_owned()
    };
    assert!(answer("/v1/north/answer").contains("ninety days"));
    for path in ["/v1/library/answer", "/v1/answer"] {
        assert!(answer(path).contains("fourteen days"), "{path}");
    }
    let by_address = get(server.address, "/v1/north/answer?q=How+long+may+a+tool+be+kept").ok();
    assert_eq!(by_address["supporting_docs"][0]["source"], "north.md");
    assert_eq!(get(server.address, "/v1/north/health").ok()["documents"], 1);
    let names = get(server.address, "/v1/collections").ok();
    assert_eq!(names, json!({ "collections": [{ "name": "library" }, { "name": "north" }] }));
    get(server.address, "/v1/south/health").error(404, "not_found");
    let metrics = text(server.metrics.unwrap(), "/metrics");
    assert!(metrics.contains(r#"trine_http_requests_total{collection="north",status="200"} 3"#));
}

#[test]
fn without_a_bundle_at_the_root_the_names_are_told() {
    let Some(library) = bundle() else { return };
    let mut command = trine_with_model(&[&"serve", &"--listen", &"127.0.0.1:0"]);
    command.arg(named("library", library));
    let server = Served::of(command);
    let refused = get(server.address, "/answer?q=x");
    assert!(refused.error(404, "not_found").contains("library"));
}

#[test]
fn bundles_that_cannot_be_told_apart_are_refused() {
    let Some(library) = bundle() else { return };
    let library = library.display();
    for (given, words) in [
        ([format!("a={library}"), format!("a={library}")], ["two bundles called `a`", "NAME="]),
        ([library.to_string(), library.to_string()], ["two bundles without a name", "NAME="]),
        ([format!("answer={library}"), library.to_string()], ["`answer`", "path of its own"]),
        ([format!("A b={library}"), library.to_string()], ["`A b`", "lower-case"]),
    ] {
        let mut arguments: Vec<OsString> = given.iter().map(OsString::from).collect();
        arguments.extend(["--listen", "127.0.0.1:0"].map(OsString::from));
        let mut command = trine_with_model(&[&"serve"]);
        command.args(arguments);
        run(command).failed(1, &words);
    }
}

#[test]
fn what_was_asked_before_is_answered_again_until_the_bundle_changes() {
    let Some(library) = bundle() else { return };
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("kept.trine");
    fs::copy(library, &bundle).unwrap();
    let server = Served::start(&bundle, &["--metrics", "127.0.0.1:0"]);
    let ask = |question: &str| post(server.address, "/v1/answer", &body(question)).ok();
    let first = ask(QUESTION);
    assert_eq!(first.get("cached"), None);
    let mut again = ask(" how long may a hand tool be kept");
    let mark = again.as_object_mut().unwrap().remove("cached").unwrap();
    assert!(mark["age_seconds"].is_u64());
    assert_eq!(again, first, "the very same answer");
    assert_eq!(ask("How long may a power tool be kept?").get("cached"), None);
    let off = json!({ "query": QUESTION, "cache": "off" }).to_string();
    assert_eq!(post(server.address, "/v1/answer", off.as_bytes()).ok().get("cached"), None);
    let wrong = json!({ "query": QUESTION, "cache": "never" }).to_string();
    post(server.address, "/v1/answer", wrong.as_bytes()).error(400, "invalid_request");
    let metrics = text(server.metrics.unwrap(), "/metrics");
    assert!(metrics.contains("trine_http_answers_repeated_total{} 1"), "{metrics}");

    assert!(ask(QUESTION).get("cached").is_some());
    assert_eq!(run(trine_with_model(&[&"remove", &bundle, &"workshop.md"])).code, 0);
    // The server looks once a second; every answer of the old generation is gone with it.
    while ask(QUESTION).get("cached").is_some() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_server_told_to_keeps_no_answers() {
    let Some(library) = bundle() else { return };
    let server = Served::start(library, &["--answer-cache", "0"]);
    for _ in 0..2 {
        let answer = post(server.address, "/v1/answer", &body(QUESTION)).ok();
        assert_eq!(answer.get("cached"), None);
    }
}
