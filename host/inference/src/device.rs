//! Which device computes.

use std::fmt;
use std::str::FromStr;

use trine_kernels::gpu::{Adapter, GpuOptions};
use trine_kernels::{CpuDevice, GpuDevice, KernelError, Precision};

use crate::InferenceError;

/// Where a model is to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceChoice {
    /// A GPU if there is one, else the CPU. Software that poses as a GPU is none.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU: the best there is, or the adapter of this number, be it software.
    Gpu(Option<usize>),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Gpu(None) => f.write_str("gpu"),
            DeviceChoice::Gpu(Some(index)) => write!(f, "gpu:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "gpu" => Ok(DeviceChoice::Gpu(None)),
            _ => {
                let index = text.strip_prefix("gpu:").and_then(|index| index.parse().ok());
                let index = index.ok_or("write auto, cpu, gpu, or gpu:N (see `trine devices`)")?;
                Ok(DeviceChoice::Gpu(Some(index)))
            }
        }
    }
}

/// A device that a choice has come down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Cpu,
    /// The adapter of this number.
    Gpu(usize),
}

impl Place {
    /// Looks for what was chosen; asks the drivers only if it must.
    pub(crate) fn find(choice: DeviceChoice) -> Result<Place, InferenceError> {
        match choice {
            DeviceChoice::Cpu => Ok(Place::Cpu),
            DeviceChoice::Auto => {
                let gpu = Adapter::hardware(Adapter::all());
                Ok(gpu.map_or(Place::Cpu, |adapter| Place::Gpu(adapter.index())))
            }
            DeviceChoice::Gpu(wanted) => {
                let adapters = Adapter::all();
                let found = listed(&adapters);
                let adapter = match wanted {
                    None => Adapter::hardware(adapters),
                    Some(index) => adapters.into_iter().nth(index),
                };
                let index = adapter.map(|adapter| adapter.index());
                index.map(Place::Gpu).ok_or(InferenceError::NoGpu { wanted: choice, found })
            }
        }
    }
}

/// The adapters in words.
fn listed(adapters: &[Adapter]) -> String {
    let one = |adapter: &Adapter| {
        format!("gpu:{} {} ({})", adapter.index(), adapter.name(), adapter.kind())
    };
    match adapters {
        [] => "no adapter, or no Vulkan loader (libvulkan.so.1)".to_owned(),
        _ => adapters.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

pub(crate) fn open_cpu(threads: usize, precision: Precision) -> Result<CpuDevice, KernelError> {
    CpuDevice::with_precision(threads, precision)
}

/// Opens the adapter of a number anew, as drivers may have changed since it was found.
pub(crate) fn open_gpu(index: usize, options: &GpuOptions) -> Result<GpuDevice, KernelError> {
    let adapter = Adapter::all().into_iter().nth(index);
    let adapter = adapter.ok_or_else(|| KernelError::Device(format!("adapter {index} is gone")))?;
    adapter.open(options.clone())
}

/// The vector instructions that the CPU's kernels use here.
pub fn cpu_instructions() -> &'static str {
    trine_kernels::cpu::Isa::detect().name()
}

/// The names of the precisions that the CPU has instructions for here, the most exact first.
pub fn cpu_precisions() -> impl Iterator<Item = &'static str> {
    Precision::ALL.into_iter().filter(|precision| precision.is_fast_here()).map(Precision::name)
}

/// The number of the adapter that a choice comes down to; fails where that is none.
pub fn choose_adapter(choice: DeviceChoice) -> Result<usize, InferenceError> {
    let choice = match choice {
        DeviceChoice::Auto | DeviceChoice::Cpu => DeviceChoice::Gpu(None),
        gpu => gpu,
    };
    match Place::find(choice)? {
        Place::Gpu(index) => Ok(index),
        Place::Cpu => Err(InferenceError::NoGpu { wanted: choice, found: "the CPU".to_owned() }),
    }
}
