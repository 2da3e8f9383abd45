//! An application: a request in, a response out, a fresh instance in between.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::Request as WasiRequest;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::cache::{AnswerCache, CacheOptions, Key, Stored};
use crate::compiled::Kept;
use crate::manifest::Manifest;
use crate::parts::{Preparing, Source};
use crate::program::{Handler, Program};
use crate::response::{AbortOnDrop, Body, Frames, HeadSender, body};
use crate::state::State;
use crate::{LanguageModels, Limits, RuntimeError, engine};

/// Frames of a body that wait for a slow client before the guest does.
const BODY_QUEUE: usize = 4;

/// Names the program that answered, where it has a label.
const PROGRAM: HeaderName = HeaderName::from_static("trine-bundle");

/// The media type of answers.
const JSON: &str = "application/json; charset=utf-8";

/// How an application is run.
#[derive(Clone, Debug, Default)]
pub struct AppOptions {
    /// Bounds on requests.
    pub limits: Limits,
    /// Where compiled code is kept between starts; nowhere when absent.
    pub cache: Option<PathBuf>,
    /// Bounds on answers that are given again; none is when absent.
    pub answers: Option<CacheOptions>,
    /// The language models that components may ask for.
    pub models: LanguageModels,
    /// Who is told what is made for the first time, which may take long; nobody when absent.
    pub preparing: Option<fn(Preparing)>,
}

impl AppOptions {
    pub(crate) fn kept<'a>(&'a self, engine: &'a wasmtime::Engine) -> Kept<'a> {
        Kept { engine, folder: self.cache.as_deref(), told: self.preparing }
    }
}

/// A program behind limits: each request has a fresh instance of it. Another program can take its
/// place at any time; requests under way end on the one they began with.
pub struct App {
    program: RwLock<Program>,
    engine: wasmtime::Engine,
    cache: Option<PathBuf>,
    preparing: Option<fn(Preparing)>,
    pub(crate) inference: trine_inference::Engine,
    pub(crate) models: LanguageModels,
    answers: Option<CacheOptions>,
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
    place: OwnedSemaphorePermit,
    slot: OwnedSemaphorePermit,
}

impl App {
    /// Starts the application that `manifest` describes; `component` gives each of its components
    /// by the file name that the manifest has for it.
    pub fn new<'a, E: From<RuntimeError> + Send>(
        manifest: Manifest,
        component: impl FnMut(&str) -> Result<Source<'a, E>, E>,
        inference: trine_inference::Engine,
        options: &AppOptions,
    ) -> Result<App, E> {
        let AppOptions { limits, preparing, .. } = *options;
        let engine = engine::serving(&limits)?;
        let program = Program::new(manifest, component, options.kept(&engine))?;
        let places = limits.concurrency.saturating_add(limits.waiting) as usize;
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let slots = Arc::new(Semaphore::new(limits.concurrency as usize));
        let (program, answers) = (RwLock::new(program), options.answers);
        let (cache, models) = (options.cache.clone(), options.models.clone());
        Ok(App {
            program,
            engine,
            cache,
            preparing,
            inference,
            models,
            answers,
            limits,
            places,
            slots,
        })
    }

    /// Another program, made ready to take the place of the present one.
    pub fn prepare<'a, E: From<RuntimeError> + Send>(
        &self,
        manifest: Manifest,
        component: impl FnMut(&str) -> Result<Source<'a, E>, E>,
    ) -> Result<Program, E> {
        let App { engine, cache, preparing: told, .. } = self;
        Program::new(manifest, component, Kept { engine, folder: cache.as_deref(), told: *told })
    }

    /// The program that requests find now.
    pub fn program(&self) -> Program {
        self.program.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a program in the place of the present one, once an instance of it has started.
    pub async fn replace(&self, program: Program) -> Result<(), RuntimeError> {
        let admission = self.admit().await?;
        self.start_each(&program).await?;
        drop(admission);
        self.put(program);
        Ok(())
    }

    /// The same without trying it. No answer of the former program is given again.
    pub fn put(&self, mut program: Program) {
        program.answers = self.answers.map(|options| Arc::new(AnswerCache::new(options)));
        *self.program.write().unwrap_or_else(PoisonError::into_inner) = program;
    }

    /// The language models that components may ask for.
    pub fn models(&self) -> &LanguageModels {
        &self.models
    }

    /// The bounds that requests have.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers a request whose body has arrived. `None`: no route leads anywhere.
    ///
    /// Dropping the response (or this future) stops the guest.
    pub async fn handle(
        &self,
        request: Request<Bytes>,
    ) -> Option<Result<Response<Body>, RuntimeError>> {
        let program = self.program();
        let handler = program.handler(request.uri().path())?;
        let kept = program.answers.as_deref().zip(Key::of(&request));
        if let Some(body) =
            kept.as_ref().and_then(|(answers, key)| answers.get(key, Instant::now()))
        {
            return Some(Ok(stored(body, program.label())));
        }
        let response = self.run(handler, program.label(), request).await;
        Some(match (kept, response) {
            (Some((answers, key)), Ok(response)) => keep(answers, key, response).await,
            (_, response) => response,
        })
    }

    /// An instance of the component that answers `path`, to ask more than once.
    ///
    /// Requests do not share instances; this is for measuring what that costs.
    pub async fn session(&self, path: &str) -> Result<Session, RuntimeError> {
        let admission = self.admit().await?;
        let handler = self.program().handler(path);
        let handler =
            handler.ok_or_else(|| RuntimeError::Compose(format!("no route to {path}")))?;
        let mut store = self.store(&handler);
        let started = handler.start(&mut store).await;
        let service = started.map_err(|e| RuntimeError::Trap(root(&e)))?;
        Ok(Session { store, service, _admission: admission })
    }

    /// Starts an instance and drops it, once for each component: what a fresh instance costs.
    pub async fn instantiate(&self) -> Result<(), RuntimeError> {
        let _admission = self.admit().await?;
        self.start_each(&self.program()).await
    }

    async fn start_each(&self, program: &Program) -> Result<(), RuntimeError> {
        for handler in program.handlers() {
            let mut store = self.store(&handler);
            let started = handler.start(&mut store).await;
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
        Ok(Admission { place, slot })
    }

    fn store(&self, handler: &Handler) -> Store<State> {
        let state = State::new(
            self.inference.clone(),
            self.models.clone(),
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
        label: Option<HeaderValue>,
        request: Request<Bytes>,
    ) -> Result<Response<Body>, RuntimeError> {
        let arrived = Instant::now();
        let Admission { place, slot } = self.admit().await?;
        let (head_sender, head) = oneshot::channel();
        let (frame_sender, frames) = mpsc::channel(BODY_QUEUE);
        let mut store = self.store(&handler);
        let started = Instant::now();
        let head_sender = HeadSender { arrived, started, sender: head_sender };
        let timeout = self.limits.timeout;
        let unfinished = frame_sender.clone();
        let guest_sender = frame_sender.clone();
        let task = AbortOnDrop(tokio::spawn(async move {
            let guest = serve(&mut store, handler, request, head_sender, guest_sender);
            let outcome = match tokio::time::timeout(timeout, guest).await {
                Ok(outcome) => outcome,
                Err(_) => Err(RuntimeError::Timeout(timeout)),
            };
            drop(place);
            // The slot is free once the store is gone. To find and undo what a large instance wrote
            // takes milliseconds, for which the end of the response does not wait.
            tokio::task::spawn_blocking(move || drop((store, slot)));
            if let Err(error) = &outcome {
                tracing::warn!(elapsed_ms = started.elapsed().as_millis() as u64, "{error}");
                // A body that just ended would pass for whole; an error breaks it off.
                let cut = RuntimeError::Trap(error.to_string());
                let _ = unfinished.send(Err(cut)).await;
            }
            outcome
        }));
        match head.await {
            Ok(mut parts) => {
                drop(frame_sender);
                parts.headers.extend(label.map(|label| (PROGRAM, label)));
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

/// A response from what was answered before.
fn stored(body: Bytes, label: Option<HeaderValue>) -> Response<Body> {
    let mut response =
        Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(label.map(|label| (PROGRAM, label)));
    response.extensions_mut().insert(Stored);
    response
}

/// Keeps an answer that is whole and right; passes everything else on as it is.
async fn keep(
    answers: &AnswerCache,
    key: Key,
    response: Response<Body>,
) -> Result<Response<Body>, RuntimeError> {
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|media| media == JSON);
    if response.status() != StatusCode::OK || !is_json {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    answers.put(key, body.clone(), Instant::now());
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    Ok(Response::from_parts(parts, body))
}

/// Runs one guest from its start to the last frame of its response.
async fn serve(
    store: &mut Store<State>,
    handler: Handler,
    request: Request<Bytes>,
    head: HeadSender,
    frames: Frames,
) -> Result<(), RuntimeError> {
    let outcome = drive(store, handler, request, head, frames).await;
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
    handler: Handler,
    request: Request<Bytes>,
    head: HeadSender,
    frames: Frames,
) -> wasmtime::Result<()> {
    let request = request.map(Full::new);
    // What became of the request's body is nobody's concern: it had arrived before.
    let (request, _sent) = WasiRequest::from_http(store.data_mut().http().hooks, request);
    let service = handler.start(store).await?;
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
