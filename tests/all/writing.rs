//! Answers that a language model writes, over real HTTP: cited, checked, and streamed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use trine_node::{Node, OpenOptions};
use trine_runtime::{AppOptions, LanguageModels, Limits};

use crate::command::{run, trine_with_model};
use crate::fixture::{Serving, bundle, cache, engine, here, limits, model, store};
use crate::scripted;

pub const QUESTION: &str = "How long may a hand tool be kept?";
const OFF_TOPIC: &str = "Which enzyme unwinds the double helix of DNA?";

/// What the librarian says: one sentence that holds, one that does not, one that cites nothing, and a
/// mark that leads nowhere.
const PIECES: [&str; 12] = [
    "A hand",
    " tool may",
    " be kept",
    " for fourteen",
    " days [",
    "1]",
    ". The moon",
    " is made of",
    " cheese [1][99].",
    " Nobody",
    " asked ",
    "that.",
];
const SAID: &str = "A hand tool may be kept for fourteen days [1]. The moon is made of cheese [1]. \
    Nobody asked that.";

pub fn serve(models: &LanguageModels, limits: Limits) -> Option<Serving> {
    Some(serve_bundle(bundle()?, models, limits))
}

pub fn serve_bundle(bundle: &Path, models: &LanguageModels, limits: Limits) -> Serving {
    let options = AppOptions {
        limits,
        cache: Some(cache().join("compiled")),
        models: models.clone(),
        ..AppOptions::default()
    };
    let options = OpenOptions { engine: engine(), app: options };
    let store = store(model().expect("asked for before"));
    let node: Node = trine_node::open(bundle, &options, &store).unwrap();
    Serving::over(node)
}

/// The librarian's file.
pub fn librarian_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| scripted::model("librarian", &PIECES, false))
}

/// A server whose model is the librarian.
pub fn librarian() -> Option<&'static Serving> {
    static SERVER: OnceLock<Option<Serving>> = OnceLock::new();
    let start = || serve(&scripted::models(librarian_file(), 64), limits());
    SERVER.get_or_init(start).as_ref()
}

/// A server whose model goes on for ever, and the model.
pub fn babbler(name: &str, limits: Limits) -> Option<(Serving, LanguageModels)> {
    let path = scripted::model(name, &["bla", " bla bla", ", "], true);
    let models = scripted::models(&path, 256);
    Some((serve(&models, limits)?, models))
}

/// The events of a stream, by name, and their data.
pub fn events(server: &Serving, path: &str, body: &Value) -> Vec<(String, Value)> {
    let answer = server.connect().say(request(path, body)).all();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(head.to_lowercase().contains("content-type: text/event-stream"), "{head}");
    parse(&unchunked(body))
}

pub fn request(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A body without the lengths of its chunks, the last of which must be there.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").expect("the body broke off");
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
}

fn parse(text: &str) -> Vec<(String, Value)> {
    let event = |event: &str| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data = field("data: ").unwrap_or_else(|| panic!("{event}"));
        let data = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
        (field("event: ").unwrap_or_default().to_owned(), data)
    };
    text.split_terminator("\n\n").map(event).collect()
}

#[test]
fn sentences_are_cited_where_a_passage_says_so() {
    let Some(server) = librarian() else { return };
    let answer = server.post("/v1/answer", &json!({ "query": QUESTION })).ok();
    assert_eq!(answer["answer"], SAID);
    let citations = answer["citations"].as_array().unwrap();
    assert_eq!(citations.len(), 1, "{answer}");
    assert_eq!(citations[0]["quote"], "A hand tool may be kept for fourteen days.");
    assert_eq!(
        (&citations[0]["source"], &citations[0]["passage"]),
        (&json!("borrowing.md"), &json!(0))
    );
    let sentences: Vec<(&str, &str)> = answer["sentences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            let at = |name: &str| s[name].as_u64().unwrap() as usize;
            (&SAID[at("start")..at("end")], s["support"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        sentences,
        [
            ("A hand tool may be kept for fourteen days [1].", "supported"),
            ("The moon is made of cheese [1].", "unsupported"),
            ("Nobody asked that.", "uncited"),
        ]
    );
    assert_eq!(answer["models"]["generator"], "librarian");
    assert_eq!((&answer["finish_reason"], &answer["abstained"]), (&json!("stop"), &json!(false)));
    let usage = &answer["usage"];
    assert_eq!(usage["generated_tokens"], PIECES.len());
    assert!(usage["prompt_tokens"].as_u64().unwrap() > 500, "{usage}");
    let again = server.post("/v1/answer", &json!({ "query": QUESTION })).ok();
    assert!(again["usage"]["cached_tokens"].as_u64() > Some(500), "{}", again["usage"]);
}

#[test]
fn nothing_is_written_where_nothing_answers() {
    let Some(server) = librarian() else { return };
    let answer = server.post("/v1/answer", &json!({ "query": OFF_TOPIC })).ok();
    assert_eq!((&answer["abstained"], &answer["citations"]), (&json!(true), &json!([])));
    assert_eq!(answer["answer"], "Not found in these documents.");
    assert!(answer.get("usage").is_none(), "{answer}");
    let chat =
        json!({ "model": "librarian", "messages": [{ "role": "user", "content": OFF_TOPIC }] });
    let reply = server.post("/v1/chat/completions", &chat).ok();
    assert_eq!(reply["abstained"], true);
    assert_eq!(reply["choices"][0]["message"]["content"], "Not found in these documents.");
}

#[test]
fn the_extractive_generator_is_still_there() {
    let Some(server) = librarian() else { return };
    let body = json!({ "query": QUESTION, "model": "extractive" });
    let answer = server.post("/v1/answer", &body).ok();
    let text = answer["answer"].as_str().unwrap();
    assert!(text.starts_with("A hand tool may be kept for fourteen days."), "{answer}");
    assert!(answer.get("usage").is_none() && answer.get("sentences").is_none());
    let body = json!({ "query": QUESTION, "model": "gpt-9" });
    let reply = server.post("/v1/answer", &body);
    assert!(reply.error(400, "invalid_request").contains("extractive, librarian"), "{reply:?}");
    let models = server.get("/v1/models").ok();
    let ids: Vec<&Value> = models["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(ids, ["librarian", "extractive"]);
}

#[test]
fn a_stream_says_what_the_answer_says() {
    let Some(server) = librarian() else { return };
    let events = events(server, "/v1/answer", &json!({ "query": QUESTION, "stream": true }));
    let named = |name: &str| -> Vec<&Value> {
        events.iter().filter(|(event, _)| event == name).map(|(_, data)| data).collect()
    };
    assert_eq!(events[0].0, "passages");
    assert_eq!(events[0].1["passages"][0]["source"], "borrowing.md");
    let texts: Vec<&str> = named("text").iter().map(|e| e["text"].as_str().unwrap()).collect();
    assert_eq!(texts.concat(), SAID);
    assert!(texts.len() >= PIECES.len() - 2, "not piece by piece: {texts:?}");
    assert_eq!(named("sentence").len(), 3);
    // A quote comes as soon as its sentence is whole.
    let place = |name: &str| events.iter().position(|(event, _)| event == name).unwrap();
    assert!(place("citation") < events.len() - 4, "{events:?}");
    let (last, answer) = events.last().unwrap();
    assert_eq!((last.as_str(), &answer["answer"]), ("answer", &json!(SAID)));
    assert_eq!(answer["citations"], json!(named("citation")));
    assert!(answer.get("passages").is_none());
}

#[test]
fn streams_need_no_language_model() {
    let Some(server) = crate::fixture::server() else { return };
    let events = events(server, "/v1/answer", &json!({ "query": QUESTION, "stream": true }));
    let names: BTreeSet<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["passages", "text", "citation", "answer"]));
    let models = server.get("/v1/models").ok();
    assert_eq!(models["data"].as_array().unwrap().len(), 1);
}

#[test]
fn stop_texts_and_token_limits_end_an_answer() {
    let Some(server) = librarian() else { return };
    let ask = |more: Value| {
        let mut body = json!({ "query": QUESTION });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/answer", &body).ok()
    };
    let answer = ask(json!({ "stop": "fourteen" }));
    assert_eq!(answer["answer"], "A hand tool may be kept for ");
    assert_eq!(answer["finish_reason"], "stop");
    let answer = ask(json!({ "max_tokens": 4 }));
    assert_eq!(answer["answer"], "A hand tool may be kept for fourteen");
    assert_eq!(answer["finish_reason"], "length");
    assert_eq!(answer["usage"]["generated_tokens"], 4);
    // The first piece is barred: the end is all that is left that is as likely as anything.
    let answer = ask(json!({ "logit_bias": { "258": -100, "261": 100 }, "max_tokens": 3 }));
    assert_eq!(answer["answer"], " for fourteen".repeat(3));
    let wrong = json!({ "query": QUESTION, "temperature": 3 });
    assert!(server.post("/v1/answer", &wrong).error(400, "invalid_request").contains("0 to 2"));
}

#[test]
fn passages_that_do_not_fit_are_dropped_and_told() {
    let Some(server) = librarian() else { return };
    let long = "What was said before. ".repeat(1300);
    let messages = json!([
        { "role": "user", "content": long }, { "role": "assistant", "content": "Yes." },
        { "role": "user", "content": QUESTION },
    ]);
    let body = json!({ "messages": messages, "max_completion_tokens": 3200 });
    let reply = server.post("/v1/chat/completions", &body).ok();
    let warnings = reply["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|w| w.as_str().unwrap().contains("did not fit")), "{reply}");
    assert_eq!(reply["citations"][0]["source"], "borrowing.md", "the best stayed");
    let body = json!({ "messages": messages, "max_tokens": 4100 });
    let reply = server.post("/v1/chat/completions", &body);
    assert!(reply.error(400, "invalid_request").contains("too few"), "{reply:?}");
}

#[test]
fn the_command_asks_a_language_model() {
    let Some(bundle) = bundle() else { return };
    let path = scripted::model("clerk", &PIECES, false);
    let ask = |question: &str| {
        run(trine_with_model(&[&"ask", &bundle, &question, &"--model", &path, &"--device", &"cpu"]))
    };
    let ended = ask(QUESTION);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with(&format!("{SAID}\n\n[1] borrowing.md, bytes ")), "{ended:?}");
    assert!(ended.err.contains("unsupported: The moon is made of cheese [1]."), "{ended:?}");
    let ended = ask(OFF_TOPIC);
    assert_eq!((ended.code, ended.out.starts_with("Not found")), (3, true), "{ended:?}");
}

#[test]
fn chats_have_openai_s_shape() {
    let Some(server) = librarian() else { return };
    let mut body = json!({
        "model": "librarian",
        "messages": [
            { "role": "system", "content": "Be kind." },
            { "role": "user", "content": QUESTION },
        ],
    });
    let whole = server.post("/v1/chat/completions", &body).ok();
    assert_eq!(
        (&whole["object"], &whole["model"]),
        (&json!("chat.completion"), &json!("librarian"))
    );
    assert_eq!(
        whole["choices"][0]["message"],
        json!({ "role": "assistant", "content": SAID, "refusal": null })
    );
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(whole["usage"]["completion_tokens"], PIECES.len());
    assert_eq!(whole["citations"].as_array().unwrap().len(), 1);
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let chunks = events(server, "/v1/chat/completions", &body);
    let chunks: Vec<&Value> = chunks.iter().map(|(_, data)| data).collect();
    let (done, chunks) = chunks.split_last().unwrap();
    assert_eq!(**done, "[DONE]");
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, SAID);
    let (counted, chunks) = chunks.split_last().unwrap();
    assert_eq!(counted["usage"]["completion_tokens"], PIECES.len());
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["citations"], whole["citations"]);
}

/// The client that most programs have.
#[test]
fn openai_s_own_client_is_answered() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import openai"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no package openai (pip install openai, or set PYTHON)");
        return;
    }
    let Some(server) = librarian() else { return };
    let limits = Limits { language_tokens: 6000, ..limits() };
    let Some((spender, _)) = babbler("client-spender", limits) else { return };
    let script = Path::new(here()).join("clients/openai_client.py");
    let output = Command::new(&python)
        .arg(script)
        .args([server.address.to_string(), spender.address.to_string(), SAID.to_owned()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}
