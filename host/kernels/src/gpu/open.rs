//! From an adapter to a device.

use super::recorder::Recorder;
use super::{Adapter, GpuDevice, GpuOptions, Memory, Products, Storage, shaders};
use crate::linear::Units;
use crate::{KernelError, attention, linear};

impl GpuDevice {
    pub(super) fn open(adapter: &Adapter, options: GpuOptions) -> Result<GpuDevice, KernelError> {
        let (storage, products) = choose(adapter, &options)?;
        let (device, queue) = request(adapter, storage, products)?;
        let info = adapter.raw.get_info();
        let folder = options.pipeline_cache.as_deref();
        let pipelines = shaders::Pipelines::new(device.clone(), &info, folder);
        let memory = Memory::new(device.clone(), options.memory);
        let mut limits = device.limits();
        if let Some(limit) = options.binding_limit {
            let least = limits.max_storage_buffer_binding_size.min(limit);
            limits.max_storage_buffer_binding_size = least;
        }
        let mut opened = GpuDevice {
            name: adapter.name(),
            storage,
            units: None,
            limits,
            memory,
            recorder: Recorder::new(device, queue, pipelines),
        };
        if products == Products::Cooperative {
            opened.units = opened.proven_units(Units::of(adapter))?;
            if opened.units.is_none() && options.products.is_some() {
                let reason = "its matrix units give wrong results through this driver";
                return Err(KernelError::Device(format!("{}: {reason}", adapter.name())));
            }
        }
        opened.name = format!(
            "GPU, {} ({}), {storage}, {}",
            adapter.name(),
            adapter.backend(),
            opened.products()
        );
        Ok(opened)
    }

    /// The units with the largest tiles that compute rightly through this driver. What fails is
    /// logged; only a lost device is an error.
    fn proven_units(&mut self, units: Option<Units>) -> Result<Option<Units>, KernelError> {
        let Some(units) = units else { return Ok(None) };
        let mut proven = None;
        for down in 1..=units.most_down {
            match linear::units_multiply(self, units, down) {
                Ok(true) => proven = Some(Units { most_down: down, ..units }),
                Err(error @ KernelError::Lost(_)) => return Err(error),
                other => {
                    tracing::warn!(
                        device = self.name,
                        down,
                        ?other,
                        "matrix units fail their check"
                    );
                    break;
                }
            }
        }
        self.units = proven;
        match attention::units_attend(self) {
            Ok(true) => Ok(proven),
            Err(error @ KernelError::Lost(_)) => Err(error),
            other => {
                tracing::warn!(device = self.name, ?other, "matrix units fail at attention");
                Ok(None)
            }
        }
    }
}

/// What `options` and the adapter make of each other.
fn choose(adapter: &Adapter, options: &GpuOptions) -> Result<(Storage, Products), KernelError> {
    let refuse = |what: &str| Err(KernelError::Device(format!("{} {what}", adapter.name())));
    let best = if adapter.has_f16() { Storage::F16 } else { Storage::F32 };
    let storage = options.storage.unwrap_or(best);
    if storage == Storage::F16 && best == Storage::F32 {
        return refuse("cannot store f16; store f32 (--gpu-storage f32)");
    }
    let units = storage == Storage::F16 && adapter.matrix_units().is_some();
    let best = if units { Products::Cooperative } else { Products::Tiled };
    let products = options.products.unwrap_or(best);
    if products == Products::Cooperative && !units {
        return refuse("lists no matrix units of f16 with f32 sums (8x8 or 16x16)");
    }
    Ok((storage, products))
}

fn request(
    adapter: &Adapter,
    storage: Storage,
    products: Products,
) -> Result<(wgpu::Device, wgpu::Queue), KernelError> {
    use wgpu::Features as F;
    let mut features = F::IMMEDIATES;
    features.set(F::SHADER_F16, storage == Storage::F16);
    features |= adapter.raw.features() & F::PIPELINE_CACHE;
    let mut experimental = wgpu::ExperimentalFeatures::disabled();
    if products == Products::Cooperative {
        features |= F::EXPERIMENTAL_COOPERATIVE_MATRIX;
        // SAFETY: what is experimental is the checking of cooperative-matrix operations. They
        // stand in one shader of ours, in uniform control flow, on memory that its own indices
        // keep to; `proven_units` compares products before any is used.
        experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    let missing = features - adapter.raw.features();
    if !missing.is_empty() {
        return Err(KernelError::Device(format!("{} lacks {missing:?}", adapter.name())));
    }
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("trine"),
        required_features: features,
        required_limits: adapter.raw.limits(),
        experimental_features: experimental,
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    };
    pollster::block_on(adapter.raw.request_device(&descriptor))
        .map_err(|e| KernelError::Device(format!("{}: {e}", adapter.name())))
}
