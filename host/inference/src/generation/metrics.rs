//! What answers have come to, for operators (the names follow Prometheus' conventions).

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{EndReason, GenerationEvent, Usage};

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum Outcome {
    /// The model ended it.
    End,
    /// A stop string came.
    Stop,
    /// It had as many tokens as it might have.
    Length,
    /// Its caller went away.
    Withdrawn,
    /// It failed.
    Failed,
}

impl Outcome {
    pub(super) fn of(event: &GenerationEvent) -> Outcome {
        match event {
            GenerationEvent::End { reason: EndReason::End, .. } => Outcome::End,
            GenerationEvent::End { reason: EndReason::Stop, .. } => Outcome::Stop,
            GenerationEvent::End { reason: EndReason::Length, .. } => Outcome::Length,
            GenerationEvent::Logits { .. } => Outcome::Length,
            GenerationEvent::Token { .. } | GenerationEvent::Failed(_) => Outcome::Failed,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Outcome,
}

/// Counters of one model on one device.
#[derive(Debug)]
pub(super) struct Metrics {
    waiting: Gauge,
    under_way: Gauge,
    answers: Family<Labels, Counter>,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generated_tokens: Counter,
    first_token: Histogram,
    step: Histogram,
}

impl Default for Metrics {
    fn default() -> Metrics {
        // 1 ms to 131 s, doubled each time.
        let seconds = || Histogram::new(exponential_buckets(1e-3, 2.0, 18));
        Metrics {
            waiting: Gauge::default(),
            under_way: Gauge::default(),
            answers: Family::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            first_token: seconds(),
            step: seconds(),
        }
    }
}

impl Metrics {
    /// Names them in `registry`, which may add the model's name to all of them.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("waiting", "Answers waiting for room", self.waiting.clone());
        registry.register("under_way", "Answers under way", self.under_way.clone());
        registry.register("answers", "Answers, by what became of them", self.answers.clone());
        let read = "Tokens of prompts";
        registry.register("prompt_tokens", read, self.prompt_tokens.clone());
        let cached = "Tokens of prompts that the cache had already";
        registry.register("cached_tokens", cached, self.cached_tokens.clone());
        let written = "Tokens of answers";
        registry.register("generated_tokens", written, self.generated_tokens.clone());
        let first = "Seconds from an answer's arrival to its first token";
        registry.register("first_token_seconds", first, self.first_token.clone());
        let step = "Seconds of a step of all answers under way";
        registry.register("step_seconds", step, self.step.clone());
    }

    pub(super) fn stands(&self, waiting: usize, under_way: usize) {
        self.waiting.set(waiting as i64);
        self.under_way.set(under_way as i64);
    }

    pub(super) fn first_token(&self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
    }

    pub(super) fn stepped(&self, taken: Duration) {
        self.step.observe(taken.as_secs_f64());
    }

    pub(super) fn ended(&self, outcome: Outcome, usage: Usage) {
        self.answers.get_or_create(&Labels { outcome }).inc();
        self.prompt_tokens.inc_by(usage.prompt_tokens as u64);
        self.cached_tokens.inc_by(usage.cached_tokens as u64);
        self.generated_tokens.inc_by(usage.generated_tokens as u64);
    }
}
