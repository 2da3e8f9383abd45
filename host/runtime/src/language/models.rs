//! The language models of an application, on their devices.

use std::fmt;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use trine_inference::generation::{Generations, Usage};
use trine_inference::text::{ChatTemplate, TextTokenizer};

/// A language model that guests ask for by name.
pub struct LanguageModel {
    name: String,
    context: usize,
    generations: Generations,
    tokenizer: Arc<TextTokenizer>,
    template: Option<ChatTemplate>,
    pub(super) counts: Counts,
}

/// What was asked of a model.
#[derive(Default)]
pub(super) struct Counts {
    open: Gauge,
    completions: Counter,
    prompt: Counter,
    cached: Counter,
    generated: Counter,
}

impl Counts {
    /// A completion that begins.
    pub(super) fn begun(&self) {
        self.open.inc();
        self.completions.inc();
    }

    /// A completion that has ended.
    pub(super) fn ended(&self, usage: &Usage) {
        self.open.dec();
        self.prompt.inc_by(usage.prompt_tokens as u64);
        self.cached.inc_by(usage.cached_tokens as u64);
        self.generated.inc_by(usage.generated_tokens as u64);
    }
}

impl LanguageModel {
    /// A model of this name that `generations` has taken to a device, of so many tokens at most.
    pub fn new(
        name: String,
        context: usize,
        generations: Generations,
        tokenizer: Arc<TextTokenizer>,
        template: Option<ChatTemplate>,
    ) -> LanguageModel {
        let counts = Counts::default();
        LanguageModel { name, context, generations, tokenizer, template, counts }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tokens that it reads and writes at most.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The device's loop that makes its answers.
    pub fn generations(&self) -> &Generations {
        &self.generations
    }

    pub(super) fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    pub(super) fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }
}

/// The language models that an application may ask for, the preferred first. Clones share them.
#[derive(Clone, Default)]
pub struct LanguageModels(Arc<[Arc<LanguageModel>]>);

impl LanguageModels {
    /// These, of which the first is preferred.
    pub fn new(models: Vec<LanguageModel>) -> LanguageModels {
        LanguageModels(models.into_iter().map(Arc::new).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, the preferred first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LanguageModel>> {
        self.0.iter()
    }

    /// The model of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<LanguageModel>> {
        self.iter().find(|model| model.name == name)
    }

    /// Names what is counted of each model.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for model in self.iter() {
            let LanguageModel { name, counts, .. } = &**model;
            let label = ("model".into(), name.clone().into());
            let of = registry.sub_registry_with_label(label);
            of.register("completions_open", "Completions under way", counts.open.clone());
            of.register("completions", "Completions begun", counts.completions.clone());
            of.register("prompt_tokens", "Tokens of prompts", counts.prompt.clone());
            let help = "Tokens of prompts that the cache had already";
            of.register("cached_tokens", help, counts.cached.clone());
            of.register("generated_tokens", "Tokens written", counts.generated.clone());
        }
    }
}

impl fmt::Debug for LanguageModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|model| model.name())).finish()
    }
}
