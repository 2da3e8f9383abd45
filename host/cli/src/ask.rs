//! `trine ask`: one request to the application, without a network in between.

mod stream;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::Request;
use serde::Deserialize;
use serde_json::json;
use trine_node::{Node, OpenOptions};
use trine_runtime::{AppOptions, Limits};

use crate::args::{Ask, Common};

/// How long an answer may take: nobody else waits for the node.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Passages that are named when nothing answers.
const CLOSEST: usize = 3;

/// Asks and prints; false when nothing in the documents answers.
pub fn run(args: Ask, common: &Common) -> Result<bool> {
    let runtime = runtime()?;
    let node = open(&args.bundle, common)?;
    let mut body = args.options.request(&args.question);
    body.insert("top_n".to_owned(), json!(args.top_n));
    body.insert("fuse".to_owned(), json!(!args.no_fuse));
    body.insert("max_sentences".to_owned(), json!(args.max_sentences));
    body.insert("threshold".to_owned(), json!(args.threshold));
    body.insert("max_tokens".to_owned(), json!(args.max_tokens));
    if common.language_model().is_some() && !args.json {
        body.insert("stream".to_owned(), json!(true));
        let answer = runtime.block_on(stream::show(&node, &body.into()))?;
        print_sources(&answer);
        return Ok(!answer.abstained);
    }
    let json = runtime.block_on(post(&node, "/v1/answer", &body.into()))?;
    let answer: Answer = serde_json::from_slice(&json).context("reading the answer")?;
    if args.json {
        out!("{}", String::from_utf8_lossy(&json));
    } else {
        let read = answer.citations.first().and_then(|c| c.answer.as_ref());
        out!("{}", marked(&answer.answer, read.map(|answer| answer.text.as_str())));
        print_sources(&answer);
    }
    Ok(!answer.abstained)
}

/// A bundle, ready for requests.
pub fn open(bundle: &Path, common: &Common) -> Result<Node> {
    let options = OpenOptions {
        engine: common.engine()?,
        app: AppOptions {
            cache: Some(common.compiled()?),
            models: common.language_models()?,
            preparing: Some(crate::prepare::show),
            limits: Limits { timeout: PATIENCE, ..Limits::default() },
            ..AppOptions::default()
        },
    };
    Ok(trine_node::open(bundle, &options, &common.store()?)?)
}

/// A runtime for requests.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("starting the runtime")
}

/// Posts JSON to the node; an error status becomes an error with the answer's message.
pub async fn post(node: &Node, path: &str, body: &serde_json::Value) -> Result<Bytes> {
    let (status, json) = node.request(request(path, body)?).await?;
    if status.is_success() { Ok(json) } else { Err(refusal(status, &json)) }
}

fn request(path: &str, body: &serde_json::Value) -> Result<Request<Bytes>> {
    let request = Request::post(format!("http://localhost{path}"))
        .header(http::header::CONTENT_TYPE, "application/json");
    Ok(request.body(Bytes::from(body.to_string()))?)
}

fn refusal(status: http::StatusCode, json: &[u8]) -> anyhow::Error {
    let problem: Result<Problem, _> = serde_json::from_slice(json);
    match problem {
        Ok(problem) => anyhow!("{}", problem.error.message),
        Err(_) => anyhow!("the application answered with {status}"),
    }
}

#[derive(Deserialize)]
struct Problem {
    error: Message,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

/// How a query was read.
#[derive(Deserialize)]
pub struct Reading {
    #[serde(default)]
    parts: Vec<String>,
    #[serde(default)]
    corrections: Vec<Correction>,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Correction {
    written: String,
    read_as: String,
}

impl Reading {
    /// Says on standard error what was not read as it was written.
    pub fn print(&self) {
        for Correction { written, read_as } in &self.corrections {
            eprintln!("read `{written}` as `{read_as}`");
        }
        for part in &self.parts {
            eprintln!("searched for: {part}");
        }
        for warning in &self.warnings {
            eprintln!("note: {warning}");
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(flatten)]
    reading: Reading,
    answer: String,
    abstained: bool,
    citations: Vec<Citation>,
    #[serde(default)]
    sentences: Vec<Sentence>,
    #[serde(default)]
    passages: Vec<Passage>,
    usage: Option<Usage>,
    timings_ms: Timings,
}

#[derive(Deserialize)]
struct Citation {
    source: String,
    start: u64,
    end: u64,
    quote: String,
    passage: usize,
    answer: Option<Span>,
}

/// A sentence of a language model's, by its bytes in the answer.
#[derive(Deserialize)]
struct Sentence {
    start: usize,
    end: usize,
    support: String,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u32,
    cached_tokens: u32,
    generated_tokens: u32,
}

#[derive(Deserialize)]
struct Span {
    text: String,
}

#[derive(Deserialize)]
struct Passage {
    source: String,
    headings: Vec<String>,
}

#[derive(Deserialize)]
struct Timings {
    retrieve: f64,
    rerank: f64,
    generate: f64,
    total: f64,
}

/// What stands below an answer.
fn print_sources(answer: &Answer) {
    if !answer.citations.is_empty() {
        out!("");
    }
    for (place, c) in answer.citations.iter().enumerate() {
        // A language model's marks name passages.
        let number = if answer.usage.is_some() { c.passage } else { place } + 1;
        out!("[{number}] {}, bytes {}..{}", c.source, c.start, c.end);
        for line in c.quote.lines() {
            out!("    {line}");
        }
    }
    if answer.abstained && !answer.passages.is_empty() {
        out!("");
        out!("Closest to the question came:");
        for passage in answer.passages.iter().take(CLOSEST) {
            out!("    {}", path(&passage.source, &passage.headings));
        }
    }
    for Sentence { start, end, support } in &answer.sentences {
        if let Some(sentence) = answer.answer.get(*start..*end).filter(|_| support != "supported") {
            eprintln!("{support}: {sentence}");
        }
    }
    answer.reading.print();
    if let Some(Usage { prompt_tokens, cached_tokens, generated_tokens }) = answer.usage {
        eprintln!(
            "{prompt_tokens} tokens read ({cached_tokens} cached), {generated_tokens} written"
        );
    }
    let t = &answer.timings_ms;
    eprintln!(
        "retrieved in {:.1} ms, reranked in {:.1} ms, answered in {:.1} ms, {:.1} ms in all",
        t.retrieve, t.rerank, t.generate, t.total
    );
}

/// The answer with what was read in bold, on a terminal.
fn marked(answer: &str, read: Option<&str>) -> String {
    match read.and_then(|read| answer.split_once(read).map(|(before, after)| (before, read, after)))
    {
        Some((before, read, after)) if std::io::stdout().is_terminal() => {
            format!("{before}\x1b[1m{read}\x1b[0m{after}")
        }
        _ => answer.to_owned(),
    }
}

/// Where a passage stands: `guide.md > Setup > Keys`.
pub fn path(source: &str, headings: &[String]) -> String {
    let steps = std::iter::once(source).chain(headings.iter().map(String::as_str));
    steps.collect::<Vec<_>>().join(" > ")
}
