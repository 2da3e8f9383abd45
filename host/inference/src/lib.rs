//! Models, their weights, and the scheduler that feeds a device. Knows no wasm.
//!
//! [`Model::open`] reads a Hugging Face folder; [`Graphs`] gives models names and says what each
//! name computes ([`View`]); [`Engine::start`] takes them to a device, whose one owner thread
//! batches what callers ask for and cuts what is long. Tensors carry the names that exported ONNX models use.

mod adapter;
mod bert;
mod config;
mod decoder;
mod device;
mod engine;
mod error;
pub mod generation;
pub mod gguf;
mod graphs;
mod job;
mod llama;
mod mapped;
pub mod measure;
mod model;
mod packed;
mod pass;
mod precision;
mod request;
mod runner;
mod scheduler;
mod tensor;
pub mod text;
mod weights;

pub use adapter::Adapter;
pub use config::BertConfig;
pub use decoder::{DecoderConfig, DecoderModel, Rope};
pub use device::{DeviceChoice, choose_adapter, cpu_instructions, cpu_precisions};
pub use engine::{Engine, EngineOptions};
pub use error::{InferenceError, ModelError};
pub use graphs::{Graphs, View};
pub use llama::LoadError;
pub use model::{Model, ModelInfo, ModelKind};
pub use precision::PrecisionOption;
pub use tensor::{Tensor, TensorData};
pub use trine_kernels::{Pooling, gpu};
pub use trine_language::{Sampler, Sampling};
