//! What has been read and written: tokens.

use std::cell::RefCell;
use std::rc::Rc;

use trine_language::{Message, Sampling};

use crate::bindings::exports::trine::inference::generation::{
    Completion as CompletionResource, Description, Error, GuestSession, Input, Options,
    Sampling as Asked, Session as SessionResource,
};
use crate::completion::Completion;
use crate::{Model, with_model};

/// Tokens, shared with the completions that add to them.
#[derive(Default)]
pub struct Session(Rc<RefCell<Vec<u32>>>);

impl Session {
    /// The tokens that an input adds.
    fn read(&self, input: Input) -> Result<Vec<u32>, Error> {
        let empty = self.0.borrow().is_empty();
        let read = with_model(|model| model.tokens(empty, input));
        read.unwrap_or_else(|| Err(NOT_FILLED.to_owned())).map_err(Error::InvalidInput)
    }
}

const NOT_FILLED: &str = "the decoder was given no model";

impl Model {
    fn tokens(&self, empty: bool, input: Input) -> Result<Vec<u32>, String> {
        let (text, special) = match input {
            Input::Tokens(tokens) => return Ok(tokens),
            Input::Text(text) => (text, empty),
            Input::Chat(_) if !empty => {
                return Err("messages are for a session that has read nothing".to_owned());
            }
            Input::Chat(messages) => {
                let name = &self.setup.model;
                let template = self.setup.template.as_ref();
                let template =
                    template.ok_or_else(|| format!("`{name}` has no template for messages"))?;
                let messages = messages.into_iter();
                let messages: Vec<Message> =
                    messages.map(|m| Message { role: m.role, content: m.content }).collect();
                (template.prompt(&messages).map_err(|e| e.to_string())?, false)
            }
        };
        self.tokenizer.encode(&text, special).map_err(|e| e.to_string())
    }
}

impl GuestSession for Session {
    fn create(name: String) -> Result<SessionResource, Error> {
        let known = with_model(|model| model.setup.model.clone()).unwrap_or_default();
        if name != known {
            let text = format!("no language model is called `{name}`; there is: {known}");
            return Err(Error::UnknownModel(text));
        }
        Ok(SessionResource::new(Session::default()))
    }

    fn describe(&self) -> Description {
        let nothing = || Description { name: String::new(), context: 0, chat: false };
        with_model(Model::describe).unwrap_or_else(nothing)
    }

    fn count(&self, input: Input) -> Result<u32, Error> {
        self.read(input).map(|tokens| tokens.len() as u32)
    }

    fn prefill(&self, input: Input) -> Result<u32, Error> {
        let more = self.read(input)?;
        let (mut tokens, context) = (self.0.borrow_mut(), self.describe().context);
        let all = tokens.len() + more.len();
        if all >= context as usize {
            let text =
                format!("{all} tokens leave no room for an answer; the model reads {context}");
            return Err(Error::InvalidInput(text));
        }
        tokens.extend(more);
        Ok(all as u32)
    }

    fn fork(&self) -> SessionResource {
        let tokens = self.0.borrow().clone();
        SessionResource::new(Session(Rc::new(RefCell::new(tokens))))
    }

    fn decode(&self, options: Options) -> Result<CompletionResource, Error> {
        let context = self.describe().context as usize;
        let sampling = sampling(options.sampling);
        sampling.check().map_err(|error| Error::InvalidInput(error.to_string()))?;
        let read = self.0.borrow().len();
        let most = (options.max_tokens as usize).min(context.saturating_sub(read));
        if read == 0 || most == 0 {
            let text = "there must be a token to read and one to write at least";
            return Err(Error::InvalidInput(text.to_owned()));
        }
        let completion = Completion::new(self.0.clone(), most, options.stop, sampling)?;
        Ok(CompletionResource::new(completion))
    }
}

fn sampling(asked: Asked) -> Sampling {
    Sampling {
        temperature: asked.temperature,
        top_k: asked.top_k as usize,
        top_p: asked.top_p,
        min_p: asked.min_p,
        repetition_penalty: asked.repetition_penalty,
        seed: asked.seed,
        logit_bias: asked.logit_bias,
    }
}
