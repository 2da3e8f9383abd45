//! What applications have been doing, as Prometheus reads it (OpenMetrics text).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::LanguageModels;
use crate::server::READ_TIMEOUT;

/// Connections that are read at the same time.
const CONNECTIONS: usize = 16;

/// Counters of requests and devices.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Answered, Counter>,
    repeated: Family<Whose, Counter>,
    seconds: Histogram,
    open: Gauge,
}

/// How a request ended, and whose it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Answered {
    whose: Whose,
    status: u16,
}

/// The collection that was asked, where it has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Whose(Option<String>);

impl EncodeLabelSet for Whose {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> std::fmt::Result {
        match &self.0 {
            Some(name) => ("collection", name.as_str()).encode(encoder.encode_label()),
            None => Ok(()),
        }
    }
}

impl EncodeLabelSet for Answered {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> std::fmt::Result {
        self.whose.encode(encoder)?;
        ("status", self.status).encode(encoder.encode_label())
    }
}

impl Metrics {
    pub(crate) fn new(inference: &trine_inference::Engine, models: &LanguageModels) -> Metrics {
        let mut registry = Registry::with_prefix("trine");
        // 1 ms to 65 s, doubled each time.
        let seconds = Histogram::new(exponential_buckets(1e-3, 2.0, 17));
        let (requests, repeated) = (Family::default(), Family::default());
        let open = Gauge::default();
        registry.register("http_requests", "Requests answered, by status", requests.clone());
        let help = "Answers that were given before";
        registry.register("http_answers_repeated", help, repeated.clone());
        let help = "Seconds from a request's arrival to the head of its response";
        registry.register("http_request_seconds", help, seconds.clone());
        registry.register("http_requests_open", "Requests under way", open.clone());
        inference.register(registry.sub_registry_with_prefix("device"));
        models.register(registry.sub_registry_with_prefix("language_model"));
        Metrics { registry: Arc::new(registry), requests, repeated, seconds, open }
    }

    /// Counts a request from now until [`Started::answered`], or until it is dropped.
    pub(crate) fn started(&self) -> Started<'_> {
        self.open.inc();
        Started(self)
    }

    /// All of them in OpenMetrics' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    /// Answers `GET /metrics` on `listener`, for ever, a few connections at a time.
    pub async fn serve(self, listener: TcpListener) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let permit = connections.clone().acquire_owned().await;
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let metrics = self.clone();
            let service = service_fn(move |request| {
                let response = metrics.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                let _permit = permit;
                // A reader has as long for the answer as for its question.
                if let Err(error) = timeout(2 * READ_TIMEOUT, connection).await {
                    tracing::debug!("connection for metrics: {error}");
                }
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => {
                let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media));
                *response.body_mut() = Full::new(self.text().into());
            }
            _ => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        response
    }
}

/// A request under way.
pub(crate) struct Started<'a>(&'a Metrics);

impl Started<'_> {
    pub(crate) fn answered(
        self,
        collection: Option<String>,
        status: StatusCode,
        repeated: bool,
        taken: Duration,
    ) {
        let whose = Whose(collection);
        if repeated {
            self.0.repeated.get_or_create(&whose).inc();
        }
        self.0.requests.get_or_create(&Answered { whose, status: status.as_u16() }).inc();
        self.0.seconds.observe(taken.as_secs_f64());
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}
