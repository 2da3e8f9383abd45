//! The writer: a language model in front of the generator, behind the same contract.
//!
//! The generator that it imports weighs the evidence and abstains; the writer asks a language model of
//! the host's only where there is enough. What the model writes is checked as it comes: `marks` finds
//! the numbers of the passages that it cites, `check` holds each sentence against them. It is a
//! component of its own because a component's imports cannot be optional: on a host with wasi:nn
//! alone the generator stands without it.

mod check;
mod marks;
mod prompt;
mod written;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trine:rag/writer-component",
        generate_all,
    });
}

use bindings::exports::trine::rag::generator::{
    Answer, Citation, FinishReason, GenerationOptions, Guest, GuestAnswer, Part, Summary,
};
use bindings::trine::inference::generation::{self, Error as ModelError, Session};
use bindings::trine::rag::generator as extractive;
use bindings::trine::rag::types::{Error, Ranked};

use prompt::Prompt;
use written::Written;

/// What a request calls the generator that writes nothing of its own.
const EXTRACTIVE: &str = "extractive";

struct Component;

impl Guest for Component {
    type Answer = Made;

    fn generate(
        question: String,
        passages: Vec<Ranked>,
        options: GenerationOptions,
    ) -> Result<Answer, Error> {
        let model = chosen(options.model.as_deref())?;
        let quoted = extractive::generate(&question, &passages, &extracted(&options))?;
        let evidence = quoted.summary();
        let Some(model) = model.filter(|_| evidence.reason != extractive::FinishReason::Abstained)
        else {
            return Ok(Answer::new(Made::Quoted(quoted)));
        };
        let session = Session::create(&model)?;
        let prompt = Prompt::new(&session, &question, &passages, &options)?;
        let completion = session.decode(&prompt.options)?;
        let summary = Summary {
            reason: FinishReason::Stop,
            evidence: evidence.evidence,
            threshold: evidence.threshold,
            passages_dropped: (passages.len() - prompt.passages) as u32,
            model,
            usage: None,
        };
        let read = passages.into_iter().take(prompt.passages).collect();
        Ok(Answer::new(Made::Written(Box::new(Written::new(completion, read, summary)))))
    }

    fn models() -> Vec<String> {
        generation::models().into_iter().map(|model| model.name).collect()
    }
}

/// The language model that a request names, or the first; none where nothing shall be written, or
/// nothing is there that could.
fn chosen(name: Option<&str>) -> Result<Option<String>, Error> {
    let models = Component::models();
    match name.or(models.first().map(String::as_str)) {
        None | Some(EXTRACTIVE) => Ok(None),
        Some(name) if models.iter().any(|model| model == name) => Ok(Some(name.to_owned())),
        Some(name) => {
            let known = models.join(", ");
            let text =
                format!("no language model is called `{name}`; there are {EXTRACTIVE}, {known}");
            Err(Error::InvalidInput(text))
        }
    }
}

/// An answer of either kind.
enum Made {
    /// In the documents' words.
    Quoted(extractive::Answer),
    /// In a model's.
    Written(Box<Written>),
}

impl GuestAnswer for Made {
    fn next(&self) -> Result<Option<Part>, Error> {
        match self {
            Made::Quoted(answer) => Ok(answer.next()?.map(quoted_part)),
            Made::Written(written) => written.next(),
        }
    }

    fn summary(&self) -> Summary {
        match self {
            Made::Quoted(answer) => quoted_summary(answer.summary()),
            Made::Written(written) => written.summary(),
        }
    }
}

/// The options for the generator behind this one.
fn extracted(options: &GenerationOptions) -> extractive::GenerationOptions {
    extractive::GenerationOptions {
        max_sentences: options.max_sentences,
        max_tokens: options.max_tokens,
        threshold: options.threshold,
        model: None,
        writing: extractive::Writing {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            stop: vec![],
            logit_bias: vec![],
            order: extractive::Order::BestFirst,
            history: vec![],
        },
    }
}

fn quoted_part(part: extractive::Part) -> Part {
    match part {
        extractive::Part::Citation(c) => Part::Citation(Citation {
            passage: c.passage,
            start: c.start,
            end: c.end,
            quote: c.quote,
            answer: c.answer,
        }),
        extractive::Part::Text(text) => Part::Text(text),
        // It has nothing to check, and so none.
        extractive::Part::Sentence(_) => Part::Text(String::new()),
    }
}

fn quoted_summary(summary: extractive::Summary) -> Summary {
    Summary {
        reason: match summary.reason {
            extractive::FinishReason::Stop => FinishReason::Stop,
            extractive::FinishReason::Length => FinishReason::Length,
            extractive::FinishReason::Abstained => FinishReason::Abstained,
        },
        evidence: summary.evidence,
        threshold: summary.threshold,
        passages_dropped: summary.passages_dropped,
        model: summary.model,
        usage: None,
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Error {
        match error {
            ModelError::UnknownModel(text) | ModelError::InvalidInput(text) => {
                Error::InvalidInput(text)
            }
            ModelError::Busy(text) => Error::Busy(text),
            ModelError::OverBudget(text) => Error::OverBudget(text),
            ModelError::Failed(text) => Error::Inference(text),
        }
    }
}

bindings::export!(Component with_types_in bindings);
