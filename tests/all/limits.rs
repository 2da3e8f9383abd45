//! Components that take too much: stopped, with an answer that says so, while the server goes on.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use trine_runtime::Limits;

use crate::fixture::{Serving, misbehaving_bundle};

/// Few seconds and little memory, so that running into the limits does not take long.
fn server() -> Option<&'static Serving> {
    static SERVER: OnceLock<Serving> = OnceLock::new();
    let bundle = misbehaving_bundle()?;
    let limits = Limits {
        concurrency: 8,
        timeout: Duration::from_secs(3),
        memory: 64 << 20,
        tensors: 64 << 20,
        ..Limits::default()
    };
    Some(SERVER.get_or_init(|| Serving::start(bundle, limits)))
}

/// That a component works which needs no model: the time limit is too short for one on a machine
/// that is busy.
#[track_caller]
fn goes_on(server: &Serving) {
    assert_eq!(server.get("/health").ok()["status"], "ok");
}

#[test]
fn a_component_that_computes_for_ever() {
    let Some(server) = server() else { return };
    let reply = server.get("/misbehave/endless");
    assert!(reply.error(504, "timeout").contains("3s"), "{reply:?}");
    goes_on(server);
}

#[test]
fn a_component_that_waits_for_ever() {
    let Some(server) = server() else { return };
    server.get("/misbehave/sleep").error(504, "timeout");
    goes_on(server);
}

/// Two threads serve: more components than that compute, and others still get their turn.
#[test]
fn components_that_compute_for_ever_take_no_thread_for_themselves() {
    let Some(server) = server() else { return };
    thread::scope(|scope| {
        let endless: Vec<_> =
            (0..5).map(|_| scope.spawn(|| server.get("/misbehave/endless"))).collect();
        goes_on(server);
        for reply in endless {
            reply.join().unwrap().error(504, "timeout");
        }
    });
    goes_on(server);
}

#[test]
fn a_component_that_takes_all_memory() {
    let Some(server) = server() else { return };
    for _ in 0..10 {
        let reply = server.get("/misbehave/memory");
        assert!(reply.error(500, "out_of_memory").contains("64 MiB"), "{reply:?}");
    }
    goes_on(server);
}

#[test]
fn a_component_that_keeps_all_tensors() {
    let Some(server) = server() else { return };
    for path in ["/misbehave/tensors", "/misbehave/resources"] {
        for _ in 0..3 {
            let reply = server.get(path);
            // What it trapped with is for the log, not for callers.
            assert!(reply.error(500, "component_failed").contains("log"), "{reply:?}");
        }
        goes_on(server);
    }
}

#[test]
fn a_component_that_traps() {
    let Some(server) = server() else { return };
    for path in ["/misbehave/trap", "/misbehave/error"] {
        for _ in 0..20 {
            let reply = server.get(path);
            let message = reply.error(500, "component_failed");
            assert!(!message.contains("as asked"), "{message}");
        }
        goes_on(server);
    }
}

/// A client must see that the body is not whole: it ends without its last chunk.
#[test]
fn a_component_that_traps_within_its_body() {
    let Some(server) = server() else { return };
    let request = "GET /misbehave/half-a-body HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = server.connect().say(request).all();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("chunked"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "it passes for whole: {answer:?}");
    goes_on(server);
}
