//! HTTP/1.1 in front of an application: connections, bodies, errors, an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::{Body, Limits, RuntimeError};

/// Connections open at the same time; further ones wait to be accepted.
const CONNECTIONS: usize = 4096;
/// Time a client has for a request's headers, and again for its body.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that requests in flight have to end once the server is told to.
const GRACE: Duration = Duration::from_secs(30);

/// A listening server.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, app: Arc<App>) -> std::io::Result<Server> {
        Ok(Server { listener: TcpListener::bind(address).await?, app })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, then lets what is in flight end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = async {
                let permit = connections.clone().acquire_owned().await;
                (self.listener.accept().await, permit)
            };
            tokio::select! {
                (accepted, permit) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let connection = graceful.watch(connection(stream, self.app.clone()));
                        tokio::spawn(async move {
                            let _permit = permit;
                            if let Err(error) = connection.await {
                                tracing::debug!("connection: {error}");
                            }
                        });
                    }
                    // Out of file descriptors, say: others may end meanwhile.
                    Err(error) => {
                        tracing::warn!("accepting a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                () = &mut shutdown => break,
            }
        }
        drop(self.listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still running after {GRACE:?} and are cut off");
        }
    }
}

fn connection(
    stream: TcpStream,
    app: Arc<App>,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send>,
> {
    // Answers are written whole; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(answer(&app, request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
}

async fn answer(app: &App, request: Request<Incoming>) -> Response<Body> {
    let (started, now) = (app.metrics().started(), Instant::now());
    let response = respond(app, request).await;
    started.answered(response.status(), now.elapsed());
    response
}

async fn respond(app: &App, request: Request<Incoming>) -> Response<Body> {
    let request = match arrive(request, app.limits()).await {
        Ok(request) => request,
        Err(refusal) => return refusal.response(),
    };
    match app.handle(request).await {
        Some(Ok(response)) => response,
        Some(Err(error)) => Refusal::from(error).response(),
        None => Refusal::new(StatusCode::NOT_FOUND, "not_found", "no route leads there").response(),
    }
}

/// A request whose body has arrived and whose address is whole.
async fn arrive(request: Request<Incoming>, limits: &Limits) -> Result<Request<Bytes>, Refusal> {
    let (mut parts, body) = request.into_parts();
    if parts.uri.authority().is_none() {
        let host = parts.headers.get(header::HOST).map_or(Ok("localhost"), HeaderValue::to_str);
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let uri = http::Uri::builder().scheme("http").path_and_query(path);
        parts.uri = host
            .map_err(|_| ())
            .and_then(|host| uri.authority(host).build().map_err(|_| ()))
            .map_err(|()| {
                Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", "the Host header is wrong")
            })?;
    }
    let body = tokio::time::timeout(READ_TIMEOUT, Limited::new(body, limits.body).collect())
        .await
        .map_err(|_| {
            let text = format!("the body did not arrive within {READ_TIMEOUT:?}");
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", text)
        })?
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                let text = format!("the body has more than {} bytes", limits.body);
                return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text);
            }
            let text = format!("the body could not be read: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", text)
        })?;
    Ok(Request::from_parts(parts, body.to_bytes()))
}

/// An error that the host answers itself, in the shape that the gateway's errors have.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into() }
    }

    fn response(self) -> Response<Body> {
        let json = serde_json::json!({ "error": { "code": self.code, "message": self.message } });
        let body = Full::new(Bytes::from(json.to_string())).map_err(|never| match never {});
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, content_type);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RuntimeError> for Refusal {
    /// The one place that gives the runtime's errors their status. What a guest trapped with is
    /// in the log; a caller learns that it did.
    fn from(error: RuntimeError) -> Refusal {
        let (status, code, message) = match &error {
            RuntimeError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy", error.to_string()),
            RuntimeError::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, "timeout", error.to_string()),
            RuntimeError::Memory { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "out_of_memory", error.to_string())
            }
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "component_failed",
                "a component failed; the server's log says how".to_owned(),
            ),
        };
        Refusal { status, code, message }
    }
}
