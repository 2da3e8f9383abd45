//! What is asked in the shape of OpenAI's chat completions.

use serde::Deserialize;

use crate::bindings::trine::rag::generator::Message;
use crate::fields::Fields;
use crate::problem::Problem;
use crate::request::AnswerRequest;

/// Messages that a request may have.
const MOST_MESSAGES: usize = 256;

/// `POST /v1/chat/completions`.
#[derive(Debug)]
pub struct ChatRequest {
    /// What is asked: the last message, with those before it as its history.
    pub answer: AnswerRequest,
    /// Whether a stream ends with what was counted.
    pub include_usage: bool,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: Content,
}

/// A text, or parts of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart {
    Text { text: String },
}

impl Content {
    fn text(self) -> String {
        match self {
            Content::Text(text) => text,
            Content::Parts(parts) => {
                parts.into_iter().map(|ContentPart::Text { text }| text).collect()
            }
        }
    }
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl ChatRequest {
    /// Reads a body.
    pub fn from_json(text: &str) -> Result<ChatRequest, Problem> {
        let mut fields = Fields::of_json(text)?;
        let allowed = "a list of objects with `role` and `content`, which is text";
        let said: Vec<Said> = fields.take("messages", allowed)?.unwrap_or_default();
        let options: Option<StreamOptions> =
            fields.take("stream_options", "an object with `include_usage`")?;
        fields.number("n", 1..=1)?;
        // What clients say that want nothing of it.
        for name in ["frequency_penalty", "presence_penalty"] {
            fields.number(name, 0.0..=0.0)?;
        }
        // Names of the caller's for its own use.
        for name in ["user", "metadata", "store"] {
            fields.take::<serde_json::Value>(name, "anything")?;
        }
        let (question, history) = conversation(said)?;
        let answer = AnswerRequest::of_chat(fields, question, history)?;
        Ok(ChatRequest { answer, include_usage: options.unwrap_or_default().include_usage })
    }
}

/// The question, and what was said before it.
fn conversation(said: Vec<Said>) -> Result<(String, Vec<Message>), Problem> {
    if said.len() > MOST_MESSAGES {
        let text = format!("{} messages; there may be {MOST_MESSAGES}", said.len());
        return Err(Problem::Invalid(text));
    }
    let mut history = Vec::with_capacity(said.len());
    for Said { role, content } in said {
        let role = match role.as_str() {
            "developer" => "system".to_owned(),
            "system" | "user" | "assistant" => role,
            _ => {
                let text = "a message's role is none of system, developer, user and assistant";
                return Err(Problem::Invalid(text.to_owned()));
            }
        };
        history.push(Message { role, content: content.text() });
    }
    match history.pop() {
        Some(Message { role, content }) if role == "user" => Ok((content, history)),
        _ => Err(Problem::Invalid("the last of `messages` must be the user's".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::trine::rag::generator::Writing;

    #[test]
    fn the_last_message_is_the_question() {
        let body = r#"{"model": "m", "messages": [{"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d?"}]}],
            "stream": true, "stream_options": {"include_usage": true}, "max_completion_tokens": 7,
            "stop": "x", "logit_bias": {"5": -3}, "temperature": 0.5, "n": 1, "user": "me",
            "presence_penalty": 0, "min_p": 0.1, "sample_top_k": 40, "repetition_penalty": 1.1}"#;
        let ChatRequest { answer, include_usage } = ChatRequest::from_json(body).unwrap();
        assert_eq!(answer.search.query, "cd?");
        let history = answer.writing.history.iter();
        let history: Vec<_> = history.map(|m| (m.role.as_str(), m.content.as_str())).collect();
        assert_eq!(history, [("system", "Be kind."), ("user", "a?"), ("assistant", "b")]);
        assert!(answer.stream && include_usage);
        assert_eq!((answer.max_tokens, answer.model.as_deref()), (7, Some("m")));
        assert_eq!(answer.writing.stop, ["x"]);
        assert_eq!(answer.writing.logit_bias, [(5, -3.0)]);
        let Writing { top_k, min_p, repetition_penalty, .. } = answer.writing;
        assert_eq!((top_k, min_p, repetition_penalty), (40, 0.1, 1.1));
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let wrong = |body: &str| match ChatRequest::from_json(body).unwrap_err() {
            Problem::Invalid(text) => text,
            other => panic!("{other:?}"),
        };
        let user = r#""messages": [{"role": "user", "content": "a"}]"#;
        assert!(wrong("{}").contains("messages"));
        assert!(wrong(r#"{"messages": [{"role": "assistant", "content": "a"}]}"#).contains("last"));
        assert!(wrong(r#"{"messages": [{"role": "tool", "content": "a"}]}"#).contains("role"));
        assert!(wrong(&format!("{{{user}, \"n\": 2}}")).contains("n is 2"));
        assert!(wrong(&format!("{{{user}, \"tools\": []}}")).contains("`tools`"));
        assert!(wrong(&format!("{{{user}, \"min_p\": 2}}")).contains("min_p is 2"));
        let penalty = wrong(&format!("{{{user}, \"frequency_penalty\": 0.5}}"));
        assert!(penalty.contains("frequency_penalty is 0.5"));
        assert!(wrong(&format!("{{{user}, \"logit_bias\": {{\"x\": 1}}}}")).contains("logit_bias"));
        let image = r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#;
        assert!(wrong(image).contains("messages"));
    }
}
