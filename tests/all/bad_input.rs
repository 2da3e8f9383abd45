//! Requests that are wrong: each gets a clear error, and the next request its answer.

use serde_json::{Value, json};

use crate::client::{Reply, post};
use crate::fixture::{Serving, server};

/// An error of the caller's, whose message says `words`; the server goes on.
#[track_caller]
fn refused(server: &Serving, reply: Reply, words: &[&str]) {
    let message = reply.error(400, "invalid_request");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    server.is_well();
}

#[test]
fn malformed_json() {
    let Some(server) = server() else { return };
    for body in ["", "{", "{\"query\": \"a\"", "[]", "nul", "{\"query\": \"a\"} x", "\"text\""] {
        let reply = post(server.address, "/v1/answer", body.as_bytes());
        refused(server, reply, &["JSON"]);
    }
    let deep = "[".repeat(200_000);
    refused(server, post(server.address, "/v1/answer", deep.as_bytes()), &["JSON"]);
}

#[test]
fn fields_of_the_wrong_type_or_name() {
    let Some(server) = server() else { return };
    let wrong: [(Value, &[&str]); 17] = [
        (json!({}), &["query"]),
        (json!({ "query": 5 }), &["string"]),
        (json!({ "query": null }), &["string"]),
        (json!({ "query": "a", "topk": 5 }), &["topk", "top_k"]),
        (json!({ "query": "a", "top_k": -1 }), &["-1"]),
        (json!({ "query": "a", "top_k": 1.5 }), &["1.5"]),
        (json!({ "query": "a", "top_k": 5_000_000_000u64 }), &["5000000000"]),
        (json!({ "query": "a", "exact": "yes" }), &["exact is \"yes\"", "true or false"]),
        (json!({ "query": "a", "mode": "bm25" }), &["bm25", "hybrid or dense or lexical"]),
        (json!({ "query": "a", "fusion": "rrf" }), &["rrf", "reciprocal_rank"]),
        (json!({ "query": "a", "fusion": { "reciprocal_rank": -1 } }), &["-1", "above 0"]),
        (json!({ "query": "a", "context": { "neighbours": 0 } }), &["neighbours is 0", "1 to 10"]),
        (json!({ "query": "a", "filter": [] }), &["filter", "object"]),
        (json!({ "query": "a", "filter": { "field": "title", "is": "x" } }), &["is"]),
        (json!({ "query": "a", "diversity": 2 }), &["diversity is 2", "0 to 1"]),
        (json!({ "query": "a", "per_document": 0 }), &["per_document is 0", "1 to 200"]),
        (json!({ "query": "a", "decompose": true }), &["decompose is true", "auto or off"]),
    ];
    for (body, words) in wrong {
        refused(server, server.post("/v1/answer", &body), words);
    }
    let rerank = json!({ "query": "a", "passages": [{ "txt": "b" }] });
    refused(server, server.post("/v1/rerank", &rerank), &["passages", "`text`"]);
    let retrieve = json!({ "query": "a", "max_sentences": 2 });
    refused(server, server.post("/v1/retrieve", &retrieve), &["max_sentences", "snippet"]);
}

#[test]
fn a_missing_or_empty_question() {
    let Some(server) = server() else { return };
    refused(server, server.get("/answer"), &["/answer?q="]);
    refused(server, server.get("/answer?top_k=3"), &["/answer?q="]);
    for empty in ["/answer?q=", "/answer?q", "/answer?q=+%20%0A"] {
        refused(server, server.get(empty), &["empty"]);
    }
    refused(server, server.get("/answer?q=a&colour=red"), &["colour", "top_k"]);
}

#[test]
fn numbers_out_of_range() {
    let Some(server) = server() else { return };
    for (name, value, allowed) in [
        ("top_k", "0", "1 to 200"),
        ("top_k", "1000000000", "1 to 200"),
        ("top_k", "201", "1 to 200"),
        ("top_k", "99999999999999999999", "top_k"),
        ("top_k", "-3", "top_k"),
        ("top_n", "0", "1 to 200"),
        ("top_n", "1000000000", "1 to 200"),
        ("max_sentences", "0", "1 to 20"),
        ("max_sentences", "21", "1 to 20"),
        ("threshold", "1.01", "0 to 1"),
        ("threshold", "-0.01", "0 to 1"),
        ("threshold", "NaN", "0 to 1"),
        ("threshold", "much", "threshold"),
        ("exact", "perhaps", "exact"),
    ] {
        let reply = server.get(&format!("/answer?q=coffee&{name}={value}"));
        refused(server, reply, &[name, allowed]);
    }
    for body in [json!({ "query": "a", "top_k": 0 }), json!({ "query": "a", "top_k": 201 })] {
        refused(server, server.post("/v1/retrieve", &body), &["top_k", "1 to 200"]);
    }
}

#[test]
fn lists_of_passages_that_are_too_short_or_long() {
    let Some(server) = server() else { return };
    for n in [0, 201, 5000] {
        let body = json!({ "query": "a", "passages": vec!["text"; n] });
        refused(server, server.post("/v1/rerank", &body), &[&n.to_string(), "1 to 200"]);
    }
    let most = json!({ "query": "a", "passages": vec!["text"; 200] });
    assert_eq!(server.post("/v1/rerank", &most).ok()["results"].as_array().unwrap().len(), 200);
}

#[test]
fn a_question_beyond_the_window_is_answered_with_a_warning() {
    let Some(server) = server() else { return };
    let long = format!("How long may a hand tool be kept? {}", "Tell me about tools. ".repeat(300));
    let answer = server.ask(&long, "&threshold=0&decompose=off").ok();
    let warning = answer["warnings"][0].as_str().unwrap();
    // 9 words and a mark, 300 times 4 and one, beyond a window of 256 with its two markers.
    let count: i32 = warning.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert_eq!(count, 9 + 300 * 5 + 2 - 256, "{warning}");
    assert!(warning.contains("window") && warning.contains("not read"), "{warning}");
    server.is_well();
}

#[test]
fn a_question_of_more_than_16_kib() {
    let Some(server) = server() else { return };
    let most = "a".repeat(16 * 1024);
    server.post("/v1/retrieve", &json!({ "query": most })).ok();
    let body = json!({ "query": format!("{most}a") });
    for path in ["/v1/retrieve", "/v1/answer"] {
        refused(server, server.post(path, &body), &["16385", "16384"]);
    }
    refused(server, server.ask(&format!("{most}a"), ""), &["16385", "16384"]);
}

#[test]
fn a_nul_character() {
    let Some(server) = server() else { return };
    refused(server, server.get("/answer?q=a%00b"), &["NUL"]);
    for path in ["/v1/answer", "/v1/retrieve"] {
        refused(server, server.post(path, &json!({ "query": "a\0b" })), &["NUL"]);
    }
}

#[test]
fn text_that_is_not_utf_8() {
    let Some(server) = server() else { return };
    for bytes in ["%FF", "%C3", "caf%E9", "%ED%A0%80"] {
        refused(server, server.get(&format!("/answer?q={bytes}")), &["UTF-8"]);
    }
    let reply = post(server.address, "/v1/answer", b"{\"query\": \"caf\xE9\"}");
    assert!(reply.error(415, "unsupported_media_type").contains("UTF-8"));
    // Half of a surrogate pair, escaped: UTF-8, and no text.
    let reply = post(server.address, "/v1/answer", br#"{"query": "\ud800"}"#);
    refused(server, reply, &["JSON"]);
}

#[test]
fn text_that_is_strange_but_allowed() {
    let Some(server) = server() else { return };
    for odd in
        ["🐕🦺", "\u{202e}desrever", "a\u{301}\u{301}\u{301}", "\u{feff}", "؟", "\t?", "\u{1b}[31m"]
    {
        server.ask(odd, "").ok();
    }
    server.is_well();
}

#[test]
fn unknown_paths_and_methods() {
    let Some(server) = server() else { return };
    for path in
        ["/", "/answers", "/v1", "/v1/answer/", "/ANSWER?q=a", "/%61nswer?q=a", "//answer?q=a"]
    {
        let reply = server.get(path);
        assert!(reply.error(404, "not_found").contains("/v1/answer"), "{reply:?}");
    }
    for (path, allow) in [("/v1/answer", "POST"), ("/v1/retrieve", "POST"), ("/v1/rerank", "POST")]
    {
        let reply = server.get(path);
        assert!(reply.error(405, "method_not_allowed").contains(allow));
        assert_eq!(reply.headers["allow"], allow);
    }
    for path in ["/answer?q=a", "/health"] {
        let reply = server.post(path, &json!({}));
        assert!(reply.error(405, "method_not_allowed").contains("GET"));
        assert_eq!(reply.headers["allow"], "GET");
    }
    server.is_well();
}

#[test]
fn a_body_of_ten_megabytes() {
    let Some(server) = server() else { return };
    // Over a bare connection: the server may refuse before it has read everything.
    let length = 10_000_000;
    let head = format!(
        "POST /v1/answer HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    let body = vec![b'a'; length];
    let mut connection = server.connect().say(head);
    let answer = std::thread::scope(|scope| {
        let mut writer = connection.again();
        scope.spawn(move || writer.say_all(&body));
        connection.head()
    });
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    server.is_well();
}

#[test]
fn a_body_of_a_megabyte_arrives() {
    let Some(server) = server() else { return };
    let text = "word ".repeat(5 * 1024);
    let body = json!({ "query": "words", "passages": vec![text; 40] }).to_string();
    assert!((1_000_000..1 << 20).contains(&body.len()), "{}", body.len());
    let reply = post(server.address, "/v1/rerank", body.as_bytes()).ok();
    let cut = &reply["results"][0]["truncated_tokens"];
    assert!(cut.as_u64().unwrap() > 4000, "{cut}");
}
