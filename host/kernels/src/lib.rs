//! Tensor kernels and the devices that run them. Knows no model.
//!
//! One folder is one kernel: `mod.rs` holds its contract (shapes, numbers, what is refused) and
//! its CPU half, `*.wgsl` and `gpu.rs` the GPU's, `reference.rs` the naive loop that both are held
//! to by [`parity`].
//! [`Device`] gathers the kernels; a model written against it runs on any device.
//!
//! What a decoder will need has its places: RMS normalisation, rotary embedding and causal
//! grouped-query attention over a KV cache are folders to come, a gated SiLU is an [`Epilogue`], and
//! prepared weights are opaque, so that a quantised matrix is only another way to prepare one.
//!
//! Sequences are packed: the tokens of several texts lie one text after another in one matrix,
//! and [`Sequences`] says where each begins. No kernel computes on padding, and a row's result
//! is the same bits whatever rows lie beside it.

pub mod attention;
pub mod cpu;
pub mod device;
pub mod embedding;
pub mod gpu;
pub mod layer_norm;
pub mod linear;
pub mod maxsim;
pub mod parity;
pub mod pool;
pub mod sequences;
pub mod shared;

pub use cpu::{CpuDevice, Precision};
pub use device::{Device, KernelError};
pub use gpu::GpuDevice;
pub use linear::Epilogue;
pub use pool::Pooling;
pub use sequences::Sequences;
pub use shared::Shared;
