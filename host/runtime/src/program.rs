//! What an application runs: components, composed, compiled and ready to be instantiated, and what
//! each instance is given before its first request.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;
use wasmtime::Store;
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};

use crate::bindings::preparable::PreparableIndices;
use crate::cache::AnswerCache;
use crate::compiled::Kept;
use crate::manifest::Manifest;
use crate::parts::{Parts, Source};
use crate::state::{self, State};
use crate::variables::{self, Values};
use crate::{AppOptions, RuntimeError, engine};

/// An application's components. Clones share all they hold.
#[derive(Clone)]
pub struct Program {
    manifest: Arc<Manifest>,
    handlers: Arc<BTreeMap<String, Handler>>,
    /// Parts that each instance is given, by name.
    additions: Additions,
    label: Option<HeaderValue>,
    /// Its answers, where they are kept.
    pub(crate) answers: Option<Arc<AnswerCache>>,
}

/// Bytes of a part that are given at once: an instance has to touch memory for them twice.
const CHUNK: usize = 256 << 10;

type Additions = Arc<[(String, Vec<u8>)]>;

/// One component that routes lead to.
#[derive(Clone)]
pub(crate) struct Handler {
    pre: wasmtime::component::InstancePre<State>,
    service: Arc<ServiceIndices>,
    /// Of the snapshot interface, where the component exports it.
    fill: Option<Arc<PreparableIndices>>,
    additions: Additions,
    pub(crate) environment: Arc<[(String, String)]>,
    pub(crate) variables: Values,
}

/// Makes all that starting an application would make and keep for later starts.
///
/// # Errors
/// As [`App::new`](crate::App::new); nothing where what is made cannot be kept.
pub fn prepare<'a, E: From<RuntimeError> + Send>(
    manifest: &Manifest,
    mut component: impl FnMut(&str) -> Result<Source<'a, E>, E>,
    options: &AppOptions,
) -> Result<(), E> {
    let engine = engine::serving(&options.limits)?;
    for (id, described) in &manifest.components {
        Parts::of(described, &mut component)?.ready(id, options.kept(&engine))?;
    }
    Ok(())
}

impl Program {
    pub(crate) fn new<'a, E: From<RuntimeError> + Send>(
        manifest: Manifest,
        mut component: impl FnMut(&str) -> Result<Source<'a, E>, E>,
        kept: Kept,
    ) -> Result<Program, E> {
        let linker = state::linker(kept.engine)?;
        let mut handlers = BTreeMap::new();
        for (id, described) in &manifest.components {
            let parts = Parts::of(described, &mut component)?;
            let failed =
                |e: wasmtime::Error| RuntimeError::Compose(format!("component `{id}`: {e:#}"));
            let ready = parts.ready(id, kept)?;
            let linker = ready.linker(&linker).map_err(failed)?;
            let pre = linker.instantiate_pre(&ready.component).map_err(failed)?;
            let service = Arc::new(ServiceIndices::new(&pre).map_err(failed)?);
            let fill = PreparableIndices::new(&pre).ok().map(Arc::new);
            let environment = described.environment.clone().into_iter().collect();
            let given = |name: &str| std::env::var(name).ok();
            let variables = variables::resolve(described, &manifest.variables, &given)?;
            let additions = Additions::default();
            let handler = Handler { pre, service, fill, additions, environment, variables };
            handlers.insert(id.clone(), handler);
        }
        let (manifest, handlers) = (Arc::new(manifest), Arc::new(handlers));
        Ok(Program {
            manifest,
            handlers,
            additions: Additions::default(),
            label: None,
            answers: None,
        })
    }

    /// The same program, whose instances are given `parts` through `trine:rag/snapshot` before
    /// they answer, and which responses call `label`.
    pub fn with(mut self, parts: Vec<(String, Vec<u8>)>, label: &str) -> Program {
        self.additions = parts.into();
        self.label = HeaderValue::from_str(label).ok();
        self
    }

    /// The component that a path leads to.
    pub(crate) fn handler(&self, path: &str) -> Option<Handler> {
        let handler = self.handlers.get(self.manifest.route(path)?)?;
        Some(self.given(handler))
    }

    /// All components that routes lead to.
    pub(crate) fn handlers(&self) -> impl Iterator<Item = Handler> {
        self.handlers.values().map(|handler| self.given(handler))
    }

    pub(crate) fn label(&self) -> Option<HeaderValue> {
        self.label.clone()
    }

    fn given(&self, handler: &Handler) -> Handler {
        Handler { additions: self.additions.clone(), ..handler.clone() }
    }
}

impl Handler {
    /// An instance that has what was added.
    pub(crate) async fn start(&self, store: &mut Store<State>) -> wasmtime::Result<Service> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        if let (Some(fill), false) = (&self.fill, self.additions.is_empty()) {
            let exports = fill.load(&mut *store, &instance)?;
            let guest = exports.trine_rag_snapshot();
            for (name, bytes) in self.additions.iter() {
                for chunk in bytes.chunks(CHUNK) {
                    let loaded = guest.call_load(&mut *store, name, chunk).await?;
                    loaded.map_err(wasmtime::Error::msg)?;
                }
            }
            guest.call_finish(&mut *store).await?.map_err(wasmtime::Error::msg)?;
        }
        self.service.load(&mut *store, &instance)
    }
}
