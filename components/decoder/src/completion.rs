//! A text being written, a call of the model for each token.

use std::cell::RefCell;
use std::rc::Rc;

use trine_guest_nn::{Graph, NnError, Tensor};
use trine_language::{MOST_STOP_BYTES, MOST_STOPS, Sampler, Sampling, Stop, TextError, TextStream};

use crate::bindings::exports::trine::inference::generation::{
    Completed, Error, Event, Finish, GuestCompletion, Piece, Usage,
};
use crate::{Model, with_model};

pub struct Completion(RefCell<State>);

struct State {
    graph: Graph,
    /// The session's.
    tokens: Rc<RefCell<Vec<u32>>>,
    sampling: Sampling,
    /// Made when the model has said how large its vocabulary is.
    sampler: Option<Sampler>,
    stream: TextStream,
    stop: Stop,
    usage: Usage,
    most: usize,
    /// Text that was held back, and the end.
    rest: String,
    end: Option<Finish>,
}

impl Completion {
    /// Writes on from the session's tokens, at most so many.
    pub fn new(
        tokens: Rc<RefCell<Vec<u32>>>,
        most: usize,
        stop: Vec<String>,
        sampling: Sampling,
    ) -> Result<Completion, Error> {
        if stop.len() > MOST_STOPS || stop.iter().any(|stop| stop.len() > MOST_STOP_BYTES) {
            let text = format!(
                "stop: at most {MOST_STOPS} texts, of at most {MOST_STOP_BYTES} bytes each"
            );
            return Err(Error::InvalidInput(text));
        }
        let name = with_model(|model| model.setup.model.clone()).unwrap_or_default();
        let graph = Graph::load(&name)?;
        let prompt_tokens = tokens.borrow().len() as u32;
        let usage = Usage { prompt_tokens, cached_tokens: 0, generated_tokens: 0 };
        Ok(Completion(RefCell::new(State {
            graph,
            tokens,
            sampling,
            sampler: None,
            stream: TextStream::default(),
            stop: Stop::new(stop),
            usage,
            most,
            rest: String::new(),
            end: None,
        })))
    }
}

impl GuestCompletion for Completion {
    fn next(&self) -> Result<Event, Error> {
        let mut state = self.0.borrow_mut();
        if state.end.is_none()
            && let Some(piece) = state.write()?
        {
            return Ok(Event::Piece(piece));
        }
        if !state.rest.is_empty() {
            return Ok(Event::Rest(std::mem::take(&mut state.rest)));
        }
        let (finish, usage) = (state.end.unwrap_or(Finish::End), state.usage);
        Ok(Event::End(Completed { finish, usage }))
    }
}

impl State {
    /// The next token and what it adds; `None` where the model ends.
    fn write(&mut self) -> Result<Option<Piece>, Error> {
        let mut logits = self.logits()?;
        let sampler = self.sampler.get_or_insert_with(|| {
            Sampler::new(self.sampling.clone(), logits.len(), &self.tokens.borrow())
        });
        let token = sampler.sample(&mut logits);
        let written = with_model(|model| self.take(model, token));
        written.transpose().map(Option::flatten).map_err(|error| Error::Failed(error.to_string()))
    }

    /// The logits after the text so far, `[v]`.
    fn logits(&self) -> Result<Vec<f32>, Error> {
        let tokens = self.tokens.borrow();
        let row = || std::iter::once(tokens.as_slice());
        let outputs = self.graph.compute(vec![
            ("input_ids", Tensor::rows(row(), 0)),
            ("attention_mask", Tensor::mask(row())),
        ])?;
        // Of the last token, or, as exported models have it, of each.
        let (dimensions, mut logits) = outputs.f32("logits")?;
        let vocabulary = dimensions.last().map_or(0, |&v| v as usize);
        if vocabulary == 0 || logits.is_empty() {
            return Err(Error::Failed(format!("the model's `logits` are {dimensions:?}")));
        }
        Ok(logits.split_off(logits.len() - vocabulary))
    }

    fn take(&mut self, model: &Model, token: u32) -> Result<Option<Piece>, TextError> {
        if model.setup.ends.contains(&token) {
            self.finish(model, Finish::End);
            return Ok(None);
        }
        self.usage.generated_tokens += 1;
        self.tokens.borrow_mut().push(token);
        let text = self.stream.push(&model.tokenizer, token)?;
        let (text, stopped) = self.stop.push(&text);
        if stopped {
            self.end = Some(Finish::Stop);
        } else if self.usage.generated_tokens as usize == self.most {
            self.finish(model, Finish::Length);
        }
        Ok(Some(Piece { token, text }))
    }

    /// Gives what was held back.
    fn finish(&mut self, model: &Model, finish: Finish) {
        let rest = self.stream.finish(&model.tokenizer).unwrap_or_default();
        let (text, stopped) = self.stop.push(&rest);
        self.rest = text;
        if !stopped {
            self.rest.push_str(&self.stop.finish());
        }
        self.end = Some(if stopped { Finish::Stop } else { finish });
    }
}

impl From<NnError> for Error {
    fn from(error: NnError) -> Error {
        match error {
            NnError::Busy(text) => Error::Busy(text),
            NnError::InvalidInput(text) | NnError::Failed(text) => Error::Failed(text),
        }
    }
}
