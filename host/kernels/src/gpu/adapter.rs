//! The graphics processors that there are, and which of them to use.

use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::{GpuDevice, Products, Storage};
use crate::KernelError;

const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN.union(wgpu::Backends::METAL);

/// The drivers, loaded when they are first asked for.
static INSTANCE: LazyLock<wgpu::Instance> = LazyLock::new(|| {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: BACKENDS,
        flags: wgpu::InstanceFlags::empty(),
        // Where the driver tells how much memory there is, a buffer that does not fit is refused
        // before the system comes to a halt over it.
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
            for_resource_creation: Some(95),
            for_device_loss: None,
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
});

/// What kind of processor an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GpuKind {
    /// A card with memory of its own.
    Discrete,
    /// A part of the processor, sharing its memory.
    Integrated,
    /// A slice of a card, as virtual machines get.
    Virtual,
    /// Unknown to the driver.
    Other,
    /// The CPU in disguise, such as lavapipe: right, and slower than the CPU device.
    Software,
}

impl fmt::Display for GpuKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GpuKind::Discrete => "discrete",
            GpuKind::Integrated => "integrated",
            GpuKind::Virtual => "virtual",
            GpuKind::Other => "of unknown kind",
            GpuKind::Software => "software",
        })
    }
}

/// How a device is opened. The default leaves every choice to the adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuOptions {
    /// What matrices are stored in; by default f16 where the adapter has it.
    pub storage: Option<Storage>,
    /// How matrices are multiplied; by default on matrix units where they can be used.
    pub products: Option<Products>,
    /// Bytes that weights and buffers may take together; by default what the driver gives.
    pub memory: Option<u64>,
    /// Bytes that a kernel may see of one buffer; by default, and at most, what the adapter
    /// allows. Larger tables and weights are split.
    pub binding_limit: Option<u64>,
    /// Folder where compiled shaders are kept for the next start; by default they are not.
    pub pipeline_cache: Option<PathBuf>,
}

/// A graphics processor that a driver offers.
pub struct Adapter {
    pub(crate) raw: wgpu::Adapter,
    index: usize,
}

impl Adapter {
    /// All there are, in the order in which the drivers list them. None without a Vulkan loader
    /// (Metal on macOS) or a driver.
    pub fn all() -> Vec<Adapter> {
        let found = pollster::block_on(INSTANCE.enumerate_adapters(BACKENDS));
        found.into_iter().enumerate().map(|(index, raw)| Adapter { raw, index }).collect()
    }

    /// The best of `adapters` that is no software: discrete before integrated before others.
    pub fn hardware(adapters: Vec<Adapter>) -> Option<Adapter> {
        let real = adapters.into_iter().filter(|a| a.kind() != GpuKind::Software);
        real.min_by_key(|a| (a.kind(), a.index))
    }

    /// Its place in the list of all.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its name, as the driver gives it.
    pub fn name(&self) -> String {
        self.raw.get_info().name
    }

    /// The driver's name and version.
    pub fn driver(&self) -> String {
        let info = self.raw.get_info();
        format!("{} {}", info.driver, info.driver_info).trim().to_owned()
    }

    /// The interface it is reached by.
    pub fn backend(&self) -> String {
        self.raw.get_info().backend.to_string()
    }

    /// What kind of processor it is.
    pub fn kind(&self) -> GpuKind {
        match self.raw.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => GpuKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => GpuKind::Integrated,
            wgpu::DeviceType::VirtualGpu => GpuKind::Virtual,
            wgpu::DeviceType::Cpu => GpuKind::Software,
            wgpu::DeviceType::Other => GpuKind::Other,
        }
    }

    /// Least and most invocations of a subgroup.
    pub fn subgroup_sizes(&self) -> (u32, u32) {
        let info = self.raw.get_info();
        (info.subgroup_min_size, info.subgroup_max_size)
    }

    /// Bytes that one kernel may see of one buffer.
    pub fn binding_limit(&self) -> u64 {
        let limits = self.raw.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// Bytes of memory that a workgroup shares.
    pub fn workgroup_memory(&self) -> u32 {
        self.raw.limits().max_compute_workgroup_storage_size
    }

    /// Whether shaders may store and compute in f16.
    pub fn has_f16(&self) -> bool {
        self.raw.features().contains(wgpu::Features::SHADER_F16)
    }

    /// The edge of the matrix units' tiles, f16 operands with f32 sums; `None` where there are no
    /// units that the shaders can use.
    pub fn matrix_units(&self) -> Option<u32> {
        use wgpu::CooperativeScalarType::{F16, F32};
        if !self.has_f16()
            || !self.raw.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        {
            return None;
        }
        let listed = self.raw.cooperative_matrix_properties();
        let edge = |p: &wgpu::CooperativeMatrixProperties| {
            let square = p.m_size == p.n_size && p.n_size == p.k_size;
            (square && p.ab_type == F16 && p.cr_type == F32).then_some(p.m_size)
        };
        listed.iter().filter_map(edge).filter(|edge| [8, 16].contains(edge)).max()
    }

    /// Opens the adapter. Refuses what `options` ask for and it lacks.
    pub fn open(&self, options: GpuOptions) -> Result<GpuDevice, KernelError> {
        GpuDevice::open(self, options)
    }
}
