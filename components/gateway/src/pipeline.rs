//! Retrieve, rerank, generate: one straight line.

use std::time::Duration;

use crate::bindings::trine::rag::generator::{self, FinishReason, GenerationOptions, Part};
use crate::bindings::trine::rag::reranker::{self, RerankOptions, Reranking, Scoring};
use crate::bindings::trine::rag::retriever::{self, Fusion, Mode, RetrievalOptions};
use crate::bindings::trine::rag::types::{Candidate, Error, Passage, Ranked};
use crate::defaults::Defaults;
use crate::problem::Problem;
use crate::reply::{
    AnswerReply, CitationReply, HealthReply, ModelsReply, PassageReply, RerankReply, RerankResult,
    RetrieveReply, Timings,
};
use crate::request::{AnswerRequest, RerankPassage, RerankRequest, RetrieveRequest};
use spin_sdk::wasip3::clocks::monotonic_clock;

/// What an answer says when no passage supports one.
const NOT_FOUND: &str = "Not found in these documents.";

/// Upper bound on the tokens a language model writes, until requests may set it.
const MAX_TOKENS: u32 = 512;

/// Time since a mark, in milliseconds.
struct Stopwatch(u64);

impl Stopwatch {
    fn start() -> Stopwatch {
        Stopwatch(monotonic_clock::now())
    }

    fn ms(&self) -> f64 {
        Duration::from_nanos(monotonic_clock::now() - self.0).as_secs_f64() * 1e3
    }
}

/// The stages' errors, with the stage's name.
fn at(stage: &'static str) -> impl Fn(Error) -> Problem {
    move |error| Problem::Stage { stage, error }
}

/// All three stages.
pub fn answer(request: AnswerRequest, defaults: Defaults) -> Result<AnswerReply, Problem> {
    let total = Stopwatch::start();
    let AnswerRequest { query, top_k, top_n, exact, max_sentences, threshold } = request;

    let options = retrieval_options(top_k.unwrap_or(defaults.top_k), exact);
    let retrieval = retriever::retrieve(&query, &options).map_err(at("retriever"))?;
    let retrieve_ms = total.ms();

    let clock = Stopwatch::start();
    let options = RerankOptions { top_n: top_n.unwrap_or(defaults.top_n) };
    let reranking =
        reranker::rerank(&query, &retrieval.candidates, options).map_err(at("reranker"))?;
    let rerank_ms = clock.ms();

    let clock = Stopwatch::start();
    let options = GenerationOptions { max_sentences, max_tokens: MAX_TOKENS, threshold };
    let answer =
        generator::generate(&query, &reranking.ranked, options).map_err(at("generator"))?;
    let (text, citations) = collect(&answer, &reranking.ranked)?;
    let summary = answer.summary();
    let generate_ms = clock.ms();

    let abstained = summary.reason == FinishReason::Abstained;
    let mut warnings = query_warnings(retrieval.truncated_tokens);
    warnings.extend(pair_warning(&reranking));
    if summary.passages_dropped > 0 {
        let dropped = summary.passages_dropped;
        warnings.push(format!("{dropped} passages did not fit the generator and were not read"));
    }
    Ok(AnswerReply {
        query,
        answer: if abstained { NOT_FOUND.to_owned() } else { text },
        abstained,
        finish_reason: finish_reason(summary.reason),
        evidence: summary.evidence,
        threshold: summary.threshold,
        citations,
        passages: Some(reranking.ranked.iter().map(PassageReply::from).collect()),
        supporting_docs: None,
        warnings,
        models: ModelsReply {
            reranker: reranking.model,
            scoring: scoring(reranking.scoring),
            generator: summary.model,
        },
        timings_ms: Timings {
            retrieve: Some(retrieve_ms),
            rerank: Some(rerank_ms),
            generate: Some(generate_ms),
            total: total.ms(),
        },
    })
}

/// Pulls the answer's parts to the end.
fn collect(
    answer: &generator::Answer,
    passages: &[Ranked],
) -> Result<(String, Vec<CitationReply>), Problem> {
    let mut text = String::new();
    let mut citations = Vec::new();
    while let Some(part) = answer.next().map_err(at("generator"))? {
        match part {
            Part::Text(piece) => text.push_str(&piece),
            Part::Citation(c) => {
                let Some(cited) = passages.get(c.passage as usize) else {
                    let error = format!("cited passage {} of {}", c.passage, passages.len());
                    return Err(at("generator")(Error::Inference(error)));
                };
                citations.push(CitationReply {
                    source: cited.passage.source.clone(),
                    start: c.start,
                    end: c.end,
                    quote: c.quote,
                    passage: c.passage,
                });
            }
        }
    }
    Ok((text, citations))
}

/// The first stage alone.
pub fn retrieve(request: RetrieveRequest, defaults: Defaults) -> Result<RetrieveReply, Problem> {
    let total = Stopwatch::start();
    let options = retrieval_options(request.top_k.unwrap_or(defaults.top_k), request.exact);
    let retrieval = retriever::retrieve(&request.query, &options).map_err(at("retriever"))?;
    Ok(RetrieveReply {
        query: request.query,
        candidates: retrieval.candidates.iter().map(PassageReply::from).collect(),
        warnings: query_warnings(retrieval.truncated_tokens),
        timings_ms: Timings { total: total.ms(), ..Timings::default() },
    })
}

/// The second stage alone, over passages of the caller's.
pub fn rerank(request: RerankRequest) -> Result<RerankReply, Problem> {
    let total = Stopwatch::start();
    let top_n = request.top_n.unwrap_or(request.passages.len() as u32);
    let candidates: Vec<Candidate> =
        request.passages.into_iter().zip(0..).map(|(p, id)| candidate(p, id)).collect();
    let reranking = reranker::rerank(&request.query, &candidates, RerankOptions { top_n })
        .map_err(at("reranker"))?;
    let result = |r: &Ranked| RerankResult {
        index: r.passage.id,
        score: r.score,
        truncated_tokens: r.truncated_tokens,
    };
    Ok(RerankReply {
        query: request.query,
        results: reranking.ranked.iter().map(result).collect(),
        scoring: scoring(reranking.scoring),
        model: reranking.model,
        timings_ms: Timings { total: total.ms(), ..Timings::default() },
    })
}

/// What the bundle holds; that it answers shows that the components stand.
pub fn health() -> Result<HealthReply, Problem> {
    let description = retriever::describe().map_err(at("retriever"))?;
    Ok(HealthReply {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        passages: description.passages,
        documents: description.documents,
        model: description.model,
        dimensions: description.dimensions,
    })
}

fn retrieval_options(top_k: u32, exact: bool) -> RetrievalOptions {
    RetrievalOptions {
        top_k,
        mode: Mode::Hybrid,
        fusion: Fusion::Weighted,
        exact,
        filter: None,
        diversity: None,
        per_document: None,
        decompose: false,
        spelling: false,
        highlight: false,
    }
}

fn candidate(passage: RerankPassage, id: u32) -> Candidate {
    let (title, text) = match passage {
        RerankPassage::Text(text) => (String::new(), text),
        RerankPassage::Record { title, text } => (title, text),
    };
    let passage = Passage {
        id,
        source: String::new(),
        title,
        headings: vec![],
        start: 0,
        end: text.len() as u64,
        text,
        media_type: "text/plain".to_owned(),
    };
    Candidate { passage, score: 0.0, dense_score: None, lexical_score: None, highlights: vec![] }
}

fn query_warnings(truncated: u32) -> Vec<String> {
    let cut = (truncated > 0).then(|| {
        format!(
            "the query is longer than the embedder's window: its last {truncated} tokens were \
             not read"
        )
    });
    cut.into_iter().collect()
}

fn pair_warning(reranking: &Reranking) -> Option<String> {
    let cut = reranking.ranked.iter().filter(|r| r.truncated_tokens > 0).count();
    let all = reranking.ranked.len();
    (cut > 0).then(|| format!("the reranker's window cut {cut} of {all} passages"))
}

fn scoring(scoring: Scoring) -> &'static str {
    match scoring {
        Scoring::CrossEncoder => "cross-encoder",
        Scoring::LateInteraction => "late-interaction",
    }
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Abstained => "abstained",
    }
}
