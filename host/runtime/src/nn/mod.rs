//! wasi:nn for guests: models by name, tensors in and out, through the inference queue. A language
//! model's graph goes through the loop that makes its answers.
//!
//! Guests' bytes are never loaded as a model, and a guest never names a device. Everything a
//! guest passes is untrusted: sizes are held against the request's budget before they are kept,
//! and what is wrong with a tensor is an error that names the input.

mod tensor;

use std::sync::Arc;
use std::time::{Duration, Instant};

use trine_inference::{Engine, InferenceError};
use wasmtime::component::{Resource, ResourceTable};

use crate::bindings::models::wasi::nn::{errors, graph, inference, tensor as wit};
use crate::language::LanguageState;

pub use tensor::Tensor;

/// An error a guest may look into.
pub struct Error {
    code: errors::ErrorCode,
    data: String,
}

/// A model the host knows.
pub struct Graph {
    name: Arc<str>,
}

/// A model about to be run.
pub struct Context {
    name: Arc<str>,
}

/// wasi:nn's state in one request.
pub(crate) struct NnState {
    pub(crate) engine: Engine,
    /// Bytes of tensors that the request may still hold.
    pub(crate) budget: usize,
    /// When the request's time is over.
    pub(crate) deadline: Instant,
    /// Time that the guest waited for models.
    pub(crate) spent: Duration,
}

/// A view of the state and the table that its resources live in.
pub(crate) struct NnView<'a> {
    pub(crate) nn: &'a mut NnState,
    pub(crate) language: &'a mut LanguageState,
    pub(crate) table: &'a mut ResourceTable,
}

type Fallible<T> = Result<T, Resource<Error>>;

impl NnView<'_> {
    fn error<T>(
        &mut self,
        code: errors::ErrorCode,
        data: impl Into<String>,
    ) -> wasmtime::Result<Fallible<T>> {
        Ok(Err(self.table.push(Error { code, data: data.into() })?))
    }

    /// Keeps a tensor, if the request's budget allows.
    fn keep(&mut self, tensor: Tensor) -> wasmtime::Result<Resource<Tensor>> {
        let Some(left) = self.nn.budget.checked_sub(tensor.bytes()) else {
            // A constructor has no error to return: the guest is stopped.
            wasmtime::bail!(
                "the request holds more tensors than it may ({} bytes left, {} asked for)",
                self.nn.budget,
                tensor.bytes()
            );
        };
        self.nn.budget = left;
        Ok(self.table.push(tensor)?)
    }

    fn release(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<Tensor> {
        let tensor = self.table.delete(tensor)?;
        self.nn.budget += tensor.bytes();
        Ok(tensor)
    }
}

impl errors::Host for NnView<'_> {}

impl errors::HostError for NnView<'_> {
    fn code(&mut self, error: Resource<Error>) -> wasmtime::Result<errors::ErrorCode> {
        Ok(self.table.get(&error)?.code)
    }

    fn data(&mut self, error: Resource<Error>) -> wasmtime::Result<String> {
        Ok(self.table.get(&error)?.data.clone())
    }

    fn drop(&mut self, error: Resource<Error>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl wit::Host for NnView<'_> {}

impl wit::HostTensor for NnView<'_> {
    fn new(
        &mut self,
        dimensions: Vec<u32>,
        ty: wit::TensorType,
        data: Vec<u8>,
    ) -> wasmtime::Result<Resource<Tensor>> {
        self.keep(Tensor { dimensions, ty, data })
    }

    fn dimensions(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<Vec<u32>> {
        Ok(self.table.get(&tensor)?.dimensions.clone())
    }

    fn ty(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<wit::TensorType> {
        Ok(self.table.get(&tensor)?.ty)
    }

    fn data(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&tensor)?.data.clone())
    }

    fn drop(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<()> {
        self.release(tensor)?;
        Ok(())
    }
}

impl graph::Host for NnView<'_> {
    fn load(
        &mut self,
        _builder: Vec<Vec<u8>>,
        _encoding: graph::GraphEncoding,
        _target: graph::ExecutionTarget,
    ) -> wasmtime::Result<Fallible<Resource<Graph>>> {
        self.error(
            errors::ErrorCode::UnsupportedOperation,
            "models are loaded by name; a guest's bytes are not taken as a model",
        )
    }

    fn load_by_name(&mut self, name: String) -> wasmtime::Result<Fallible<Resource<Graph>>> {
        let models = &self.language.models;
        if self.nn.engine.info(&name).is_none() && models.find(&name).is_none() {
            let models = models.iter().map(|model| model.name());
            let known = self.nn.engine.graphs().chain(models).collect::<Vec<_>>().join(", ");
            return self.error(
                errors::ErrorCode::NotFound,
                format!("no model is called `{name}`; there are: {known}"),
            );
        }
        Ok(Ok(self.table.push(Graph { name: name.into() })?))
    }
}

impl graph::HostGraph for NnView<'_> {
    fn init_execution_context(
        &mut self,
        graph: Resource<Graph>,
    ) -> wasmtime::Result<Fallible<Resource<Context>>> {
        let name = self.table.get(&graph)?.name.clone();
        Ok(Ok(self.table.push(Context { name })?))
    }

    fn drop(&mut self, graph: Resource<Graph>) -> wasmtime::Result<()> {
        self.table.delete(graph)?;
        Ok(())
    }
}

impl inference::Host for NnView<'_> {}

impl inference::HostGraphExecutionContext for NnView<'_> {
    async fn compute(
        &mut self,
        context: Resource<Context>,
        inputs: Vec<(String, Resource<Tensor>)>,
    ) -> wasmtime::Result<Fallible<Vec<(String, Resource<Tensor>)>>> {
        let name = self.table.get(&context)?.name.clone();
        let mut typed = Vec::with_capacity(inputs.len());
        let mut wrong = None;
        for (input, tensor) in inputs {
            match self.release(tensor)?.into_typed(&input) {
                Ok(tensor) => typed.push((input, tensor)),
                Err(reason) => wrong = wrong.or(Some(reason)),
            }
        }
        if let Some(reason) = wrong {
            return self.error(errors::ErrorCode::InvalidArgument, reason);
        }
        let computed = match self.language.models.find(&name).cloned() {
            Some(model) if self.nn.engine.info(&name).is_none() => {
                self.language.logits(&model, typed).await
            }
            _ => {
                let asked = Instant::now();
                let computed = self.nn.engine.compute(&name, typed, Some(self.nn.deadline)).await;
                self.nn.spent += asked.elapsed();
                computed
            }
        };
        match computed {
            Ok(outputs) => {
                let mut kept = Vec::with_capacity(outputs.len());
                for (name, tensor) in outputs {
                    kept.push((name, self.keep(Tensor::from_typed(tensor))?));
                }
                Ok(Ok(kept))
            }
            Err(error) => {
                let code = code(&error);
                self.error(code, error.to_string())
            }
        }
    }

    fn drop(&mut self, context: Resource<Context>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}

/// wasi:nn's code for an inference error. It has none for what may succeed when it is tried again:
/// a full queue, too little time, or a lost device, is a timeout.
fn code(error: &InferenceError) -> errors::ErrorCode {
    match error {
        InferenceError::InvalidInput { .. } => errors::ErrorCode::InvalidArgument,
        InferenceError::Busy { .. } | InferenceError::Late | InferenceError::DeviceLost(_) => {
            errors::ErrorCode::Timeout
        }
        _ => errors::ErrorCode::RuntimeError,
    }
}
