//! Retrieve, rerank, generate: one straight line.

use std::collections::HashSet;
use std::time::Duration;

use crate::bindings::trine::rag::generator::{self, FinishReason, GenerationOptions, Part};
use crate::bindings::trine::rag::reranker::{self, RerankOptions, Reranking, Scoring};
use crate::bindings::trine::rag::retriever::{self, Surroundings};
use crate::bindings::trine::rag::types::{Candidate, Error, Passage, Ranked};
use crate::defaults::Defaults;
use crate::problem::Problem;
use crate::reply::{
    AnswerReply, AnswerSpan, CitationReply, HealthReply, ModelsReply, PassageReply, ReadingReply,
    RerankReply, RerankResult, RetrieveReply, Timings,
};
use crate::request::{AnswerRequest, RerankPassage, RerankRequest, RetrieveRequest};
use spin_sdk::wasip3::clocks::monotonic_clock;

/// What an answer says when no passage supports one.
const NOT_FOUND: &str = "Not found in these documents.";

/// Passages around those kept that the generator is given at most.
const MOST_CONTEXT: usize = 200;

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
    let AnswerRequest { search, top_n, fuse, max_sentences, threshold } = request;
    let query = &search.query;

    let options = search.options(defaults.top_k, false);
    let retrieval = retriever::retrieve(query, &options).map_err(at("retriever"))?;
    let retrieve_ms = total.ms();

    let clock = Stopwatch::start();
    let options = RerankOptions { top_n: top_n.unwrap_or(defaults.top_n), fuse };
    let reranking =
        reranker::rerank(query, &retrieval.candidates, options).map_err(at("reranker"))?;
    let rerank_ms = clock.ms();

    let clock = Stopwatch::start();
    let pair_warning = pair_warning(&reranking);
    let reading = read(reranking.ranked, search.context)?;
    let options = GenerationOptions { max_sentences, max_tokens: MAX_TOKENS, threshold };
    let answer = generator::generate(query, &reading.passages, options).map_err(at("generator"))?;
    let (text, citations) = collect(&answer, &reading.passages)?;
    let summary = answer.summary();
    let generate_ms = clock.ms();

    let abstained = summary.reason == FinishReason::Abstained;
    let mut warnings = query_warnings(retrieval.truncated_tokens);
    warnings.extend(pair_warning);
    warnings.extend(context_warning(&reading));
    if summary.passages_dropped > 0 {
        let dropped = summary.passages_dropped;
        warnings.push(format!("{dropped} passages did not fit the generator and were not read"));
    }
    Ok(AnswerReply {
        reading: ReadingReply::of(&retrieval),
        short_answer: citations.first().and_then(|c| c.answer.as_ref()).map(|a| a.text.clone()),
        answer: if abstained { NOT_FOUND.to_owned() } else { text },
        abstained,
        finish_reason: finish_reason(summary.reason),
        evidence: summary.evidence,
        threshold: summary.threshold,
        citations,
        passages: Some(reading.reply(&retrieval.candidates)),
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
        query: search.query,
    })
}

/// What the generator reads: what the reranker kept, and behind it what is around that.
struct Reading {
    passages: Vec<Ranked>,
    /// For each passage behind what was kept, the place of the one it surrounds.
    context_of: Vec<u32>,
    /// Passages that were left out.
    dropped: usize,
}

fn read(kept: Vec<Ranked>, context: Option<Surroundings>) -> Result<Reading, Problem> {
    let ids: Vec<u32> = kept.iter().map(|ranked| ranked.passage.id).collect();
    let mut reading = Reading { passages: kept, context_of: vec![], dropped: 0 };
    let Some(context) = context else { return Ok(reading) };
    let mut seen: HashSet<u32> = ids.iter().copied().collect();
    for (place, id) in ids.into_iter().enumerate() {
        let Ranked { score, fused_score, retrieval_score, .. } = reading.passages[place];
        let around = retriever::around(id, context).map_err(at("retriever"))?;
        for passage in around.into_iter().filter(|passage| seen.insert(passage.id)) {
            if reading.context_of.len() == MOST_CONTEXT {
                reading.dropped += 1;
                continue;
            }
            reading.context_of.push(place as u32);
            reading.passages.push(Ranked {
                passage,
                score,
                fused_score,
                retrieval_score,
                truncated_tokens: 0,
            });
        }
    }
    Ok(reading)
}

impl Reading {
    fn reply(&self, candidates: &[Candidate]) -> Vec<PassageReply> {
        let (kept, context) = self.passages.split_at(self.passages.len() - self.context_of.len());
        let kept = kept.iter().map(|ranked| PassageReply::ranked(ranked, candidates));
        let context = self.context_of.iter().zip(context);
        kept.chain(context.map(|(of, ranked)| PassageReply::context_of(*of, &ranked.passage)))
            .collect()
    }
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
                    answer: AnswerSpan::within(&c),
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

fn query_warnings(truncated: u32) -> Vec<String> {
    let cut = (truncated > 0).then(|| {
        format!(
            "the query is longer than the embedder's window: {truncated} of its tokens were not read"
        )
    });
    cut.into_iter().collect()
}

fn pair_warning(reranking: &Reranking) -> Option<String> {
    let cut = reranking.ranked.iter().filter(|r| r.truncated_tokens > 0).count();
    let all = reranking.ranked.len();
    (cut > 0).then(|| format!("the reranker's window cut {cut} of {all} passages"))
}

fn context_warning(reading: &Reading) -> Option<String> {
    let dropped = reading.dropped;
    let text = format!("{dropped} passages around those kept were too many and were not read");
    (dropped > 0).then_some(text)
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
