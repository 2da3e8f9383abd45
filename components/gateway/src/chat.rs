//! Answers in the shape of OpenAI's chat completions
//! (<https://platform.openai.com/docs/api-reference/chat>), with citations beside them.

use serde_json::{Value, json};
use spin_sdk::wasip3::clocks::system_clock;

use crate::answering::Step;
use crate::bindings::trine::rag::generator;
use crate::events::{Events, data};
use crate::problem::Problem;
use crate::reply::AnswerReply;
use crate::written::UsageReply;

/// What a request calls the generator that writes nothing of its own.
const EXTRACTIVE: &str = "extractive";

/// What all objects of one completion begin with.
pub struct Chat {
    id: String,
    created: i64,
    model: String,
    /// Whether a stream ends with what was counted.
    include_usage: bool,
}

impl Chat {
    /// A completion that begins now, by `model` or the preferred one.
    pub fn now(model: Option<String>, include_usage: bool) -> Chat {
        let now = system_clock::now();
        let model = model.or_else(|| generator::models().into_iter().next());
        Chat {
            id: format!("chatcmpl-{:x}{:08x}", now.seconds, now.nanoseconds),
            created: now.seconds,
            model: model.unwrap_or_else(|| EXTRACTIVE.to_owned()),
            include_usage,
        }
    }

    /// The whole of a completion.
    pub fn completion(&self, reply: &AnswerReply) -> Value {
        let message = json!({ "role": "assistant", "content": reply.answer, "refusal": null });
        let mut whole = self.object("chat.completion");
        whole["choices"] = json!([{
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": finish_reason(reply),
        }]);
        whole["usage"] = usage(reply.usage);
        extend(&mut whole, reply);
        whole
    }

    fn object(&self, kind: &str) -> Value {
        json!({ "id": self.id, "object": kind, "created": self.created, "model": self.model })
    }

    fn chunk(&self, delta: Value, finish_reason: Option<&str>) -> Value {
        let mut chunk = self.object("chat.completion.chunk");
        chunk["choices"] = json!([{
            "index": 0,
            "delta": delta,
            "logprobs": null,
            "finish_reason": finish_reason,
        }]);
        chunk
    }
}

impl Events for Chat {
    fn begin(&mut self, _: &AnswerReply) -> Vec<String> {
        vec![data(&self.chunk(json!({ "role": "assistant", "content": "" }), None))]
    }

    fn step(&mut self, step: Step<'_>) -> Option<String> {
        match step {
            Step::Text(text) if !text.is_empty() => {
                Some(data(&self.chunk(json!({ "content": text }), None)))
            }
            // They stand together in the last chunk.
            _ => None,
        }
    }

    fn end(&mut self, reply: AnswerReply) -> Vec<String> {
        let mut events = Vec::new();
        if reply.abstained {
            events.push(data(&self.chunk(json!({ "content": reply.answer }), None)));
        }
        let mut last = self.chunk(json!({}), Some(finish_reason(&reply)));
        extend(&mut last, &reply);
        events.push(data(&last));
        if self.include_usage {
            let mut counted = self.object("chat.completion.chunk");
            (counted["choices"], counted["usage"]) = (json!([]), usage(reply.usage));
            events.push(data(&counted));
        }
        events.push("data: [DONE]\n\n".to_owned());
        events
    }

    fn fail(&mut self, problem: Problem) -> Vec<String> {
        vec![data(&problem.error())]
    }
}

/// What OpenAI's shape has no place for.
fn extend(object: &mut Value, reply: &AnswerReply) {
    object["citations"] = json!(reply.citations);
    object["sentences"] = json!(reply.sentences);
    object["abstained"] = json!(reply.abstained);
    object["warnings"] = json!(reply.warnings);
}

fn finish_reason(reply: &AnswerReply) -> &'static str {
    match reply.finish_reason {
        "length" => "length",
        _ => "stop",
    }
}

fn usage(usage: Option<UsageReply>) -> Value {
    let UsageReply { prompt_tokens, cached_tokens, generated_tokens } = usage.unwrap_or_default();
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated_tokens,
        "total_tokens": u64::from(prompt_tokens) + u64::from(generated_tokens),
        "prompt_tokens_details": { "cached_tokens": cached_tokens },
    })
}

/// `GET /v1/models`.
pub fn models() -> Value {
    let names = generator::models().into_iter().chain([EXTRACTIVE.to_owned()]);
    let model = |id| json!({ "id": id, "object": "model", "created": 0, "owned_by": "trine" });
    json!({ "object": "list", "data": names.map(model).collect::<Vec<_>>() })
}
