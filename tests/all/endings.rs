//! Answers of a language model that end before their time: the client gone, budgets used up, no room.

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use trine_runtime::{LanguageModels, Limits};

use crate::client::{Raw, post, text};
use crate::command::Served;
use crate::fixture::{bundle, gpu, limits, scratch};
use crate::scripted;
use crate::writing::{QUESTION, babbler, events, request, serve};

/// Tokens of a page of the cache.
const PAGE: usize = 32;

/// Reads until the answer is under way.
fn begun(address: SocketAddr, body: &Value) -> Raw {
    let mut connection = Raw::to(address).say(request("/v1/answer", body));
    assert!(connection.head().starts_with("HTTP/1.1 200 "));
    connection.until("event: text");
    connection
}

/// Waits until the model has nothing to do; that is seen, not waited for. Pages of its cache in use or
/// kept.
fn settled(models: &LanguageModels) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let model = models.iter().next().unwrap();
    loop {
        let counts = runtime.block_on(model.generations().counts()).unwrap();
        if counts.free + counts.kept == counts.pages {
            return counts.kept;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_goes_away_ends_the_work() {
    let limits = Limits { timeout: Duration::from_secs(3600), ..limits() };
    let Some((server, models)) = babbler("babbler", limits) else { return };
    let body = json!({ "query": QUESTION, "stream": true, "max_tokens": 100_000 });
    for _ in 0..5 {
        drop(begun(server.address, &body));
    }
    // All that was to be written would have filled half of the context.
    let kept = settled(&models);
    assert!(kept < scripted::CONTEXT / 2 / PAGE, "{kept} pages");
    server.join();
}

#[test]
fn a_request_that_used_its_tokens_up_is_told_so() {
    let limits = Limits { language_tokens: 6000, ..limits() };
    let Some((server, models)) = babbler("spender", limits) else { return };
    let mut body = json!({ "query": QUESTION, "stream": true, "max_tokens": 50_000 });
    let events = events(&server, "/v1/answer", &body);
    let (name, error) = events.last().unwrap();
    assert_eq!((name.as_str(), &error["error"]["code"]), ("error", &json!("over_budget")));
    assert!(events.iter().filter(|(name, _)| name == "text").count() > 100);
    body["stream"] = json!(false);
    server.post("/v1/answer", &body).error(422, "over_budget");
    settled(&models);
    server.join();
}

#[test]
fn a_request_that_used_its_time_up_is_told_so() {
    let limits = Limits { language_time: Duration::from_millis(50), ..limits() };
    let Some((server, models)) = babbler("dawdler", limits) else { return };
    let body = json!({ "query": QUESTION, "stream": true, "max_tokens": 100_000 });
    let events = events(&server, "/v1/answer", &body);
    let (name, error) = events.last().unwrap();
    assert_eq!((name.as_str(), &error["error"]["code"]), ("error", &json!("over_budget")));
    assert!(error["error"]["message"].as_str().unwrap().contains("seconds"), "{error}");
    settled(&models);
    server.join();
}

#[test]
fn what_the_cache_has_no_room_for_is_refused() {
    let path = scripted::model("forgetful", &["bla"], true);
    let models = scripted::models(&path, 1);
    let Some(server) = serve(&models, limits()) else { return };
    let body = json!({ "query": QUESTION, "max_tokens": 100_000 });
    assert!(server.post("/v1/answer", &body).error(400, "invalid_request").contains("cache"));
    server.join();
}

#[test]
fn a_template_that_fails_is_told() {
    let template = "{% for m in messages %}{{ m.content.nothing.at_all }}{% endfor %}";
    let path = scripted::with_template("mistaken", &["bla"], true, template);
    let Some(server) = serve(&scripted::models(&path, 8), limits()) else { return };
    let body = json!({ "query": QUESTION, "max_tokens": 5 });
    assert!(server.post("/v1/answer", &body).error(400, "invalid_request").contains("template"));
    server.post("/v1/answer", &json!({ "query": QUESTION, "model": "extractive" })).ok();
    server.join();
}

#[test]
fn a_device_lost_in_the_middle_of_an_answer_is_told_and_opened_anew() {
    let Some(device) = gpu() else { return };
    let path = scripted::model("shaken", &["bla", ", "], true);
    let models = scripted::models_on(device, &path, 64);
    let Some(server) = serve(&models, limits()) else { return };
    let body = json!({ "query": QUESTION, "stream": true, "max_tokens": 20_000 });
    let mut connection = begun(server.address, &body);
    models.iter().next().unwrap().generations().destroy_device().unwrap();
    connection.until("event: error\ndata: ");
    connection.until("lost");
    let body = json!({ "query": QUESTION, "max_tokens": 3 });
    let again = server.post("/v1/answer", &body).ok();
    assert_eq!(again["answer"], "bla, bla", "{again}");
    server.join();
}

#[test]
fn a_model_s_file_that_is_removed_is_served_on_and_one_cut_short_is_told() {
    let Some((server, _models)) = babbler("fleeting", limits()) else { return };
    let path = scratch().join("fleeting.gguf");
    let body = json!({ "query": QUESTION, "max_tokens": 9, "cache": "off" });
    let answer = || server.post("/v1/answer", &body);
    let before = answer().ok();
    // Replaced by another, which this server does not look at.
    let file = File::options().write(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another").unwrap();
    assert_eq!(answer().ok()["answer"], before["answer"]);
    file.set_len(100).unwrap();
    assert!(answer().error(500, "inference_failed").contains("model's file"));
    server.post("/v1/retrieve", &json!({ "query": QUESTION })).ok();
    server.join();
}

/// A request of each ending: the client gone, the budget used up, the answer cut.
fn all_endings(address: SocketAddr) {
    let ask = |more: Value| {
        let mut body = json!({ "query": QUESTION, "top_k": 5, "top_n": 1, "cache": "off" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    drop(begun(address, &ask(json!({ "stream": true, "max_tokens": 1000 }))));
    let spent = ask(json!({ "max_tokens": 10_000 })).to_string();
    post(address, "/v1/answer", spent.as_bytes()).error(422, "over_budget");
    let cut = ask(json!({ "max_tokens": 50 })).to_string();
    let cut = post(address, "/v1/answer", cut.as_bytes()).ok();
    assert_eq!(cut["finish_reason"], "length");
}

/// Resident memory of a process in KiB, where the system tells.
fn resident(process: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().split(' ').next()?.parse().ok()
}

/// What is counted of a model, whatever became of its answers.
fn counted(server: &Served, name: &str) -> u64 {
    let name = format!("trine_language_model_{name}{{");
    let text = text(server.metrics.unwrap(), "/metrics");
    let lines = text.lines().filter(|line| line.starts_with(&name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Rounds of twelve: 10, or what `TRINE_ENDINGS` says.
fn rounds() -> usize {
    env::var("TRINE_ENDINGS").map_or(10, |text| text.parse().expect("a number of rounds"))
}

/// What a process comes to hold in the first rounds is there then. A thousand take some minutes.
#[test]
fn answers_of_all_endings_leave_nothing_behind() {
    let Some(bundle) = bundle() else { return };
    let path = scripted::model("forgotten", &["bla", " bla bla", ", "], true);
    let more =
        ["--metrics", "127.0.0.1:0", "--kv-cache", "64", "--model-tokens", "2000", "--model"];
    let server = Served::start(bundle, &[&more[..], &[path.to_str().unwrap()]].concat());
    let run = |count| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..count).for_each(|_| all_endings(server.address)));
            }
        });
        while counted(&server, "under_way") > 0 {
            thread::sleep(Duration::from_millis(5));
        }
        resident(server.child.id())
    };
    let (first, more) = (rounds().div_ceil(2), rounds());
    let (before, after) = (run(first), run(more));
    let (answers, requests) = (counted(&server, "answers_total"), 12 * (first + more));
    println!("{before:?} KiB, then {after:?} KiB after {requests} requests, {answers} answers");
    assert_eq!(answers, requests as u64);
    assert!(counted(&server, "cached_tokens_total") > 0);
    if let (Some(before), Some(after)) = (before, after) {
        // Once, when calls happen to meet, the workers' room grows by some 30 MiB, and then no more.
        assert!(after < before + (48 << 10), "{before} KiB, then {after} KiB");
    }
}
