//! The reranker: each (query, passage) pair scored on its own, by one call to a model.
//!
//! A cross-encoder reads both texts in one sequence; late interaction compares the token embeddings of
//! a bi-encoder. Which of the two it is, the setup says. The scores are fused with the first stage's,
//! and a reader may have its say on the best passages.

mod fusion;
#[cfg(test)]
mod golden;
mod reading;

use std::cell::RefCell;

use trine_guest_memory::{Heaps, sealed};
use trine_guest_nn::bindings::trine::rag::types::{Candidate, Error, Ranked};
use trine_guest_nn::{Graph, NnError, Outputs, Parts, Tensor};
use trine_index::setup::{self, RerankerSetup};
use trine_text::passage_input;
use trine_text::tokens::{Encoded, Encoder, TokenError};

use reading::Reading;

#[global_allocator]
static ALLOCATOR: Heaps = Heaps;

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

/// The output of late interaction that has the passages' vectors.
const VECTORS: &str = "sentence_embedding";

/// What the component carries.
struct Model {
    setup: RerankerSetup,
    encoder: Encoder,
    /// The reader's own tokenizer.
    reader: Option<Encoder>,
}

/// What a model says of some passages.
#[derive(Default)]
struct Scores {
    scores: Vec<f32>,
    /// Tokens that no window held.
    truncated: Vec<u32>,
    /// `[passages, width]`; empty where the model gives none.
    vectors: Vec<f32>,
}

thread_local! {
    static PARTS: RefCell<Parts> = const { RefCell::new(Parts::new()) };
    static MODEL: RefCell<Option<Model>> = const { RefCell::new(None) };
}

struct Component;

impl Snapshot for Component {
    fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
        let known = [setup::SETUP, setup::TOKENIZER, setup::READER_TOKENIZER];
        PARTS.with_borrow_mut(|parts| parts.append(part, chunk, &known))
    }

    fn finish() -> Result<(), String> {
        let mut parts = PARTS.take();
        let setup: RerankerSetup = parts.take_setup()?;
        let encoder = parts.take_encoder(setup.max_tokens)?;
        if setup.max_tokens > MOST_TOKENS {
            return Err(format!("a window of {} tokens is too long", setup.max_tokens));
        }
        let reader = match &setup.fusion.reading {
            None => None,
            Some(reading) => {
                reading::check(reading)?;
                parts.take_encoder_if_any(setup::READER_TOKENIZER, reading.max_tokens)?
            }
        };
        MODEL.set(Some(Model { setup, encoder, reader }));
        sealed();
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
            let mut ranked = model.rank(&query, candidates, options.fuse)?;
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
    fn rank(
        &self,
        query: &str,
        candidates: Vec<Candidate>,
        fuse: bool,
    ) -> Result<Vec<Ranked>, Error> {
        let texts: Vec<String> = candidates
            .iter()
            .map(|c| &c.passage)
            .map(|p| passage_input(&p.title, &p.headings, &p.text, p.media_type == "text/markdown"))
            .collect();
        let scores = self.score(query, &texts)?;
        if let Some(at) = scores.scores.iter().position(|s| !s.is_finite()) {
            let passage = &candidates[at].passage;
            let (id, source) = (passage.id, &passage.source);
            return Err(Error::Inference(format!(
                "`{}` scored passage {id} ({source}) with {}",
                self.setup.model, scores.scores[at]
            )));
        }
        let fused = match fuse {
            true => self.fuse(query, &texts, &candidates, &scores)?.into_iter().map(Some).collect(),
            false => vec![None; candidates.len()],
        };
        let Scores { scores, truncated, .. } = scores;
        let scored = candidates.into_iter().zip(scores).zip(truncated).zip(fused);
        Ok(scored
            .map(|(((candidate, score), truncated_tokens), fused_score)| Ranked {
                passage: candidate.passage,
                score,
                fused_score,
                retrieval_score: candidate.score,
                truncated_tokens,
            })
            .collect())
    }

    /// What the model says of the texts, by as many calls as they need.
    fn score(&self, query: &str, texts: &[String]) -> Result<Scores, Error> {
        let mut all = Scores::default();
        for texts in texts.chunks(MOST_TOKENS / self.setup.max_tokens.max(1)) {
            let some = match self.setup.scoring {
                setup::Scoring::CrossEncoder => self.cross_encode(query, texts)?,
                setup::Scoring::LateInteraction => self.interact(query, texts)?,
            };
            all.scores.extend(some.scores);
            all.truncated.extend(some.truncated);
            all.vectors.extend(some.vectors);
        }
        Ok(all)
    }

    /// The scores that count both stages, the passages beside each, and what reading them says.
    fn fuse(
        &self,
        query: &str,
        texts: &[String],
        candidates: &[Candidate],
        scores: &Scores,
    ) -> Result<Vec<f32>, Error> {
        let setup::Fusion { weight, spread, smoothing, reading } = &self.setup.fusion;
        let first: Vec<f32> = candidates.iter().map(|c| c.score).collect();
        let fused = fusion::fuse(&first, &scores.scores, *weight, *spread);
        let mut fused = fusion::smooth(&fused, &scores.vectors, *smoothing);
        if let Some(setup) = reading {
            let encoder = self.reader.as_ref().unwrap_or(&self.encoder);
            Reading { setup, encoder }.add(query, texts, &scores.scores, &mut fused)?;
        }
        Ok(fused)
    }

    /// Query and passage in one sequence; `logits` is `[pairs, labels]`.
    fn cross_encode(&self, query: &str, texts: &[String]) -> Result<Scores, Error> {
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
        let truncated = pairs.iter().map(|p| p.truncated).collect();
        Ok(Scores { scores, truncated, vectors: vec![] })
    }

    /// Query and passages apart, compared token by token; `scores` is `[passages]`, and the passages'
    /// vectors may come beside it.
    fn interact(&self, query: &str, texts: &[String]) -> Result<Scores, Error> {
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
        let mut vectors = vec![];
        if outputs.has(VECTORS) {
            let (dimensions, values) = outputs.f32(VECTORS)?;
            vectors = match dimensions[..] {
                [rows, _] if rows as usize == passages.len() => values,
                _ => return Err(self.wrong_shape(VECTORS, &dimensions)),
            };
        }
        let truncated = passages.iter().map(|p| p.truncated + query[0].truncated).collect();
        Ok(Scores { scores, truncated, vectors })
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
