//! Messages to a prompt, by the model's own template (Jinja, as transformers renders it).

use minijinja::{Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};

use super::TextError;
use crate::ModelError;
use crate::config::{read_bytes_if_any, read_json_if_any};
use crate::decoder::DecoderModel;

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
pub struct ChatTemplate {
    source: String,
    begin: String,
    end: String,
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct Config {
    chat_template: Option<Templates>,
    bos_token: Option<Token>,
    eos_token: Option<Token>,
}

/// One template, or several by name, of which `default` is taken.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Several(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

/// A token's text, or what is known of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Known { content: String },
}

impl Token {
    fn text(self) -> String {
        match self {
            Token::Text(text) | Token::Known { content: text } => text,
        }
    }
}

impl ChatTemplate {
    /// A template, and the texts of the tokens that begin and end a text.
    pub fn new(source: String, begin: String, end: String) -> ChatTemplate {
        ChatTemplate { source, begin, end }
    }

    /// The template of an opened model; `None` where it has none.
    pub fn of(model: &DecoderModel) -> Result<Option<ChatTemplate>, ModelError> {
        if let Some(gguf) = model.gguf() {
            let text =
                |key: &str| gguf.get(key).and_then(|value| value.as_str()).map(str::to_owned);
            let tokens = gguf.get("tokenizer.ggml.tokens").and_then(|value| value.as_strings());
            let token = |name: &str| {
                let id = gguf.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_usize()?;
                tokens?.get(id).cloned()
            };
            let source = text("tokenizer.chat_template");
            let (begin, end) = (token("bos").unwrap_or_default(), token("eos").unwrap_or_default());
            return Ok(source.map(|source| ChatTemplate { source, begin, end }));
        }
        let folder = model.path();
        let config: Option<Config> = read_json_if_any(&folder.join("tokenizer_config.json"))?;
        let config = config.unwrap_or_default();
        let path = folder.join("chat_template.jinja");
        let source =
            match read_bytes_if_any(&path)? {
                Some(bytes) => Some(String::from_utf8(bytes).map_err(|_| ModelError::Format {
                    path,
                    reason: "it is not UTF-8".to_owned(),
                })?),
                None => config.chat_template.and_then(|templates| match templates {
                    Templates::One(template) => Some(template),
                    Templates::Several(all) => {
                        all.into_iter().find(|one| one.name == "default").map(|one| one.template)
                    }
                }),
            };
        let text = |token: Option<Token>| token.map(Token::text).unwrap_or_default();
        let (begin, end) = (text(config.bos_token), text(config.eos_token));
        Ok(source.map(|source| ChatTemplate { source, begin, end }))
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
