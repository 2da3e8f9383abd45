//! A model's template for messages, where its files have it.

use serde::Deserialize;
use trine_language::ChatTemplate;

use crate::config::{read_bytes_if_any, read_json_if_any};
use crate::{DecoderModel, ModelError};

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

impl DecoderModel {
    /// Its template for messages; `None` where it has none.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, ModelError> {
        if let Some(gguf) = self.gguf() {
            let text =
                |key: &str| gguf.get(key).and_then(|value| value.as_str()).map(str::to_owned);
            let tokens = gguf.get("tokenizer.ggml.tokens").and_then(|value| value.as_strings());
            let token = |name: &str| {
                let id = gguf.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_usize()?;
                tokens?.get(id).cloned()
            };
            let source = text("tokenizer.chat_template");
            let (begin, end) = (token("bos").unwrap_or_default(), token("eos").unwrap_or_default());
            return Ok(source.map(|source| ChatTemplate::new(source, begin, end)));
        }
        let folder = self.path();
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
        Ok(source.map(|source| ChatTemplate::new(source, begin, end)))
    }
}
