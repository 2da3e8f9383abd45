//! Tensor kernels and the devices that run them. Knows no model.
//!
//! One folder is one kernel: `mod.rs` holds its contract (shapes, numbers, what is refused) and
//! its CPU half, `*.wgsl` and `gpu.rs` the GPU's, `reference.rs` the naive loop that both are held
//! to by [`parity`].
//! [`Device`] gathers the kernels; a model written against it runs on any device.
//!
//! [`DecoderDevice`] is what a language model asks besides: weights that stay in their file's format,
//! and attention over a cache of keys and values in pages.
//!
//! Sequences are packed: the tokens of several texts lie one text after another in one matrix,
//! and [`Sequences`] says where each begins. No kernel computes on padding, and a row's result
//! is the same bits whatever rows lie beside it.

pub mod attention;
pub mod block_linear;
pub mod cpu;
pub mod decoding;
pub mod device;
pub mod embedding;
pub mod gpu;
pub mod layer_norm;
pub mod linear;
pub mod maxsim;
pub mod paged_attention;
pub mod parity;
pub mod pool;
pub mod rms_norm;
pub mod rotary;
pub mod sequences;
pub mod shared;
pub mod swiglu;

pub use block_linear::{BlockMatrix, Format, RowOrder};
pub use cpu::{CpuDevice, Precision};
pub use decoding::DecoderDevice;
pub use device::{Device, FeedForward, KernelError};
pub use gpu::GpuDevice;
pub use linear::Epilogue;
pub use paged_attention::{PAGE, PageNumbers, PagedSequences, PagesShape};
pub use pool::Pooling;
pub use rotary::Heads;
pub use sequences::Sequences;
pub use shared::Shared;
