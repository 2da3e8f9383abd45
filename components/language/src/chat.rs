//! Messages to a prompt, by the model's own template (Jinja, as transformers renders it).

use minijinja::{Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};

use crate::TextError;

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A template may take as many steps of its interpreter, some seconds.
const FUEL: u64 = 50_000_000;
/// A longer prompt is refused.
const MOST_PROMPT: usize = 64 << 20;
/// A template nests its calls as deep.
const MOST_DEPTH: usize = 128;

/// A model's template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTemplate {
    source: String,
    begin: String,
    end: String,
}

impl ChatTemplate {
    /// A template, and the texts of the tokens that begin and end a text.
    pub fn new(source: String, begin: String, end: String) -> ChatTemplate {
        ChatTemplate { source, begin, end }
    }

    /// The prompt for an answer to some messages. Fails where the template does, as some do with roles
    /// that they do not know; one that does not end is ended.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, TextError> {
        let refuse = |e: minijinja::Error| TextError::Template(format!("{e:#}"));
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MOST_DEPTH);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |reason: String| -> Result<(), _> {
            Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, reason))
        });
        // A prompt that depended on the day would not be the same twice.
        environment.add_function("strftime_now", |_: String| String::new());
        let template = environment.template_from_str(&self.source).map_err(refuse)?;
        let context = context! {
            messages,
            add_generation_prompt => true,
            bos_token => self.begin,
            eos_token => self.end,
            tools => (),
            documents => (),
        };
        let mut prompt = Bounded::default();
        template.render_captured_to(context, &mut prompt).map_err(refuse)?;
        String::from_utf8(prompt.0).map_err(|e| TextError::Template(e.to_string()))
    }
}

/// Bytes up to a bound.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_PROMPT {
            return Err(std::io::Error::other(format!(
                "a prompt of more than {MOST_PROMPT} bytes"
            )));
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
