//! What can be asked, and how.

use serde::Serialize;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{Method, Request};

use crate::Reply;
use crate::answering::Answering;
use crate::chat::{self, Chat};
use crate::defaults::Defaults;
use crate::events::{AnswerEvents, EventStream};
use crate::messages::ChatRequest;
use crate::pipeline;
use crate::problem::Problem;
use crate::request::{AnswerRequest, RerankRequest, RetrieveRequest};

/// One request to one reply.
pub async fn dispatch(request: Request) -> Result<Reply, Problem> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/answer" => {
            wants(&request, Method::GET, "GET")?;
            let asked = AnswerRequest::from_query_string(request.uri().query().unwrap_or(""))?;
            if asked.stream {
                let answering = Answering::start(asked, Defaults::read().await?)?;
                return Ok(Reply::events(EventStream::new(answering, AnswerEvents)));
            }
            let mut reply = Answering::start(asked, Defaults::read().await?)?.finish()?;
            reply.supporting_docs = reply.passages.take();
            json(&reply)
        }
        "/v1/answer" => {
            let asked = AnswerRequest::from_json(&body(request).await?)?;
            let stream = asked.stream;
            let answering = Answering::start(asked, Defaults::read().await?)?;
            match stream {
                true => Ok(Reply::events(EventStream::new(answering, AnswerEvents))),
                false => json(&answering.finish()?),
            }
        }
        "/v1/chat/completions" => {
            let ChatRequest { answer, include_usage } =
                ChatRequest::from_json(&body(request).await?)?;
            let stream = answer.stream;
            let chat = Chat::now(answer.model.clone(), include_usage);
            let answering = Answering::start(answer, Defaults::read().await?)?;
            match stream {
                true => Ok(Reply::events(EventStream::new(answering, chat))),
                false => json(&chat.completion(&answering.finish()?)),
            }
        }
        "/v1/models" | "/models" => {
            wants(&request, Method::GET, "GET")?;
            json(&chat::models())
        }
        "/v1/retrieve" => {
            let asked = RetrieveRequest::from_json(&body(request).await?)?;
            json(&pipeline::retrieve(asked, Defaults::read().await?)?)
        }
        "/v1/rerank" => json(&pipeline::rerank(RerankRequest::from_json(&body(request).await?)?)?),
        "/health" => {
            wants(&request, Method::GET, "GET")?;
            json(&pipeline::health()?)
        }
        other => Err(Problem::NotFound(format!(
            "nothing is at {other}; there are GET /answer?q=, POST /v1/answer, POST /v1/retrieve, \
             POST /v1/rerank, POST /v1/chat/completions, GET /v1/models and GET /health"
        ))),
    }
}

fn wants(request: &Request, method: Method, allow: &'static str) -> Result<(), Problem> {
    if request.method() == method { Ok(()) } else { Err(Problem::Method { allow }) }
}

/// The body of a POST.
async fn body(request: Request) -> Result<String, Problem> {
    wants(&request, Method::POST, "POST")?;
    let bytes = request
        .into_body()
        .bytes()
        .await
        .map_err(|e| Problem::Invalid(format!("the body could not be read: {e}")))?;
    String::from_utf8(bytes.into())
        .map_err(|e| Problem::UnsupportedMedia(format!("the body is not UTF-8: {e}")))
}

fn json(reply: &impl Serialize) -> Result<Reply, Problem> {
    let body = serde_json::to_string(reply)
        .map_err(|e| Problem::Invalid(format!("the answer cannot be written as JSON: {e}")))?;
    Ok(Reply::json(200, vec![], body))
}
