//! More requests than places, clients that go away, and an orderly end. Nothing here depends on
//! how fast anything is: places are taken by components that wait until they are told to go.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::json;
use trine_runtime::Limits;

use crate::client::Raw;
use crate::fixture::{Serving, misbehaving_bundle};

const SLEEP: &str = "GET /misbehave/sleep HTTP/1.1\r\nhost: a\r\n\r\n";
const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// Two at a time, two waiting, and a time limit that none of these tests reaches.
fn small_server() -> Option<Serving> {
    let limits = Limits {
        concurrency: 2,
        waiting: 2,
        timeout: Duration::from_secs(3600),
        ..Limits::default()
    };
    Some(Serving::start(misbehaving_bundle()?, limits))
}

/// Takes every place; the places are free again once the connections are dropped.
fn fill(server: &Serving) -> Vec<Raw> {
    let mut sleepers: Vec<Raw> = (0..4).map(|_| server.connect().say(SLEEP)).collect();
    loop {
        // A refusal comes at once; a place among the waiting means that one was still free.
        let mut probe = server.connect().say(HEALTH);
        if probe.hears_within(Duration::from_millis(500)) {
            let answer = probe.all();
            if answer.starts_with("HTTP/1.1 503 ") {
                return sleepers;
            }
            // It came before a sleeper that was sent earlier.
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            continue;
        }
        drop(probe);
        sleepers.push(server.connect().say(SLEEP));
    }
}

#[test]
fn a_full_house_refuses_at_once_and_says_when_to_come_back() {
    let Some(server) = small_server() else { return };
    let sleepers = fill(&server);
    for _ in 0..20 {
        let reply = server.get("/health");
        assert!(reply.error(503, "busy").contains('4'), "{reply:?}");
        assert_eq!(reply.headers["retry-after"], "1");
    }
    drop(sleepers);
    until_well(&server);
    server.join();
}

/// Clients that hang up give their places back; that is seen, not waited for.
fn until_well(server: &Serving) {
    while server.get("/health").status == 503 {
        thread::sleep(Duration::from_millis(10));
    }
    server.is_well();
}

#[test]
fn clients_that_go_away_leave_their_places() {
    let Some(server) = small_server() else { return };
    for _ in 0..5 {
        drop(fill(&server));
        until_well(&server);
    }
    server.join();
}

#[test]
fn clients_that_go_away_leave_the_device() {
    let Some(server) = small_server() else { return };
    let passages = vec!["A long passage about tools and loans. ".repeat(30); 200];
    let body = json!({ "query": "tools", "passages": passages }).to_string();
    let length = body.len();
    let request =
        format!("POST /v1/rerank HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}");
    for _ in 0..20 {
        drop(server.connect().say(&request));
    }
    until_well(&server);
    // All four places are free again, and the device works for those who are there.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| server.is_well());
        }
    });
    server.join();
}

#[test]
fn a_crowd_is_served_or_told_to_wait() {
    let Some(server) = small_server() else { return };
    let replies: Vec<_> = thread::scope(|scope| {
        let ask = || server.ask("When is the counter open?", "");
        let crowd: Vec<_> = (0..60).map(|_| scope.spawn(ask)).collect();
        crowd.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let (served, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|r| r.status == 200);
    assert!(!served.is_empty());
    for reply in &served {
        assert!(reply.json["answer"].as_str().unwrap().contains("Tuesday"), "{}", reply.json);
    }
    for reply in &refused {
        reply.error(503, "busy");
        assert_eq!(reply.headers["retry-after"], "1");
    }
    server.is_well();
    server.join();
}

#[test]
fn a_request_in_flight_is_finished_after_the_end_was_asked_for() {
    let Some(server) = small_server() else { return };
    let body = r#"{"query": "the lathe", "top_k": 1}"#;
    let length = body.len();
    let head = format!(
        "POST /v1/retrieve HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\
         content-length: {length}\r\n\r\n"
    );
    let mut connection = server.connect().say(head);
    // Asked for the body: the request is being worked on.
    assert!(connection.head().starts_with("HTTP/1.1 100 "));
    server.tell_to_stop();
    while TcpStream::connect(server.address).is_ok() {
        thread::sleep(Duration::from_millis(10));
    }
    let answer = connection.say(body).all();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("workshop.md"), "{answer}");
    server.join();
}
