//! One stage alone, and what stages have in common; `answering` has all three.

use std::time::Duration;

use crate::bindings::trine::rag::reranker::{self, RerankOptions, Scoring};
use crate::bindings::trine::rag::retriever;
use crate::bindings::trine::rag::types::{Candidate, Error, Passage, Ranked};
use crate::defaults::Defaults;
use crate::problem::Problem;
use crate::reply::{
    HealthReply, PassageReply, ReadingReply, RerankReply, RerankResult, RetrieveReply, Timings,
};
use crate::request::{RerankPassage, RerankRequest, RetrieveRequest};
use spin_sdk::wasip3::clocks::monotonic_clock;

/// Time since a mark, in milliseconds.
pub struct Stopwatch(u64);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(monotonic_clock::now())
    }

    pub fn ms(&self) -> f64 {
        Duration::from_nanos(monotonic_clock::now() - self.0).as_secs_f64() * 1e3
    }
}

/// The stages' errors, with the stage's name.
pub fn at(stage: &'static str) -> impl Fn(Error) -> Problem {
    move |error| Problem::Stage { stage, error }
}

/// The first stage alone.
pub fn retrieve(request: RetrieveRequest, defaults: Defaults) -> Result<RetrieveReply, Problem> {
    let total = Stopwatch::start();
    let RetrieveRequest { search, snippet } = request;
    let options = search.options(defaults.top_k, snippet > 0);
    let retrieval = retriever::retrieve(&search.query, &options).map_err(at("retriever"))?;
    let mut candidates = Vec::with_capacity(retrieval.candidates.len());
    for candidate in &retrieval.candidates {
        let around = match search.context {
            Some(context) => {
                retriever::around(candidate.passage.id, context).map_err(at("retriever"))?
            }
            None => vec![],
        };
        candidates.push(PassageReply::candidate(candidate, snippet, &around));
    }
    Ok(RetrieveReply {
        reading: ReadingReply::of(&retrieval),
        candidates,
        warnings: query_warnings(retrieval.truncated_tokens),
        timings_ms: Timings { total: total.ms(), ..Timings::default() },
        query: search.query,
    })
}

/// The second stage alone, over passages of the caller's.
pub fn rerank(request: RerankRequest) -> Result<RerankReply, Problem> {
    let total = Stopwatch::start();
    let top_n = request.top_n.unwrap_or(request.passages.len() as u32);
    let fuse = request.fuse.unwrap_or_else(|| request.passages.iter().any(RerankPassage::scored));
    let candidates: Vec<Candidate> =
        request.passages.into_iter().zip(0..).map(|(p, id)| candidate(p, id)).collect();
    let options = RerankOptions { top_n, fuse };
    let reranking =
        reranker::rerank(&request.query, &candidates, options).map_err(at("reranker"))?;
    let result = |r: &Ranked| RerankResult {
        index: r.passage.id,
        score: r.score,
        fused_score: r.fused_score,
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

fn candidate(passage: RerankPassage, id: u32) -> Candidate {
    let (title, text, score) = match passage {
        RerankPassage::Text(text) => (String::new(), text, 0.0),
        RerankPassage::Record { title, text, retrieval_score } => {
            (title, text, retrieval_score.unwrap_or_default())
        }
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
    Candidate { passage, score, dense_score: None, lexical_score: None, highlights: vec![] }
}

pub fn query_warnings(truncated: u32) -> Vec<String> {
    let cut = (truncated > 0).then(|| {
        format!(
            "the query is longer than the embedder's window: {truncated} of its tokens were not read"
        )
    });
    cut.into_iter().collect()
}

pub fn scoring(scoring: Scoring) -> &'static str {
    match scoring {
        Scoring::CrossEncoder => "cross-encoder",
        Scoring::LateInteraction => "late-interaction",
    }
}
