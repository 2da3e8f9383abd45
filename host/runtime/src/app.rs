//! An application: a request in, a response out, a fresh instance in between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::Request as WasiRequest;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::manifest::{ComponentManifest, Manifest};
use crate::response::{AbortOnDrop, Body, Frames, HeadSender, body};
use crate::state::State;
use crate::variables::{self, Values};
use crate::{Limits, Metrics, RuntimeError, compiled, compose, engine, state};

/// Frames of a body that wait for a slow client before the guest does.
const BODY_QUEUE: usize = 4;

/// How an application is run.
#[derive(Clone, Debug, Default)]
pub struct AppOptions {
    /// Bounds on requests.
    pub limits: Limits,
    /// Where compiled code is kept between starts; nowhere when absent.
    pub cache: Option<PathBuf>,
}

/// Components, composed, compiled and ready to be instantiated.
pub struct App {
    manifest: Manifest,
    handlers: BTreeMap<String, Handler>,
    engine: wasmtime::Engine,
    inference: trine_inference::Engine,
    metrics: Metrics,
    limits: Limits,
    /// A place for each request that runs or waits.
    places: Arc<Semaphore>,
    /// A slot of the instance pool for each request that runs.
    slots: Arc<Semaphore>,
}

/// A running instance.
pub struct Session {
    store: Store<State>,
    service: Service,
    _admission: Admission,
}

impl Session {
    /// Answers one request, its body gathered.
    pub async fn request(
        &mut self,
        request: Request<Bytes>,
    ) -> Result<(http::StatusCode, Bytes), RuntimeError> {
        let request = request.map(Full::new);
        let (request, _sent) = WasiRequest::from_http(self.store.data_mut().http().hooks, request);
        let service = &self.service;
        let outcome = self.store.run_concurrent(async |accessor| {
            let response = respond(accessor, service, request).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|e| wasmtime::format_err!("{e:?}"))?;
            wasmtime::error::Ok((parts.status, body.to_bytes()))
        });
        let outcome = outcome.await.and_then(|answered| answered);
        outcome.map_err(|e| RuntimeError::Trap(root(&e)))
    }
}

/// A request's right to run.
struct Admission {
    _place: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

/// One component that routes lead to.
#[derive(Clone)]
struct Handler {
    pre: ServicePre<State>,
    environment: Arc<[(String, String)]>,
    variables: Values,
}

impl App {
    /// Builds the application that `manifest` describes from its components, which are given by
    /// the file names the manifest has for them.
    pub fn new(
        manifest: Manifest,
        components: BTreeMap<String, Vec<u8>>,
        inference: trine_inference::Engine,
        options: &AppOptions,
    ) -> Result<App, RuntimeError> {
        let engine = engine::serving(&options.limits)?;
        let linker = state::linker(&engine)?;
        let mut handlers = BTreeMap::new();
        for (id, component) in &manifest.components {
            let parts = Parts::of(component, &components)?;
            let compiled =
                compiled::component(&engine, options.cache.as_deref(), parts.bytes(), || {
                    compose(parts.socket, &parts.plugs)
                })
                .map_err(|e| RuntimeError::Compose(format!("component `{id}`: {e}")))?;
            let pre = linker
                .instantiate_pre(&compiled)
                .and_then(ServicePre::new)
                .map_err(|e| RuntimeError::Compose(format!("component `{id}`: {e:#}")))?;
            let environment = component.environment.clone().into_iter().collect();
            let given = |name: &str| std::env::var(name).ok();
            let variables = variables::resolve(component, &manifest.variables, &given)?;
            handlers.insert(id.clone(), Handler { pre, environment, variables });
        }
        let limits = options.limits;
        let places = limits.concurrency.saturating_add(limits.waiting) as usize;
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let slots = Arc::new(Semaphore::new(limits.concurrency as usize));
        let metrics = Metrics::new(&inference);
        Ok(App { manifest, handlers, engine, inference, metrics, limits, places, slots })
    }

    /// The bounds that requests have.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What it and its devices have been doing.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers a request whose body has arrived. `None`: no route leads anywhere.
    ///
    /// Dropping the response (or this future) stops the guest.
    pub async fn handle(
        &self,
        request: Request<Bytes>,
    ) -> Option<Result<Response<Body>, RuntimeError>> {
        let id = self.manifest.route(request.uri().path())?;
        let handler = self.handlers.get(id)?.clone();
        Some(self.run(handler, request).await)
    }

    /// An instance of the component that answers `path`, to ask more than once.
    ///
    /// Requests do not share instances; this is for measuring what that costs.
    pub async fn session(&self, path: &str) -> Result<Session, RuntimeError> {
        let admission = self.admit().await?;
        let handler = self.manifest.route(path).and_then(|id| self.handlers.get(id));
        let handler =
            handler.ok_or_else(|| RuntimeError::Compose(format!("no route to {path}")))?;
        let mut store = self.store(handler);
        let started = handler.pre.instantiate_async(&mut store).await;
        let service = started.map_err(|e| RuntimeError::Trap(root(&e)))?;
        Ok(Session { store, service, _admission: admission })
    }

    /// Starts an instance and drops it, once for each component: what a fresh instance costs.
    pub async fn instantiate(&self) -> Result<(), RuntimeError> {
        let _admission = self.admit().await?;
        for handler in self.handlers.values() {
            let mut store = self.store(handler);
            let started = handler.pre.instantiate_async(&mut store).await;
            started.map_err(|e| RuntimeError::Trap(format!("{e:#}")))?;
        }
        Ok(())
    }

    /// A place at once or not at all, then a slot when there is one.
    async fn admit(&self) -> Result<Admission, RuntimeError> {
        let busy = |_| RuntimeError::Busy(self.limits.concurrency + self.limits.waiting);
        let place = self.places.clone().try_acquire_owned().map_err(busy)?;
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|e| RuntimeError::Trap(e.to_string()))?;
        Ok(Admission { _place: place, _slot: slot })
    }

    fn store(&self, handler: &Handler) -> Store<State> {
        let state = State::new(
            self.inference.clone(),
            &self.limits,
            &handler.environment,
            handler.variables.clone(),
        );
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.meter);
        // A guest that computes gives its thread back at each tick, so that time limits hold.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    async fn run(
        &self,
        handler: Handler,
        request: Request<Bytes>,
    ) -> Result<Response<Body>, RuntimeError> {
        let arrived = Instant::now();
        let admission = self.admit().await?;
        let (head_sender, head) = oneshot::channel();
        let (frame_sender, frames) = mpsc::channel(BODY_QUEUE);
        let store = self.store(&handler);
        let started = Instant::now();
        let head_sender = HeadSender { arrived, started, sender: head_sender };
        let guest = serve(store, handler.pre, request, head_sender, frame_sender.clone());
        let timeout = self.limits.timeout;
        let unfinished = frame_sender.clone();
        let task = AbortOnDrop(tokio::spawn(async move {
            // Held here and not by the caller: a slot is free once the store is gone.
            let held = admission;
            let outcome = match tokio::time::timeout(timeout, guest).await {
                Ok(outcome) => outcome,
                Err(_) => Err(RuntimeError::Timeout(timeout)),
            };
            drop(held);
            if let Err(error) = &outcome {
                tracing::warn!(elapsed_ms = started.elapsed().as_millis() as u64, "{error}");
                // A body that just ended would pass for whole; an error breaks it off.
                let cut = RuntimeError::Trap(error.to_string());
                let _ = unfinished.send(Err(cut)).await;
            }
            outcome
        }));
        match head.await {
            Ok(parts) => {
                drop(frame_sender);
                Ok(Response::from_parts(parts, body(frames, task)))
            }
            // No head: the task has ended, and its outcome says why.
            Err(_) => Err(match task.outcome().await {
                Err(error) => error,
                Ok(()) => RuntimeError::Trap("it ended without a response".to_owned()),
            }),
        }
    }
}

/// A component and the dependencies that are to be plugged into it, by file.
struct Parts<'a> {
    socket: &'a [u8],
    plugs: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Parts<'a> {
    fn of(
        component: &'a ComponentManifest,
        components: &'a BTreeMap<String, Vec<u8>>,
    ) -> Result<Parts<'a>, RuntimeError> {
        let source = |file: &str| {
            let missing = || RuntimeError::Compose(format!("there is no component file {file}"));
            components.get(file).map(Vec::as_slice).ok_or_else(missing)
        };
        let socket = source(&component.source)?;
        let mut plugs = Vec::with_capacity(component.dependencies.len());
        for file in component.dependencies.values() {
            if !plugs.iter().any(|(name, _)| name == file) {
                plugs.push((file.as_str(), source(file)?));
            }
        }
        Ok(Parts { socket, plugs })
    }

    /// All of them, the socket first.
    fn bytes(&self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.socket).chain(self.plugs.iter().map(|(_, bytes)| *bytes))
    }
}

/// Runs one guest from its start to the last frame of its response.
async fn serve(
    mut store: Store<State>,
    pre: ServicePre<State>,
    request: Request<Bytes>,
    head: HeadSender,
    frames: Frames,
) -> Result<(), RuntimeError> {
    let outcome = drive(&mut store, pre, request, head, frames).await;
    outcome.map_err(|error| match &store.data().meter {
        meter if meter.refused => RuntimeError::Memory { limit: meter.limit() },
        _ => RuntimeError::Trap(format!("{:#}", root(&error))),
    })
}

/// The innermost reason: the outer ones are wasm backtraces, which are for the log.
fn root(error: &wasmtime::Error) -> String {
    tracing::debug!("{error:?}");
    error.chain().last().map_or_else(|| error.to_string(), ToString::to_string)
}

async fn drive(
    store: &mut Store<State>,
    pre: ServicePre<State>,
    request: Request<Bytes>,
    head: HeadSender,
    frames: Frames,
) -> wasmtime::Result<()> {
    let request = request.map(Full::new);
    // What became of the request's body is nobody's concern: it had arrived before.
    let (request, _sent) = WasiRequest::from_http(store.data_mut().http().hooks, request);
    let service = pre.instantiate_async(&mut *store).await?;
    store
        .run_concurrent(async |accessor| -> wasmtime::Result<()> {
            let response = respond(accessor, &service, request).await?;
            let (parts, mut body) = response.into_parts();
            let inference = accessor.with(|mut store| store.get().inference_time());
            if head.send(parts, inference).is_err() {
                return Ok(());
            }
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| RuntimeError::Trap(format!("{e:?}")));
                if frames.send(frame).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
        .await?
}

async fn respond(
    accessor: &Accessor<State>,
    service: &Service,
    request: WasiRequest,
) -> wasmtime::Result<Response<WasiBody>> {
    let response = service
        .handle(accessor, request)
        .await?
        .map_err(|code| wasmtime::format_err!("it answered with {code:?}"))?;
    accessor.with(|store| response.into_http(store, async { Ok(()) }))
}
