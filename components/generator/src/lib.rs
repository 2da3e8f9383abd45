//! The extractive generator: the sentences that answer, quoted and cited, or nothing.
//!
//! It writes no word of its own: `extract` chooses sentences of the passages it was given, and an
//! answer is those sentences, each with the bytes it came from. Under its threshold of evidence it
//! abstains. A language model takes its place behind the same contract.

mod extract;
mod read;

use std::cell::RefCell;
use std::collections::VecDeque;

use extract::Extraction;
use read::Reader;
use trine_guest_memory::{Heaps, sealed};
use trine_guest_nn::bindings::trine::rag::types::{Error, Ranked, Span};
use trine_guest_nn::{Parts, SentenceEncoder};
use trine_index::setup::{self, GeneratorSetup, ReaderSetup};
use trine_text::tokens::Encoder;

#[global_allocator]
static ALLOCATOR: Heaps = Heaps;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trine:rag/generator-component",
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

use bindings::exports::trine::rag::generator::{
    Answer, Citation, FinishReason, GenerationOptions, Guest as Generator, GuestAnswer, Part,
    Summary,
};
use bindings::exports::trine::rag::snapshot::Guest as Snapshot;

/// What the component carries.
struct Model {
    setup: GeneratorSetup,
    encoder: SentenceEncoder,
    /// The reader's tokenizer, where it has another.
    reader: Option<Encoder>,
}

thread_local! {
    static PARTS: RefCell<Parts> = const { RefCell::new(Parts::new()) };
    static MODEL: RefCell<Option<Model>> = const { RefCell::new(None) };
}

/// What a request calls this generator where there are others.
const EXTRACTIVE: &str = "extractive";

struct Component;

impl Snapshot for Component {
    fn load(part: String, chunk: Vec<u8>) -> Result<(), String> {
        let known = [setup::SETUP, setup::TOKENIZER, setup::READER_TOKENIZER];
        PARTS.with_borrow_mut(|parts| parts.append(part, chunk, &known))
    }

    fn finish() -> Result<(), String> {
        let mut parts = PARTS.take();
        let setup: GeneratorSetup = parts.take_setup()?;
        let encoder = SentenceEncoder {
            encoder: parts.take_encoder(setup.max_tokens)?,
            graph: setup.graph.clone(),
            pooling: setup.pooling,
        };
        let reader = match &setup.reader {
            Some(ReaderSetup { model, max_tokens, .. }) if *max_tokens < read::NARROWEST => {
                return Err(format!(
                    "the window of `{model}` has {max_tokens} tokens; reading needs {}",
                    read::NARROWEST
                ));
            }
            Some(reader) => {
                parts.take_encoder_if_any(setup::READER_TOKENIZER, reader.max_tokens)?
            }
            None => None,
        };
        MODEL.set(Some(Model { setup, encoder, reader }));
        sealed();
        Ok(())
    }
}

impl Generator for Component {
    type Answer = Extracted;

    fn generate(
        question: String,
        passages: Vec<Ranked>,
        options: GenerationOptions,
    ) -> Result<Answer, Error> {
        let most = options.max_sentences as usize;
        if !(1..=20).contains(&most) {
            return Err(Error::InvalidInput(format!("max_sentences is {most}; it may be 1 to 20")));
        }
        if let Some(model) = options.model.filter(|model| model != EXTRACTIVE) {
            let text = format!("no language model is called `{model}`; the host has none");
            return Err(Error::InvalidInput(text));
        }
        if question.trim().is_empty() {
            return Err(Error::InvalidInput("the question is empty".to_owned()));
        }
        MODEL.with_borrow(|model| {
            let model = model.as_ref().ok_or_else(|| {
                Error::NotInitialized("the generator was given no tokenizer".to_owned())
            })?;
            let threshold = options.threshold.unwrap_or(model.setup.threshold);
            let encoder = model.reader.as_ref().unwrap_or(&model.encoder.encoder);
            let reader = model.setup.reader.as_ref().map(|setup| Reader { setup, encoder });
            let name = reader.as_ref().map_or(&model.setup.model, |reader| &reader.setup.model);
            let extraction =
                extract::extract(&model.encoder, reader.as_ref(), &question, &passages, most)?;
            Ok(Answer::new(Extracted::new(extraction, threshold, name)))
        })
    }

    fn models() -> Vec<String> {
        vec![]
    }
}

/// An answer: its parts still to be pulled, and how it ends.
struct Extracted {
    parts: RefCell<VecDeque<Part>>,
    summary: Summary,
}

impl Extracted {
    fn new(extraction: Extraction, threshold: f32, model: &str) -> Extracted {
        let abstained = extraction.quotes.is_empty() || extraction.evidence < threshold;
        let quotes = if abstained { vec![] } else { extraction.quotes };
        let mut parts = VecDeque::with_capacity(quotes.len() * 2);
        let mut after_code = None;
        for quote in quotes {
            let space = match after_code.replace(quote.code) {
                None => "",
                Some(after_code) if after_code || quote.code => "\n\n",
                Some(_) => " ",
            };
            parts.push_back(Part::Text(format!("{space}{}", quote.plain)));
            parts.push_back(Part::Citation(Citation {
                passage: quote.passage as u32,
                start: quote.start,
                end: quote.end,
                quote: quote.verbatim,
                answer: quote.answer.map(|range| Span { start: range.start, end: range.end }),
            }));
        }
        let reason = match (abstained, extraction.more) {
            (true, _) => FinishReason::Abstained,
            (false, true) => FinishReason::Length,
            (false, false) => FinishReason::Stop,
        };
        let summary = Summary {
            reason,
            evidence: extraction.evidence,
            threshold,
            passages_dropped: extraction.passages_dropped as u32,
            model: model.to_owned(),
            usage: None,
        };
        Extracted { parts: RefCell::new(parts), summary }
    }
}

impl GuestAnswer for Extracted {
    fn next(&self) -> Result<Option<Part>, Error> {
        Ok(self.parts.borrow_mut().pop_front())
    }

    fn summary(&self) -> Summary {
        self.summary.clone()
    }
}

bindings::export!(Component with_types_in bindings);
