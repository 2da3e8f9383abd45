//! The language models of an application, on their devices.

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use trine_inference::generation::Generations;
use trine_inference::text::{ChatTemplate, TextTokenizer};

/// A language model that guests ask for by name.
pub struct LanguageModel {
    name: String,
    context: usize,
    generations: Generations,
    tokenizer: Arc<TextTokenizer>,
    template: Option<ChatTemplate>,
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
        LanguageModel { name, context, generations, tokenizer, template }
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
            let label = ("model".into(), model.name.clone().into());
            model.generations.register(registry.sub_registry_with_label(label));
        }
    }
}

impl fmt::Debug for LanguageModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|model| model.name())).finish()
    }
}
