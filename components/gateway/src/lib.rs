//! The gateway: HTTP in, the three stages in between, JSON out.
//!
//! It holds no model and no index; `routes` says what can be asked, `pipeline` calls the stages,
//! `fields`, `request` and `reply` are the JSON, `problem` chooses every error's status.

mod defaults;
mod fields;
mod pipeline;
mod problem;
mod reply;
mod request;
mod routes;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trine:rag/gateway-component",
        generate_all,
    });
}

use spin_sdk::http::{FullBody, IntoResponse, Request, Response};
use spin_sdk::http_service;

/// Answers one request; the host gives each a fresh instance.
#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let reply = routes::dispatch(request).await.unwrap_or_else(problem::Problem::reply);
    respond(reply)
}

/// A status, extra headers, and JSON.
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn respond(reply: Reply) -> anyhow::Result<Response<FullBody<bytes::Bytes>>> {
    let mut response = Response::builder()
        .status(reply.status)
        .header("content-type", "application/json; charset=utf-8")
        .header("cache-control", "no-store");
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(FullBody::new(reply.body.into()))?)
}
