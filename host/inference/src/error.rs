//! What can go wrong: while a model is opened, and while one computes.

use std::path::PathBuf;

use trine_kernels::KernelError;

use crate::{DeviceChoice, LoadError};

/// Why a folder is no model that can be run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the model cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file of the model does not hold what its name promises.
    #[error("{path} is damaged or of another kind: {reason}; fetch the model again")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The model asks for something that is not implemented.
    #[error("`{field}` is {found}; supported: {supported}")]
    Unsupported {
        /// The field of the model's configuration.
        field: &'static str,
        /// What the model asks for.
        found: String,
        /// What it may ask for.
        supported: &'static str,
    },
    /// The configuration's numbers make no model.
    #[error("config.json: `{field}` {reason}")]
    Config {
        /// The field.
        field: &'static str,
        /// Why its value cannot be.
        reason: String,
    },
    /// The weights lack a tensor.
    #[error("the weights have no tensor `{name}`; they belong to another architecture")]
    MissingTensor {
        /// Its name, as the architecture calls it.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` is {found:?}, but config.json makes it {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor has elements of a type that cannot be used.
    #[error("tensor `{name}` is {found}; weights may be F32, F16 or BF16")]
    TensorType {
        /// Its name.
        name: String,
        /// Its element type.
        found: String,
    },
    /// A graph name was given twice.
    #[error("two graphs are called `{0}`; give one another name")]
    DuplicateGraph(String),
    /// A graph asks of a model what it cannot do.
    #[error("graph `{graph}`: a model of kind {kind} cannot be a {view}")]
    View {
        /// The graph's name.
        graph: String,
        /// What the model is.
        kind: String,
        /// What it was to be.
        view: String,
    },
}

/// Why a computation gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// An input is not what the graph takes.
    #[error("input `{input}`: {reason}")]
    InvalidInput {
        /// The input's name.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such graph.
    #[error("no graph is called `{name}`; there are: {known}")]
    UnknownGraph {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The graph does not do what was asked of it.
    #[error("graph `{name}` is a {view}; embeddings need an encoder")]
    WrongView {
        /// The graph.
        name: String,
        /// What it is.
        view: String,
    },
    /// The queue is full; the same call may succeed later.
    #[error("{waiting} computations are waiting already; try again later")]
    Busy {
        /// The queue's length.
        waiting: usize,
    },
    /// Every page of the cache is in use.
    #[error("the cache of keys and values is full; end other sessions, or give it more memory")]
    CacheFull,
    /// The call cannot be done by its deadline; the same call may be, later.
    #[error("the devices have more to do than the request has time for; try again later")]
    Late,
    /// There is no such GPU.
    #[error(
        "`{wanted}`: there is no such GPU; found: {found}. Software is used only when it is named \
         by its number; `cpu` computes without a GPU"
    )]
    NoGpu {
        /// What was asked for.
        wanted: DeviceChoice,
        /// What there is.
        found: String,
    },
    /// The device was lost under the computation; the same call may succeed on the next.
    #[error("the device was lost ({0}); try again")]
    DeviceLost(String),
    /// The device's thread has ended.
    #[error("the device has stopped; start the engine again")]
    Stopped,
    /// The device or a model's code failed; the engine goes on.
    #[error("the computation failed: {0}")]
    Failed(String),
    /// A model could not be taken to a device.
    #[error("{0}")]
    Load(String),
    /// A kernel refused its operands.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl InferenceError {
    /// The input called `input` is wrong.
    pub(crate) fn input(input: &str, reason: impl Into<String>) -> InferenceError {
        InferenceError::InvalidInput { input: input.to_owned(), reason: reason.into() }
    }
}

impl From<trine_language::SamplingError> for InferenceError {
    fn from(error: trine_language::SamplingError) -> InferenceError {
        InferenceError::input(error.name, error.reason)
    }
}

impl From<LoadError> for InferenceError {
    fn from(error: LoadError) -> InferenceError {
        match error {
            LoadError::Model(error) => InferenceError::Load(error.to_string()),
            LoadError::Kernel(error) => InferenceError::Kernel(error),
        }
    }
}
