//! The gateway: HTTP in, the three stages in between, JSON out.
//!
//! It holds no model and no index; `routes` says what can be asked, `answering` and `pipeline` call
//! the stages, `fields`, `request` and `reply` are the JSON, `events` streams an answer, `messages` and
//! `chat` are OpenAI's shape of it, `problem` chooses every error's status.

mod answering;
mod chat;
mod defaults;
mod events;
mod fields;
mod messages;
mod pipeline;
mod problem;
mod reply;
mod request;
mod routes;
mod search;
mod writing;
mod written;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trine:rag/gateway-component",
        generate_all,
    });
}

use spin_sdk::http::{BoxBody, FullBody, IntoResponse, Request, Response, box_body};
use spin_sdk::http_service;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: trine_guest_memory::Arena = trine_guest_memory::Arena;

/// Answers one request; the host gives each a fresh instance.
#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let reply = routes::dispatch(request).await.unwrap_or_else(problem::Problem::reply);
    respond(reply)
}

/// A status, headers, and a body: JSON, or events as they come.
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    media_type: &'static str,
    body: BoxBody,
}

impl Reply {
    fn json(status: u16, headers: Vec<(&'static str, String)>, json: String) -> Reply {
        let body = box_body(FullBody::new(bytes::Bytes::from(json)));
        Reply { status, headers, media_type: "application/json; charset=utf-8", body }
    }

    fn events(events: events::EventStream) -> Reply {
        let body = box_body(events);
        Reply { status: 200, headers: vec![], media_type: "text/event-stream", body }
    }
}

fn respond(reply: Reply) -> anyhow::Result<Response<BoxBody>> {
    let mut response = Response::builder()
        .status(reply.status)
        .header("content-type", reply.media_type)
        .header("cache-control", "no-store");
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(reply.body)?)
}
