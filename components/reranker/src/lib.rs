//! The reranker: each (query, passage) pair scored on its own, by one call to a model.
//!
//! A cross-encoder reads both texts in one sequence; until one is trained, late interaction
//! compares the token embeddings of a bi-encoder. Which of the two it is, the setup says.

mod fusion;

use std::cell::RefCell;

use trine_guest_nn::bindings::trine::rag::types::{Candidate, Error, Ranked};
use trine_guest_nn::{Graph, NnError, Outputs, Parts, Tensor, memory};
use trine_index::setup::{self, RerankerSetup};
use trine_text::passage_input;
use trine_text::tokens::{Encoded, Encoder, TokenError};

#[global_allocator]
static ALLOCATOR: memory::ZeroOnFree = memory::ZeroOnFree;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trine:rag/reranker-component",
        with: {
            "trine:rag/types@0.1.0": trine_guest_nn::bindings::trine::rag::types,
            "wasi:nn/errors@0.2.0-rc-2024-10-28": trine_guest_nn::bindings::wasi::nn::errors,
            "wasi:nn/tensor@0.2.0-rc-2024-10-28": trine_guest_nn::bindings::wasi::nn::tensor,
            "wasi:nn/graph@0.2.0-rc-2024-10-28": trine_guest_nn::bindings::wasi::nn::graph,
            "wasi:nn/inference@0.2.0-rc-2024-10-28": trine_guest_nn::bindings::wasi::nn::inference,
        },
        generate_all,
    });
}

use bindings::exports::trine::rag::reranker::{
    Guest as Reranker, RerankOptions, Reranking, Scoring,
};
use bindings::exports::trine::rag::snapshot::Guest as Snapshot;

/// Pairs one request may bring: as many as a retriever returns.
const MOST_CANDIDATES: usize = 200;

/// Tokens of one call, padding included. All candidates of a model with a window of 256 tokens
/// fit; those of one with a longer window may take several calls.
const MOST_TOKENS: usize = 64 * 1024;

/// What the component carries.
struct Model {
    setup: RerankerSetup,
    encoder: Encoder,
}

thread_local! {
    static PARTS: RefCell<Parts> = const { RefCell::new(Parts::new()) };
    static MODEL: RefCell<Option<Model>> = const { RefCell::new(None) };
}

struct Component;

impl Snapshot for Component {
    fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
        let known = [setup::SETUP, setup::TOKENIZER];
        PARTS.with_borrow_mut(|parts| parts.append(part, chunk, &known))
    }

    fn finish() -> Result<(), String> {
        let mut parts = PARTS.take();
        let setup: RerankerSetup = parts.take_setup()?;
        let encoder = parts.take_encoder(setup.max_tokens)?;
        if setup.max_tokens > MOST_TOKENS {
            return Err(format!("a window of {} tokens is too long", setup.max_tokens));
        }
        MODEL.set(Some(Model { setup, encoder }));
        memory::sealed();
        Ok(())
    }
}

impl Reranker for Component {
    fn rerank(
        query: String,
        candidates: Vec<Candidate>,
        options: RerankOptions,
    ) -> Result<Reranking, Error> {
        check(&query, &candidates, options)?;
        MODEL.with_borrow(|model| {
            let model = model.as_ref().ok_or_else(|| {
                Error::NotInitialized("the reranker was given no tokenizer".to_owned())
            })?;
            let mut ranked = model.score(&query, candidates)?;
            if options.fuse {
                model.fuse(&mut ranked);
            }
            let key = |ranked: &Ranked| ranked.fused_score.unwrap_or(ranked.score);
            // Stable: equal scores keep the first stage's order.
            ranked.sort_by(|a, b| key(b).total_cmp(&key(a)));
            ranked.truncate(options.top_n as usize);
            let scoring = match model.setup.scoring {
                setup::Scoring::CrossEncoder => Scoring::CrossEncoder,
                setup::Scoring::LateInteraction => Scoring::LateInteraction,
            };
            Ok(Reranking { ranked, scoring, model: model.setup.model.clone() })
        })
    }
}

fn check(query: &str, candidates: &[Candidate], options: RerankOptions) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::InvalidInput(text));
    let (n, given) = (options.top_n as usize, candidates.len());
    if n == 0 || n > MOST_CANDIDATES {
        return refuse(format!("top_n is {n}; it may be 1 to {MOST_CANDIDATES}"));
    }
    if given > MOST_CANDIDATES {
        return refuse(format!(
            "{given} passages; at most {MOST_CANDIDATES} can be reranked at once"
        ));
    }
    if query.trim().is_empty() {
        return refuse("the query is empty".to_owned());
    }
    Ok(())
}

impl Model {
    /// The candidates with their new scores, in the order given.
    fn score(&self, query: &str, candidates: Vec<Candidate>) -> Result<Vec<Ranked>, Error> {
        if candidates.is_empty() {
            return Ok(vec![]);
        }
        let texts: Vec<String> = candidates
            .iter()
            .map(|c| &c.passage)
            .map(|p| passage_input(&p.title, &p.headings, &p.text, p.media_type == "text/markdown"))
            .collect();
        let (mut scores, mut truncated) = (vec![], vec![]);
        for texts in texts.chunks(MOST_TOKENS / self.setup.max_tokens.max(1)) {
            let (s, t) = match self.setup.scoring {
                setup::Scoring::CrossEncoder => self.cross_encode(query, texts)?,
                setup::Scoring::LateInteraction => self.interact(query, texts)?,
            };
            scores.extend(s);
            truncated.extend(t);
        }
        if let Some(at) = scores.iter().position(|s| !s.is_finite()) {
            let passage = &candidates[at].passage;
            let (id, source) = (passage.id, &passage.source);
            return Err(Error::Inference(format!(
                "`{}` scored passage {id} ({source}) with {}",
                self.setup.model, scores[at]
            )));
        }
        let scored = candidates.into_iter().zip(scores).zip(truncated);
        Ok(scored
            .map(|((candidate, score), truncated_tokens)| Ranked {
                passage: candidate.passage,
                score,
                fused_score: None,
                retrieval_score: candidate.score,
                truncated_tokens,
            })
            .collect())
    }

    /// Adds the scores that count both stages.
    fn fuse(&self, ranked: &mut [Ranked]) {
        let first: Vec<f32> = ranked.iter().map(|r| r.retrieval_score).collect();
        let second: Vec<f32> = ranked.iter().map(|r| r.score).collect();
        let fused = fusion::fuse(&first, &second, self.setup.fusion_weight);
        ranked.iter_mut().zip(fused).for_each(|(r, fused)| r.fused_score = Some(fused));
    }

    /// Query and passage in one sequence; `logits` is `[pairs, labels]`.
    fn cross_encode(&self, query: &str, texts: &[String]) -> Result<(Vec<f32>, Vec<u32>), Error> {
        let pairs = texts
            .iter()
            .map(|text| self.encoder.encode_pair(query, text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(token_error)?;
        let outputs = self.compute(vec![
            ("input_ids", Tensor::rows(ids(&pairs), 0)),
            ("attention_mask", Tensor::mask(ids(&pairs))),
            ("token_type_ids", Tensor::rows(pairs.iter().map(|p| p.type_ids.as_slice()), 0)),
        ])?;
        let (dimensions, logits) = outputs.f32("logits")?;
        let scores = match dimensions[..] {
            [rows, 1] if rows as usize == pairs.len() => logits,
            // Two classes: how much more relevant than not (Nogueira & Cho, 2019).
            [rows, 2] if rows as usize == pairs.len() => {
                logits.chunks_exact(2).map(|l| l[1] - l[0]).collect()
            }
            _ => return Err(self.wrong_shape("logits", &dimensions)),
        };
        Ok((scores, pairs.iter().map(|p| p.truncated).collect()))
    }

    /// Query and passages apart, compared token by token; `scores` is `[passages]`.
    fn interact(&self, query: &str, texts: &[String]) -> Result<(Vec<f32>, Vec<u32>), Error> {
        let query = [self.encoder.encode(query).map_err(token_error)?];
        let passages = texts
            .iter()
            .map(|text| self.encoder.encode(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(token_error)?;
        let outputs = self.compute(vec![
            ("query_input_ids", Tensor::rows(ids(&query), 0)),
            ("query_attention_mask", Tensor::mask(ids(&query))),
            ("input_ids", Tensor::rows(ids(&passages), 0)),
            ("attention_mask", Tensor::mask(ids(&passages))),
        ])?;
        let (dimensions, scores) = outputs.f32("scores")?;
        if dimensions != [passages.len() as u32] {
            return Err(self.wrong_shape("scores", &dimensions));
        }
        let truncated = passages.iter().map(|p| p.truncated + query[0].truncated).collect();
        Ok((scores, truncated))
    }

    fn compute(&self, inputs: Vec<(&str, Tensor)>) -> Result<Outputs, NnError> {
        Graph::load(&self.setup.graph)?.compute(inputs)
    }

    fn wrong_shape(&self, output: &str, dimensions: &[u32]) -> Error {
        let model = &self.setup.model;
        Error::Inference(format!("`{model}` returned `{output}` of shape {dimensions:?}"))
    }
}

fn ids(encoded: &[Encoded]) -> impl ExactSizeIterator<Item = &[u32]> + Clone {
    encoded.iter().map(|e| e.ids.as_slice())
}

fn token_error(error: TokenError) -> Error {
    Error::InvalidInput(error.to_string())
}

bindings::export!(Component with_types_in bindings);
