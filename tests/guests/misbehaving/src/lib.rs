//! A component that does what no component should, one misdeed a path, for the tests of what the
//! host does about it. `POST /misbehave/compute` hands wasi:nn whatever the body says.

mod compute;
mod misdeeds;

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "trine:rag/models",
        generate_all,
    });
}

use bytes::Bytes;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{BoxBody, FullBody, IntoResponse, Request, Response, box_body};
use spin_sdk::http_service;

/// Does as the path says.
#[http_service]
async fn handle(request: Request) -> anyhow::Result<impl IntoResponse> {
    let path = request.uri().path().to_owned();
    let body = match path.strip_prefix("/misbehave/").unwrap_or_default() {
        "compute" => full(compute::as_asked(&request.into_body().bytes().await?)?),
        "load-bytes" => full(compute::load_bytes()),
        "endless" => misdeeds::run_for_ever(),
        "sleep" => misdeeds::sleep_for_ever().await,
        "memory" => misdeeds::allocate_for_ever(),
        "tensors" => misdeeds::hold_tensors(1 << 20),
        "resources" => misdeeds::hold_tensors(8),
        "trap" => misdeeds::trap(),
        "half-a-body" => box_body(misdeeds::HalfABody::default()),
        "error" => anyhow::bail!("no response at all"),
        other => anyhow::bail!("`{other}` is no misdeed"),
    };
    Ok(Response::new(body))
}

fn full(json: serde_json::Value) -> BoxBody {
    box_body(FullBody::new(Bytes::from(json.to_string())))
}
