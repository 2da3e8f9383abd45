//! Long work does not stand in the way of short work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use trine_runtime::Limits;

use crate::client::{encoded, get, text};
use crate::command::Served;
use crate::fixture::{Serving, bundle};
use crate::writing::{babbler, request};

/// Questions that are answered, one after another, until something else has ended.
fn asked_until(server: &Serving, ended: &AtomicBool) -> usize {
    let mut answered = 0;
    while !ended.load(Ordering::SeqCst) {
        let question = json!({ "query": "Which tools can I borrow?", "top_k": 3 });
        server.post("/v1/retrieve", &question).ok();
        answered += 1;
    }
    answered
}

/// Questions go through between the slices of a long list of passages; were it one piece of work,
/// hardly any would be answered before it ended.
#[test]
fn questions_are_answered_while_a_long_list_is_reranked() {
    let Some(bundle) = bundle() else { return };
    let server = Serving::start(bundle, Limits::default());
    let passages = vec!["A long passage about tools and loans. ".repeat(40); 200];
    let list = json!({ "query": "Which tools can I borrow?", "passages": passages });
    let ended = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        scope.spawn(|| {
            let reply = server.post("/v1/rerank", &list);
            ended.store(true, Ordering::SeqCst);
            assert_eq!(reply.status, 200, "{reply:?}");
        });
        asked_until(&server, &ended)
    });
    println!("{answered} questions were answered meanwhile");
    assert!(answered > 5, "only {answered}");
    server.join();
}

/// Prompts are read in parts, and each part waits for its turn.
#[test]
fn questions_are_answered_while_a_long_prompt_is_read() {
    let Some((server, _models)) = babbler("listener", Limits::default()) else { return };
    let long = "What was said before. ".repeat(1200);
    let messages = json!([
        { "role": "user", "content": long }, { "role": "assistant", "content": "Yes." },
        { "role": "user", "content": "Which tools can I borrow?" },
    ]);
    let body = json!({ "messages": messages, "max_tokens": 1, "stream": true });
    let mut connection = server.connect().say(request("/v1/chat/completions", &body));
    // Passages have been found: what is left is the model's.
    connection.head();
    let ended = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        scope.spawn(|| {
            connection.until("bla");
            ended.store(true, Ordering::SeqCst);
        });
        asked_until(&server, &ended)
    });
    println!("{answered} questions were answered meanwhile");
    assert!(answered > 5, "only {answered}");
    server.join();
}

/// Tokens are written between the slices of a long list.
#[test]
fn an_answer_is_written_while_a_long_list_is_reranked() {
    let limits = Limits { timeout: Duration::from_secs(3600), ..Limits::default() };
    let Some((server, _models)) = babbler("narrator", limits) else { return };
    let question = "Which tools can I borrow?";
    let body = json!({ "query": question, "max_tokens": 30_000, "stream": true });
    let mut connection = server.connect().say(request("/v1/answer", &body));
    connection.until("event: text");
    let (written, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                connection.until("event: text");
                written.fetch_add(1, Ordering::SeqCst);
            }
            drop(connection);
        });
        let passages = vec!["A long passage about tools and loans. ".repeat(40); 200];
        let before = written.load(Ordering::SeqCst);
        server.post("/v1/rerank", &json!({ "query": question, "passages": passages })).ok();
        let meanwhile = written.load(Ordering::SeqCst) - before;
        ended.store(true, Ordering::SeqCst);
        println!("{meanwhile} tokens were written meanwhile");
        assert!(meanwhile > 5, "only {meanwhile}");
    });
    server.join();
}

/// What an operator reads agrees with what clients saw.
#[test]
fn metrics_count_what_happened() {
    let Some(bundle) = bundle() else { return };
    let server = Served::start(bundle, &["--metrics", "127.0.0.1:0", "--device", "cpu"]);
    let metrics = server.metrics.expect("an address for metrics");
    let ask = format!("/answer?q={}&cache=off", encoded("How long may a hand tool be kept?"));
    for _ in 0..3 {
        assert_eq!(get(server.address, &ask).status, 200);
    }
    assert_eq!(get(server.address, "/v1/nothing").status, 404);
    let text = text(metrics, "/metrics");
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("trine_http_requests_total{status=\"200\"}"), 3.0);
    assert_eq!(value("trine_http_requests_total{status=\"404\"}"), 1.0);
    assert_eq!(value("trine_http_request_seconds_count"), 4.0);
    // A question embedded, passages reranked and read, sentences compared, passages read again, and the
    // sentences about the answer once more.
    assert_eq!(value("trine_device_calls_total"), 18.0);
    assert_eq!(value("trine_device_call_wait_seconds_count"), 18.0);
    assert!(text.contains("outcome=\"Done\"") && !text.contains("outcome=\"Failed\""));
    assert!(value("trine_device_batch_tokens_sum") > 100.0);
    assert_eq!(value("trine_device_queue_depth"), 0.0);
}
