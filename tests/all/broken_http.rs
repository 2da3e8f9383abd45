//! Bytes that are no HTTP, or not all of it: an answer or a closed connection, and no harm.

use std::time::Duration;

use crate::fixture::server;

/// Told to hang up after the answer.
const CLOSE: &str = "connection: close\r\n\r\n";

#[test]
fn bytes_that_are_no_http() {
    let Some(server) = server() else { return };
    let noise: Vec<u8> =
        (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for bytes in
        [noise.as_slice(), tls, b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n\r\nhello\r\n\r\n"]
    {
        let answer = server.connect().say(bytes).end().all();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
        server.is_well();
    }
}

#[test]
fn a_request_without_a_host() {
    let Some(server) = server() else { return };
    let answer = server.connect().say(format!("GET /health HTTP/1.1\r\n{CLOSE}")).all();
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.is_well();
}

#[test]
fn a_host_that_is_none() {
    let Some(server) = server() else { return };
    for host in ["a b", "\u{7f}", "é", "a:b:c", "[::1", "http://a/"] {
        let request = format!("GET /health HTTP/1.1\r\nhost: {host}\r\n{CLOSE}");
        let answer = server.connect().say(request).all();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
    }
    server.is_well();
}

#[test]
fn headers_without_end() {
    let Some(server) = server() else { return };
    let long = "x".repeat(2_000_000);
    let many: String = (0..5000).map(|i| format!("x-{i}: 1\r\n")).collect();
    for headers in [format!("x: {long}\r\n"), many] {
        let request = format!("GET /health HTTP/1.1\r\nhost: a\r\n{headers}{CLOSE}");
        let mut connection = server.connect();
        let mut writer = connection.again();
        let answer = std::thread::scope(|scope| {
            scope.spawn(move || writer.say_all(request.as_bytes()));
            connection.head()
        });
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        server.is_well();
    }
}

#[test]
fn an_address_without_end() {
    let Some(server) = server() else { return };
    let request = format!("GET /answer?q={} HTTP/1.1\r\nhost: a\r\n{CLOSE}", "a".repeat(100_000));
    let answer = server.connect().say(request).all();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    server.is_well();
}

#[test]
fn a_body_shorter_than_it_says() {
    let Some(server) = server() else { return };
    let head = "POST /v1/answer HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{\"query\"";
    let answer = server.connect().say(head).end().all();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.is_well();
}

#[test]
fn a_body_that_comes_byte_by_byte() {
    let Some(server) = server() else { return };
    let body = r#"{"query": "the lathe", "top_k": 1}"#;
    let length = body.len();
    let head =
        format!("POST /v1/retrieve HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{CLOSE}");
    let mut connection = server.connect().say(head);
    for byte in body.bytes() {
        connection = connection.say([byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    let answer = connection.all();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("workshop.md"), "{answer}");
}

#[test]
fn bodies_whose_length_is_contradictory() {
    let Some(server) = server() else { return };
    for lengths in [
        "content-length: -1",
        "content-length: ten",
        "content-length: 18446744073709551616",
        "content-length: 5\r\ncontent-length: 6",
    ] {
        let request =
            format!("POST /v1/answer HTTP/1.1\r\nhost: a\r\n{lengths}\r\n{CLOSE}{{}}xxxx");
        let answer = server.connect().say(request).end().all();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lengths}: {answer}");
    }
    let chunks = format!(
        "POST /v1/answer HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{CLOSE}zz\r\n"
    );
    let answer = server.connect().say(chunks).end().all();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.is_well();
}

#[test]
fn connections_that_say_nothing() {
    let Some(server) = server() else { return };
    let silent: Vec<_> = (0..200).map(|_| server.connect()).collect();
    server.is_well();
    drop(silent);
    server.is_well();
}
