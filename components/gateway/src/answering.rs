//! Retrieve, rerank, generate: one straight line, whose end is pulled part by part.

use std::collections::HashSet;

use crate::bindings::trine::rag::generator::{self, FinishReason, GenerationOptions, Part};
use crate::bindings::trine::rag::reranker::{self, RerankOptions, Reranking};
use crate::bindings::trine::rag::retriever::{self, Surroundings};
use crate::bindings::trine::rag::types::{Candidate, Error, Ranked};
use crate::defaults::Defaults;
use crate::pipeline::{Stopwatch, at, query_warnings, scoring};
use crate::problem::Problem;
use crate::reply::{
    AnswerReply, AnswerSpan, CitationReply, ModelsReply, PassageReply, ReadingReply, Timings,
};
use crate::request::AnswerRequest;
use crate::written::{SentenceReply, UsageReply};

/// What an answer says when no passage supports one.
const NOT_FOUND: &str = "Not found in these documents.";

/// Passages around those kept that the generator is given at most.
const MOST_CONTEXT: usize = 200;

/// An answer being made. Dropping it cancels the work.
pub struct Answering {
    answer: generator::Answer,
    sources: Vec<String>,
    total: Stopwatch,
    generating: Stopwatch,
    /// All but what is pulled.
    reply: AnswerReply,
}

/// What one pull brought; it stands in the reply as well.
pub enum Step<'a> {
    /// A piece of the answer's text.
    Text(String),
    /// A quote behind the text so far.
    Citation(&'a CitationReply),
    /// A sentence that was checked.
    Sentence(&'a SentenceReply),
}

impl Answering {
    /// Retrieves, reranks, and begins to generate.
    pub fn start(request: AnswerRequest, defaults: Defaults) -> Result<Answering, Problem> {
        let total = Stopwatch::start();
        let query = &request.search.query;

        let options = request.search.options(defaults.top_k, false);
        let retrieval = retriever::retrieve(query, &options).map_err(at("retriever"))?;
        let retrieve = Some(total.ms());

        let clock = Stopwatch::start();
        let top_n = request.top_n.unwrap_or(defaults.top_n);
        let options = RerankOptions { top_n, fuse: request.fuse };
        let reranking =
            reranker::rerank(query, &retrieval.candidates, options).map_err(at("reranker"))?;
        let rerank = Some(clock.ms());

        let generating = Stopwatch::start();
        let mut warnings = query_warnings(retrieval.truncated_tokens);
        warnings.extend(pair_warning(&reranking));
        let reading = read(reranking.ranked, request.search.context)?;
        warnings.extend(context_warning(&reading));
        let options = GenerationOptions {
            max_sentences: request.max_sentences,
            max_tokens: request.max_tokens,
            threshold: request.threshold,
            model: request.model,
            writing: request.writing,
        };
        let answer =
            generator::generate(query, &reading.passages, &options).map_err(at("generator"))?;
        let reply = AnswerReply {
            reading: ReadingReply::of(&retrieval),
            passages: Some(reading.reply(&retrieval.candidates)),
            warnings,
            models: ModelsReply {
                reranker: reranking.model,
                scoring: scoring(reranking.scoring),
                generator: String::new(),
            },
            timings_ms: Timings { retrieve, rerank, ..Timings::default() },
            query: request.search.query,
            ..AnswerReply::default()
        };
        let sources = reading.passages.into_iter().map(|ranked| ranked.passage.source).collect();
        Ok(Answering { answer, sources, total, generating, reply })
    }

    /// The next part; none when the answer is complete.
    pub fn next(&mut self) -> Result<Option<Step<'_>>, Problem> {
        let Some(part) = self.answer.next().map_err(at("generator"))? else { return Ok(None) };
        Ok(Some(match part {
            Part::Text(piece) => {
                self.reply.answer.push_str(&piece);
                Step::Text(piece)
            }
            Part::Citation(c) => {
                let Some(source) = self.sources.get(c.passage as usize) else {
                    let error = format!("cited passage {} of {}", c.passage, self.sources.len());
                    return Err(at("generator")(Error::Inference(error)));
                };
                let citations = &mut self.reply.citations;
                citations.push(CitationReply {
                    source: source.clone(),
                    start: c.start,
                    end: c.end,
                    answer: AnswerSpan::within(&c),
                    quote: c.quote,
                    passage: c.passage,
                });
                Step::Citation(&citations[citations.len() - 1])
            }
            Part::Sentence(sentence) => {
                let sentences = &mut self.reply.sentences;
                sentences.push(SentenceReply::of(sentence));
                Step::Sentence(&sentences[sentences.len() - 1])
            }
        }))
    }

    /// What is known before the first part.
    pub fn begun(&self) -> &AnswerReply {
        &self.reply
    }

    /// Pulls what is left.
    pub fn finish(mut self) -> Result<AnswerReply, Problem> {
        while self.next()?.is_some() {}
        Ok(self.reply())
    }

    /// The answer, once it is complete.
    pub fn reply(self) -> AnswerReply {
        let Answering { answer, total, generating, mut reply, .. } = self;
        let summary = answer.summary();
        reply.abstained = summary.reason == FinishReason::Abstained;
        if reply.abstained {
            reply.answer = NOT_FOUND.to_owned();
        }
        let read = reply.citations.first().and_then(|c| c.answer.as_ref());
        reply.short_answer = read.map(|answer| answer.text.clone());
        reply.finish_reason = finish_reason(summary.reason);
        (reply.evidence, reply.threshold) = (summary.evidence, summary.threshold);
        if summary.passages_dropped > 0 {
            let text = "passages did not fit the generator and were not read";
            reply.warnings.push(format!("{} {text}", summary.passages_dropped));
        }
        reply.models.generator = summary.model;
        reply.usage = summary.usage.map(UsageReply::from);
        reply.timings_ms.generate = Some(generating.ms());
        reply.timings_ms.total = total.ms();
        reply
    }
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

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Abstained => "abstained",
    }
}
