//! Flags that say how a GPU is used.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use trine_inference::gpu::{GpuOptions, Products, Storage};

/// How a GPU is used.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "GPU")]
pub struct GpuArgs {
    /// What a GPU stores numbers in [default: f16 where it can]. Sums are f32 always.
    #[arg(long, global = true, value_enum, value_name = "TYPE")]
    pub gpu_storage: Option<GpuStorage>,
    /// How a GPU multiplies matrices [default: on matrix units where it has them].
    #[arg(long, global = true, value_enum, value_name = "HOW")]
    pub gpu_products: Option<GpuProducts>,
    /// MiB that models and buffers may take on a GPU [default: what the driver gives].
    #[arg(long, global = true, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub gpu_memory: Option<u64>,
    /// Compiles a GPU's shaders at every start instead of keeping them in the cache folder.
    #[arg(long, global = true)]
    pub no_shader_cache: bool,
}

/// What a GPU stores numbers in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GpuStorage {
    /// 4 bytes a number.
    F32,
    /// 2 bytes a number.
    F16,
}

/// How a GPU multiplies matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GpuProducts {
    /// By plain arithmetic.
    Tiled,
    /// By matrix units ("tensor cores").
    Cooperative,
}

impl GpuArgs {
    /// The same for the device; compiled shaders are kept in `pipeline_cache`.
    pub fn options(&self, pipeline_cache: Option<PathBuf>) -> GpuOptions {
        GpuOptions {
            storage: self.gpu_storage.map(|storage| match storage {
                GpuStorage::F32 => Storage::F32,
                GpuStorage::F16 => Storage::F16,
            }),
            products: self.gpu_products.map(|products| match products {
                GpuProducts::Tiled => Products::Tiled,
                GpuProducts::Cooperative => Products::Cooperative,
            }),
            memory: self.gpu_memory.map(|mib| mib << 20),
            binding_limit: None,
            pipeline_cache,
        }
    }
}
