//! What can go wrong between a bundle and an answer.

use std::time::Duration;

/// Why an application could not be made, or a request not answered.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// spin.toml asks for something that is wrong or not supported.
    #[error("spin.toml: {0}")]
    Manifest(String),
    /// A component cannot be filled and frozen.
    #[error("component `{component}` cannot be prepared: {reason}")]
    Snapshot {
        /// The component.
        component: String,
        /// Its own words, or wasmtime's.
        reason: String,
    },
    /// Components do not fit together, or do not fit this host.
    #[error("the application cannot be put together: {0}")]
    Compose(String),
    /// Applications cannot be put behind one address.
    #[error("{0}")]
    Site(String),
    /// wasmtime cannot be set up on this machine.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// A guest used more than it may.
    #[error("the request needed more than {limit} of memory and was stopped")]
    Memory {
        /// The limit, in words.
        limit: String,
    },
    /// A guest took longer than it may.
    #[error("the request took longer than {0:?} and was stopped")]
    Timeout(Duration),
    /// As many requests run and wait as may.
    #[error("{0} requests are running and waiting, which is as many as may; try again")]
    Busy(u32),
    /// A guest trapped.
    #[error("the component failed: {0}")]
    Trap(String),
}

impl RuntimeError {
    pub(crate) fn engine(error: impl std::fmt::Display) -> Self {
        RuntimeError::Engine(format!("{error:#}"))
    }

    pub(crate) fn compose(error: impl std::fmt::Display) -> Self {
        RuntimeError::Compose(format!("{error:#}"))
    }
}
