//! What guests do with language models. Everything that they pass is untrusted: texts, tokens and
//! options are held against the model's context and the request's budget before a device sees them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use trine_inference::generation::{
    EndReason, Generation, GenerationEvent, GenerationRequest, Usage,
};
use trine_inference::text::Message;
use trine_inference::{InferenceError, Sampling};
use wasmtime::component::{Resource, ResourceTable};

use super::{LanguageModel, LanguageModels};
use crate::bindings::language::trine::inference::generation as wit;

/// Bytes that a token may stand for in what a session is given: far more than any text's.
const BYTES_A_TOKEN: usize = 32;
/// Sessions and completions that a request may hold at the same time.
const MOST_HELD: usize = 64;

/// Language models in one request.
pub(crate) struct LanguageState {
    pub(crate) models: LanguageModels,
    /// Tokens that the request may still have read and written.
    pub(crate) tokens: usize,
    /// Time that the request may still wait for language models.
    pub(crate) time: Duration,
    /// When the request must have its answer.
    pub(crate) deadline: Instant,
    /// Time that it waited.
    pub(crate) spent: Duration,
    /// Sessions and completions that it holds.
    pub(crate) held: usize,
}

impl LanguageState {
    /// What comes next of an answer; nothing where the request's time is over.
    pub(super) async fn next(
        &mut self,
        generation: &mut Generation,
    ) -> Option<Option<GenerationEvent>> {
        let asked = Instant::now();
        let left = self.deadline.saturating_duration_since(asked).min(self.time);
        let event = timeout(left, generation.next()).await;
        let waited = asked.elapsed();
        self.spent += waited;
        self.time = self.time.saturating_sub(waited);
        event.ok()
    }
}

/// A view of the state and the table that its resources live in.
pub(crate) struct LanguageView<'a> {
    pub(crate) language: &'a mut LanguageState,
    pub(crate) table: &'a mut ResourceTable,
}

/// What a guest has had a model read and write: tokens. Their keys and values are the cache's, which
/// finds them again by the tokens.
pub struct Session {
    model: Arc<LanguageModel>,
    tokens: Arc<Mutex<Vec<u32>>>,
}

/// A text being written. Dropping it ends the work on the device within a step.
pub struct Completion {
    session: Arc<Mutex<Vec<u32>>>,
    state: State,
}

enum State {
    Writing(Generation),
    /// All text was given but the end.
    Ended(wit::Completed),
    Failed(wit::Error),
}

type Fallible<T> = Result<T, wit::Error>;

fn held(tokens: &Mutex<Vec<u32>>) -> MutexGuard<'_, Vec<u32>> {
    // A list of numbers is whole at any time.
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LanguageView<'_> {
    /// Room for one more session or completion.
    fn hold(&mut self) -> wasmtime::Result<()> {
        if self.language.held == MOST_HELD {
            wasmtime::bail!("the request holds {MOST_HELD} sessions and completions already");
        }
        self.language.held += 1;
        Ok(())
    }
}

/// The tokens that an input adds to a session.
fn tokens(Session { model, tokens }: &Session, input: wit::Input) -> Fallible<Vec<u32>> {
    read(model, held(tokens).is_empty(), input).map_err(wit::Error::InvalidInput)
}

fn read(model: &LanguageModel, empty: bool, input: wit::Input) -> Result<Vec<u32>, String> {
    let most = model.context().saturating_mul(BYTES_A_TOKEN);
    let fits = |bytes: usize| match bytes > most {
        true => Err(format!("{bytes} bytes; `{}` reads {} tokens", model.name(), model.context())),
        false => Ok(()),
    };
    let (text, special) = match input {
        wit::Input::Tokens(tokens) => return Ok(tokens),
        wit::Input::Text(text) => (text, empty),
        wit::Input::Chat(_) if !empty => {
            return Err("messages are for a session that has read nothing".to_owned());
        }
        wit::Input::Chat(messages) => {
            let template = model.template();
            let template = template
                .ok_or_else(|| format!("`{}` has no template for messages", model.name()))?;
            fits(messages.iter().map(|m| m.role.len() + m.content.len()).sum())?;
            let message = |m: wit::Message| Message { role: m.role, content: m.content };
            let messages: Vec<Message> = messages.into_iter().map(message).collect();
            (template.prompt(&messages).map_err(|e| e.to_string())?, false)
        }
    };
    fits(text.len())?;
    model.tokenizer().encode(&text, special).map_err(|e| e.to_string())
}

impl wit::Host for LanguageView<'_> {
    fn models(&mut self) -> wasmtime::Result<Vec<wit::Description>> {
        Ok(self.language.models.iter().map(|model| describe(model)).collect())
    }
}

fn describe(model: &LanguageModel) -> wit::Description {
    wit::Description {
        name: model.name().to_owned(),
        context: u32::try_from(model.context()).unwrap_or(u32::MAX),
        chat: model.template().is_some(),
    }
}

impl wit::HostSession for LanguageView<'_> {
    fn create(&mut self, name: String) -> wasmtime::Result<Fallible<Resource<Session>>> {
        let Some(model) = self.language.models.find(&name) else {
            let names: Vec<&str> = self.language.models.iter().map(|m| m.name()).collect();
            let text =
                format!("no language model is called `{name}`; there are: {}", names.join(", "));
            return Ok(Err(wit::Error::UnknownModel(text)));
        };
        let session = Session { model: model.clone(), tokens: Arc::default() };
        self.hold()?;
        Ok(Ok(self.table.push(session)?))
    }

    fn describe(&mut self, session: Resource<Session>) -> wasmtime::Result<wit::Description> {
        Ok(describe(&self.table.get(&session)?.model))
    }

    fn count(
        &mut self,
        session: Resource<Session>,
        input: wit::Input,
    ) -> wasmtime::Result<Fallible<u32>> {
        let tokens = tokens(self.table.get(&session)?, input);
        Ok(tokens.map(|tokens| tokens.len() as u32))
    }

    fn prefill(
        &mut self,
        session: Resource<Session>,
        input: wit::Input,
    ) -> wasmtime::Result<Fallible<u32>> {
        let session = self.table.get(&session)?;
        let more = match tokens(session, input) {
            Ok(more) => more,
            Err(error) => return Ok(Err(error)),
        };
        let context = session.model.context();
        let mut tokens = held(&session.tokens);
        if tokens.len().saturating_add(more.len()) >= context {
            let all = tokens.len().saturating_add(more.len());
            let text =
                format!("{all} tokens leave no room for an answer; the model reads {context}");
            return Ok(Err(wit::Error::InvalidInput(text)));
        }
        tokens.extend(more);
        Ok(Ok(tokens.len() as u32))
    }

    fn fork(&mut self, session: Resource<Session>) -> wasmtime::Result<Resource<Session>> {
        self.hold()?;
        let Session { model, tokens } = self.table.get(&session)?;
        let tokens = Mutex::new(held(tokens).clone());
        let fork = Session { model: model.clone(), tokens: Arc::new(tokens) };
        Ok(self.table.push(fork)?)
    }

    async fn decode(
        &mut self,
        session: Resource<Session>,
        options: wit::Options,
    ) -> wasmtime::Result<Fallible<Resource<Completion>>> {
        let Session { model, tokens } = self.table.get(&session)?;
        let (model, session) = (model.clone(), tokens.clone());
        let prompt = held(&session).clone();
        let Some(left) = self.language.tokens.checked_sub(prompt.len()) else {
            let (asked, left) = (prompt.len(), self.language.tokens);
            let text = format!("a prompt of {asked} tokens; the request may use {left} more");
            return Ok(Err(wit::Error::OverBudget(text)));
        };
        let room = model.context().saturating_sub(prompt.len());
        let request = GenerationRequest {
            prompt,
            max_tokens: (options.max_tokens as usize).min(room),
            sampling: sampling(options.sampling),
            stop: options.stop,
            ignore_end: false,
            logits: false,
        };
        let generation = match model.generations().generate(request).await {
            Ok(generation) => generation,
            Err(error) => return Ok(Err(refused(&error))),
        };
        self.hold()?;
        self.language.tokens = left;
        Ok(Ok(self.table.push(Completion { session, state: State::Writing(generation) })?))
    }

    fn drop(&mut self, session: Resource<Session>) -> wasmtime::Result<()> {
        self.table.delete(session)?;
        self.language.held -= 1;
        Ok(())
    }
}

impl wit::HostCompletion for LanguageView<'_> {
    async fn next(
        &mut self,
        completion: Resource<Completion>,
    ) -> wasmtime::Result<Fallible<wit::Event>> {
        let completion = self.table.get_mut(&completion)?;
        let State::Writing(generation) = &mut completion.state else {
            return Ok(completion.end());
        };
        let event = self.language.next(generation).await;
        Ok(completion.take(event, &mut self.language.tokens))
    }

    fn drop(&mut self, completion: Resource<Completion>) -> wasmtime::Result<()> {
        self.table.delete(completion)?;
        self.language.held -= 1;
        Ok(())
    }
}

impl Completion {
    /// What the guest is told of an event; none came where the time was over.
    fn take(
        &mut self,
        event: Option<Option<GenerationEvent>>,
        tokens: &mut usize,
    ) -> Fallible<wit::Event> {
        let over = |what: &str| {
            wit::Error::OverBudget(format!("the request's {what} for language models are used up"))
        };
        self.state = match event {
            None => State::Failed(over("seconds")),
            Some(None | Some(GenerationEvent::Logits { .. })) => {
                State::Failed(wit::Error::Failed("the device has stopped".to_owned()))
            }
            Some(Some(GenerationEvent::Failed(error))) => State::Failed(refused(&error)),
            Some(Some(GenerationEvent::End { reason, text, usage })) => {
                let end = State::Ended(completed(reason, &usage));
                if !text.is_empty() {
                    self.state = end;
                    return Ok(wit::Event::Rest(text));
                }
                end
            }
            Some(Some(GenerationEvent::Token { token, text })) => match tokens.checked_sub(1) {
                Some(left) => {
                    *tokens = left;
                    held(&self.session).push(token);
                    return Ok(wit::Event::Piece(wit::Piece { token, text }));
                }
                None => State::Failed(over("tokens")),
            },
        };
        self.end()
    }

    fn end(&self) -> Fallible<wit::Event> {
        match &self.state {
            State::Ended(end) => Ok(wit::Event::End(*end)),
            State::Failed(error) => Err(error.clone()),
            State::Writing(_) => Err(wit::Error::Failed("it has not ended".to_owned())),
        }
    }
}

fn sampling(asked: wit::Sampling) -> Sampling {
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

fn completed(reason: EndReason, usage: &Usage) -> wit::Completed {
    wit::Completed {
        finish: match reason {
            EndReason::End => wit::Finish::End,
            EndReason::Stop => wit::Finish::Stop,
            EndReason::Length => wit::Finish::Length,
        },
        usage: wit::Usage {
            prompt_tokens: usage.prompt_tokens as u32,
            cached_tokens: usage.cached_tokens as u32,
            generated_tokens: usage.generated_tokens as u32,
        },
    }
}

fn refused(error: &InferenceError) -> wit::Error {
    let text = error.to_string();
    match error {
        // A request that the whole cache has no room for never will have any.
        InferenceError::InvalidInput { .. } | InferenceError::CacheFull => {
            wit::Error::InvalidInput(text)
        }
        InferenceError::Busy { .. } | InferenceError::Late | InferenceError::DeviceLost(_) => {
            wit::Error::Busy(text)
        }
        _ => wit::Error::Failed(text),
    }
}
