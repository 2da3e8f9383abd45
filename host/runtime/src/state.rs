//! What one request's store holds, and what of WASI it is given.
//!
//! The list is short on purpose: HTTP types (nothing outgoing), clocks, the environment that
//! spin.toml sets, its variables, wasi:nn and trine:inference. A component that imports more does not start.

use std::time::{Duration, Instant};

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use crate::language::{LanguageState, LanguageView};
use crate::limits::MemoryMeter;
use crate::nn::{NnState, NnView};
use crate::variables::{Values, Variables, VariablesView};
use crate::{LanguageModels, Limits, RuntimeError};

/// One request's state.
pub(crate) struct State {
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: NothingOutgoing,
    wasi: WasiCtx,
    nn: NnState,
    language: LanguageState,
    variables: Values,
    pub(crate) meter: MemoryMeter,
}

/// Resources (tensors, errors, bodies) that a request may hold at the same time.
const RESOURCES: usize = 10_000;

/// Time that is left to a request, of a long one, when language models have had theirs.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl State {
    pub(crate) fn new(
        engine: trine_inference::Engine,
        models: LanguageModels,
        limits: &Limits,
        environment: &[(String, String)],
        variables: Values,
    ) -> State {
        let now = Instant::now();
        let deadline = now + limits.timeout;
        let language = LanguageState {
            models,
            tokens: limits.language_tokens,
            time: limits.language_time,
            deadline: now + limits.timeout.saturating_sub(LAST_WORDS.min(limits.timeout / 10)),
            spent: Duration::ZERO,
            held: 0,
        };
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        State {
            table,
            http: WasiHttpCtx::new(),
            hooks: NothingOutgoing,
            wasi: WasiCtxBuilder::new().envs(environment).build(),
            nn: NnState { engine, budget: limits.tensors, deadline, spent: Duration::ZERO },
            language,
            variables,
            meter: MemoryMeter::new(limits.memory),
        }
    }

    /// Time that the guest waited for models, their queue included.
    pub(crate) fn inference_time(&self) -> Duration {
        self.nn.spent + self.language.spent
    }

    fn nn(&mut self) -> NnView<'_> {
        NnView { nn: &mut self.nn, language: &mut self.language, table: &mut self.table }
    }

    fn language(&mut self) -> LanguageView<'_> {
        LanguageView { language: &mut self.language, table: &mut self.table }
    }

    fn variables(&mut self) -> VariablesView<'_> {
        VariablesView(&self.variables)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Refuses requests to the outside, should a component find a way to make one.
struct NothingOutgoing;

type Outcome<T> = Box<dyn Future<Output = Result<T, Error>> + Send>;

impl WasiHttpHooks for NothingOutgoing {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _body_error: Outcome<()>,
    ) -> Outcome<(http::Response<WasiBody>, Outcome<()>)> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

/// Names the view that wasi:nn's bindings are linked with.
struct Nn;

impl HasData for Nn {
    type Data<'a> = NnView<'a>;
}

/// Names the view that trine:inference's bindings are linked with.
struct Language;

impl HasData for Language {
    type Data<'a> = LanguageView<'a>;
}

/// Everything a guest may import.
pub(crate) fn linker(engine: &wasmtime::Engine) -> Result<Linker<State>, RuntimeError> {
    let mut linker = Linker::new(engine);
    link(&mut linker).map_err(RuntimeError::engine)?;
    Ok(linker)
}

fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use crate::bindings::language::trine::inference::generation;
    use crate::bindings::models::wasi::nn;
    use wasmtime_wasi::p3::bindings::{cli, clocks};
    use wasmtime_wasi_http::p3::bindings::http;
    http::types::add_to_linker::<_, WasiHttp>(linker, State::http)?;
    clocks::types::add_to_linker::<_, WasiClocks>(linker, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, State::clocks)?;
    clocks::system_clock::add_to_linker::<_, WasiClocks>(linker, State::clocks)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    nn::errors::add_to_linker::<_, Nn>(linker, State::nn)?;
    nn::tensor::add_to_linker::<_, Nn>(linker, State::nn)?;
    nn::graph::add_to_linker::<_, Nn>(linker, State::nn)?;
    nn::inference::add_to_linker::<_, Nn>(linker, State::nn)?;
    generation::add_to_linker::<_, Language>(linker, State::language)?;
    crate::bindings::variables::Variables::add_to_linker::<_, Variables>(linker, State::variables)
}
