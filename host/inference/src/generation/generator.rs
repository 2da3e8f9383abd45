//! Many answers in one running batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use trine_kernels::{DecoderDevice, KernelError, PAGE};
use trine_language::{MOST_STOP_BYTES, MOST_STOPS, Sampler, Stop, TextStream, TextTokenizer};

use super::metrics::{Metrics, Outcome};
use super::sessions::{Feed, SessionId, Sessions};
use super::shared::{Part, SharedDevice};
use super::{EndReason, GenerationEvent, GenerationRequest, Usage};
use crate::scheduler::Lease;
use crate::{DecoderConfig, InferenceError};

/// How a generator shares the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorOptions {
    /// Tokens of prompts that a step reads at most while no answer is under way.
    pub prompt_tokens: usize,
    /// The same while answers are: how long they wait between two tokens.
    pub prompt_tokens_beside: usize,
    /// Answers under way at once at most.
    pub answers: usize,
    /// Answers that may wait for others to end.
    pub waiting: usize,
}

impl Default for GeneratorOptions {
    fn default() -> GeneratorOptions {
        GeneratorOptions {
            prompt_tokens: 512,
            prompt_tokens_beside: 128,
            answers: 64,
            waiting: 256,
        }
    }
}

/// Answers under way on a device. Every call is for the device's owner thread.
pub struct Generator<D: DecoderDevice> {
    sessions: Sessions<D>,
    tokenizer: Option<Arc<TextTokenizer>>,
    options: GeneratorOptions,
    waiting: VecDeque<Waiting>,
    answers: Vec<Answer>,
    metrics: Arc<Metrics>,
    shared: Arc<SharedDevice>,
    /// What a step reads of prompts while the device is shared.
    part: Part,
    /// The tokens that end a text.
    ends: Vec<u32>,
}

struct Waiting {
    request: GenerationRequest,
    events: mpsc::Sender<GenerationEvent>,
    since: Instant,
}

struct Answer {
    session: SessionId,
    request: GenerationRequest,
    events: mpsc::Sender<GenerationEvent>,
    sampler: Sampler,
    stream: TextStream,
    stop: Stop,
    /// Tokens that the session has not read: the rest of the prompt, or the last token chosen.
    unread: VecDeque<u32>,
    usage: Usage,
    since: Instant,
    /// Pages that it may come to need.
    pages: usize,
}

/// Events that wait for a caller at most: an answer's tokens and its end.
pub(super) fn room(request: &GenerationRequest) -> usize {
    request.answer().saturating_add(1)
}

impl<D: DecoderDevice> Generator<D> {
    /// Makes answers with these sessions. Without a tokenizer there are tokens and no text.
    pub fn new(
        sessions: Sessions<D>,
        tokenizer: Option<Arc<TextTokenizer>>,
        options: GeneratorOptions,
    ) -> Generator<D> {
        let (waiting, answers, metrics) = (VecDeque::new(), Vec::new(), Arc::default());
        let (shared, part) = (Arc::default(), Part::FIRST);
        let ends = sessions.config().ends.clone();
        Generator { sessions, tokenizer, options, waiting, answers, metrics, shared, part, ends }
    }

    /// Counts what it does there.
    pub(super) fn counted(self, metrics: Arc<Metrics>) -> Generator<D> {
        Generator { metrics, ..self }
    }

    /// Waits for its turn there.
    pub(super) fn sharing(self, shared: Arc<SharedDevice>) -> Generator<D> {
        Generator { shared, ..self }
    }

    /// The sessions, for their counts.
    pub fn sessions(&self) -> &Sessions<D> {
        &self.sessions
    }

    /// Whether no answer is under way or waiting.
    pub fn is_idle(&self) -> bool {
        self.answers.is_empty() && self.waiting.is_empty()
    }

    /// Lines an answer up. `events` is told all that comes of it; dropping the other end ends the
    /// answer within a step. Fails where the request could never be met or too many wait already.
    pub fn submit(
        &mut self,
        request: GenerationRequest,
        events: mpsc::Sender<GenerationEvent>,
    ) -> Result<(), InferenceError> {
        if self.waiting.len() >= self.options.waiting {
            return Err(InferenceError::Busy { waiting: self.waiting.len() });
        }
        let DecoderConfig { context, vocabulary, .. } = *self.sessions.config();
        request.check(context, vocabulary)?;
        if !request.stop.is_empty() && self.tokenizer.is_none() {
            return Err(InferenceError::input("stop", "needs a tokenizer"));
        }
        if request.pages() > self.sessions.counts().pages {
            return Err(InferenceError::CacheFull);
        }
        self.waiting.push_back(Waiting { request, events, since: Instant::now() });
        Ok(())
    }

    /// One step of all answers: each under way gets its next token, prompts are read on. What fails
    /// fails the answers that were in the step; the generator goes on, unless its device was lost.
    pub fn step(&mut self) -> Result<(), InferenceError> {
        let turn = self.shared.turn(self.shares(true).into_iter().sum());
        // Who has gone meanwhile is not computed for.
        self.clear();
        self.admit();
        let started = Instant::now();
        let outcome = self.advance(turn);
        self.metrics.stepped(started.elapsed());
        if let Err(error @ InferenceError::DeviceLost(_)) = &outcome {
            self.fail(error);
        }
        self.metrics.stands(self.waiting.len(), self.answers.len());
        outcome
    }

    /// Fails all answers, under way and waiting.
    fn fail(&mut self, error: &InferenceError) {
        for at in (0..self.answers.len()).rev() {
            self.end(at, GenerationEvent::Failed(error.clone()));
        }
        for Waiting { request, events, .. } in std::mem::take(&mut self.waiting) {
            self.metrics.ended(Outcome::Failed, request.unread());
            // There is room for it, and nobody to tell where the caller has gone.
            let _ = events.try_send(GenerationEvent::Failed(error.clone()));
        }
    }

    /// Computes a step, in a `turn` where the device is shared.
    fn advance(&mut self, turn: Option<Lease>) -> Result<(), InferenceError> {
        let counts = self.shares(turn.is_some());
        let fed: Vec<usize> = (0..counts.len()).filter(|&at| counts[at] > 0).collect();
        if fed.is_empty() {
            return Ok(());
        }
        let tokens: Vec<Vec<u32>> = fed
            .iter()
            .map(|&at| self.answers[at].unread.iter().take(counts[at]).copied().collect())
            .collect();
        let feed = |(&at, tokens)| -> Feed<'_> {
            let answer: &Answer = &self.answers[at];
            Feed { session: answer.session, tokens, logits: counts[at] == answer.unread.len() }
        };
        let feeds: Vec<Feed> = fed.iter().zip(tokens.iter().map(Vec::as_slice)).map(feed).collect();
        let (read, started) = (self.read(&counts), Instant::now());
        let outcome = self.sessions.step(&feeds);
        if turn.is_some() && read > 0 {
            self.part = self.part.after(read, started.elapsed());
        }
        drop(turn);
        let logits = match outcome {
            Ok(logits) => logits,
            Err(error) => {
                let error = match error {
                    InferenceError::Kernel(KernelError::Lost(reason)) => {
                        InferenceError::DeviceLost(reason)
                    }
                    error => error,
                };
                for &at in fed.iter().rev() {
                    self.end(at, GenerationEvent::Failed(error.clone()));
                }
                return Err(error);
            }
        };
        let mut ended = Vec::new();
        for (&at, logits) in fed.iter().zip(logits) {
            let answer = &mut self.answers[at];
            answer.unread.drain(..counts[at]);
            if let Some(logits) = logits {
                let end = answer.next(logits, &self.ends, self.tokenizer.as_deref());
                if answer.usage.generated_tokens == 1 {
                    self.metrics.first_token(answer.since.elapsed());
                }
                ended.extend(end.map(|event| (at, event)));
            }
        }
        // From the last, so that those that end do not move the others.
        ended.into_iter().rev().for_each(|(at, event)| self.end(at, event));
        Ok(())
    }

    /// Lets go of answers that nobody waits for any more.
    fn clear(&mut self) {
        let metrics = &self.metrics;
        self.waiting.retain(|Waiting { request, events, .. }| {
            let gone = events.is_closed();
            if gone {
                metrics.ended(Outcome::Withdrawn, request.unread());
            }
            !gone
        });
        for at in (0..self.answers.len()).rev() {
            if self.answers[at].events.is_closed() {
                let answer = self.answers.remove(at);
                self.sessions.end(answer.session);
                self.metrics.ended(Outcome::Withdrawn, answer.usage);
            }
        }
    }

    /// Begins answers in the order in which they came, as long as there is room for all that they may
    /// come to need: none that is under way can then run out of it.
    fn admit(&mut self) {
        while let Some(Waiting { request, .. }) = self.waiting.front() {
            let taken: usize = self.answers.iter().map(|answer| answer.pages).sum();
            let pages = request.pages();
            let room = taken + pages <= self.sessions.counts().pages;
            if self.answers.len() >= self.options.answers || !room {
                return;
            }
            let Some(next) = self.waiting.pop_front() else { return };
            let Waiting { request, events, since } = next;
            let (session, cached) = self.sessions.create(&request.prompt);
            let vocabulary = self.sessions.config().vocabulary;
            self.answers.push(Answer {
                session,
                sampler: Sampler::new(request.sampling.clone(), vocabulary, &request.prompt),
                stream: TextStream::default(),
                stop: Stop::new(request.stop.clone()),
                unread: request.prompt[cached..].iter().copied().collect(),
                usage: Usage {
                    prompt_tokens: request.prompt.len(),
                    cached_tokens: cached,
                    generated_tokens: 0,
                },
                since,
                pages,
                request,
                events,
            });
        }
    }

    /// Tokens that each answer reads in this step: the one chosen last, or a part of its prompt, those
    /// that came first before the others. Where the device is shared, others wait for the step.
    fn shares(&self, shared: bool) -> Vec<usize> {
        let options = &self.options;
        let most = match self.answers.iter().any(Answer::is_writing) {
            true => options.prompt_tokens_beside,
            false => options.prompt_tokens,
        };
        let most = if shared { most.min(self.part.0) } else { most };
        let mut left = most.clamp(1, self.sessions.most_tokens().max(1));
        let share = |answer: &Answer| {
            if answer.is_writing() {
                return answer.unread.len();
            }
            let count = answer.unread.len().min(left);
            left -= count;
            count
        };
        self.answers.iter().map(share).collect()
    }

    /// How many of the tokens of a step are prompts'.
    fn read(&self, counts: &[usize]) -> usize {
        let answers = self.answers.iter().zip(counts);
        answers.filter(|(answer, _)| !answer.is_writing()).map(|(_, count)| count).sum()
    }

    fn end(&mut self, at: usize, event: GenerationEvent) {
        let answer = self.answers.remove(at);
        self.sessions.end(answer.session);
        self.metrics.ended(Outcome::of(&event), answer.usage);
        // There is room for it, and nobody to tell where the caller has gone.
        let _ = answer.events.try_send(event);
    }
}

impl Answer {
    /// Whether its prompt has been read.
    fn is_writing(&self) -> bool {
        self.usage.generated_tokens > 0
    }

    /// Chooses the next token, tells it, and says how the answer ends if it does.
    fn next(
        &mut self,
        logits: &mut [f32],
        ends: &[u32],
        tokenizer: Option<&TextTokenizer>,
    ) -> Option<GenerationEvent> {
        if self.request.logits {
            let (logits, usage) = (logits.to_vec(), self.usage);
            return Some(GenerationEvent::Logits { logits, usage });
        }
        let token = self.sampler.sample(logits);
        if ends.contains(&token) && !self.request.ignore_end {
            return Some(self.finish(EndReason::End, tokenizer));
        }
        self.usage.generated_tokens += 1;
        let text = match tokenizer.map(|tokenizer| self.stream.push(tokenizer, token)) {
            None => String::new(),
            Some(Ok(text)) => text,
            Some(Err(error)) => {
                return Some(GenerationEvent::Failed(InferenceError::Failed(error.to_string())));
            }
        };
        let (text, stopped) = self.stop.push(&text);
        let _ = self.events.try_send(GenerationEvent::Token { token, text });
        if stopped {
            let (reason, usage) = (EndReason::Stop, self.usage);
            return Some(GenerationEvent::End { reason, text: String::new(), usage });
        }
        if self.usage.generated_tokens == self.request.max_tokens {
            return Some(self.finish(EndReason::Length, tokenizer));
        }
        self.unread.push_back(token);
        None
    }

    fn finish(&mut self, reason: EndReason, tokenizer: Option<&TextTokenizer>) -> GenerationEvent {
        let rest = tokenizer.and_then(|tokenizer| self.stream.finish(tokenizer).ok());
        let (mut text, stopped) = self.stop.push(&rest.unwrap_or_default());
        if !stopped {
            text.push_str(&self.stop.finish());
        }
        let reason = if stopped { EndReason::Stop } else { reason };
        GenerationEvent::End { reason, text, usage: self.usage }
    }
}

impl GenerationRequest {
    /// Refuses what no model of this context and vocabulary could answer.
    fn check(&self, context: usize, vocabulary: usize) -> Result<(), InferenceError> {
        self.sampling.check()?;
        let (prompt, answer) = (self.prompt.len(), self.answer());
        if prompt == 0 || answer == 0 {
            let name = if prompt == 0 { "prompt" } else { "max_tokens" };
            return Err(InferenceError::input(name, "there must be one token at least"));
        }
        if prompt.checked_add(answer).is_none_or(|sum| sum > context) {
            let reason = format!("{prompt} tokens and {answer} to come; the model reads {context}");
            return Err(InferenceError::input("prompt", reason));
        }
        if let Some(token) = self.prompt.iter().find(|&&token| token as usize >= vocabulary) {
            let reason = format!("{token} is none of the vocabulary's {vocabulary} tokens");
            return Err(InferenceError::input("prompt", reason));
        }
        let long = self.stop.iter().any(|stop| stop.len() > MOST_STOP_BYTES);
        if self.stop.len() > MOST_STOPS || long {
            let reason = format!("at most {MOST_STOPS}, of at most {MOST_STOP_BYTES} bytes each");
            return Err(InferenceError::input("stop", reason));
        }
        Ok(())
    }

    /// What was counted of one that was never begun.
    fn unread(&self) -> Usage {
        Usage { prompt_tokens: self.prompt.len(), ..Usage::default() }
    }

    /// Pages that the whole of it takes.
    fn pages(&self) -> usize {
        (self.prompt.len() + self.answer()).div_ceil(PAGE)
    }
}
