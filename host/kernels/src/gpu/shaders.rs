//! Shaders, and the pipelines made of them.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wgpu::PipelineCompilationOptions;

/// A kernel's source, as the build checked it.
#[derive(Debug)]
pub(crate) struct Shader {
    /// Its file, without the ending.
    pub(crate) name: &'static str,
    /// The source with each prelude that it is for.
    pub(crate) sources: &'static [&'static str],
    /// The names of its bindings, in order.
    pub(crate) bindings: &'static [&'static str],
    /// Bytes of its parameters.
    pub(crate) immediates: u32,
}

include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// A shader with a prelude and the values of its `override` constants.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<'a> {
    pub(crate) shader: &'static Shader,
    /// Which of the shader's sources.
    pub(crate) source: usize,
    pub(crate) constants: &'a [(&'static str, u32)],
}

type Key = (&'static str, usize, Vec<(&'static str, u32)>);

/// Pipelines by what they were made of, and the file that keeps their code between runs.
pub(crate) struct Pipelines {
    device: wgpu::Device,
    made: Mutex<HashMap<Key, wgpu::ComputePipeline>>,
    cache: Option<wgpu::PipelineCache>,
    file: Option<PathBuf>,
}

impl Pipelines {
    /// `folder` is where compiled code is kept; what lies there and does not fit is ignored.
    pub(crate) fn new(
        device: wgpu::Device,
        info: &wgpu::AdapterInfo,
        folder: Option<&Path>,
    ) -> Pipelines {
        let supported = device.features().contains(wgpu::Features::PIPELINE_CACHE);
        let name = wgpu::util::pipeline_cache_key(info).filter(|_| supported);
        let file = folder.zip(name).map(|(folder, name)| folder.join(name));
        let cache = file.as_ref().map(|file| {
            let data = std::fs::read(file).ok();
            let descriptor = wgpu::PipelineCacheDescriptor {
                label: None,
                data: data.as_deref(),
                fallback: true,
            };
            // SAFETY: the data is what `save` wrote of `PipelineCache::get_data`, under a name
            // made of this adapter; wgpu checks its header and drops what is of another driver.
            // The file lies in the user's own cache folder, as trusted as the program itself.
            unsafe { device.create_pipeline_cache(&descriptor) }
        });
        Pipelines { device, made: Mutex::default(), cache, file }
    }

    pub(crate) fn get(&self, kernel: Kernel) -> wgpu::ComputePipeline {
        let Kernel { shader, source, constants } = kernel;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (shader.name, source, constants.to_vec());
        made.entry(key).or_insert_with(|| self.compile(shader, source, constants)).clone()
    }

    fn compile(
        &self,
        shader: &Shader,
        source: usize,
        constants: &[(&'static str, u32)],
    ) -> wgpu::ComputePipeline {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(shader.name),
            source: wgpu::ShaderSource::Wgsl(shader.sources[source].into()),
        };
        // SAFETY: the shaders are this crate's own. Each guards its accesses by the shape that it
        // is given, which the kernels' Rust halves check against the buffers before a dispatch;
        // every loop is bounded by that shape. tests/parity.rs runs each at and off every edge.
        let module = unsafe {
            self.device
                .create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        };
        let constants: Vec<(&str, f64)> =
            constants.iter().map(|&(name, value)| (name, f64::from(value))).collect();
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(shader.name),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: self.cache.as_ref(),
        })
    }

    /// Keeps the compiled code for the next start. A cache that cannot be written is no failure.
    pub(crate) fn save(&self) {
        let Some((file, data)) =
            self.file.as_ref().zip(self.cache.as_ref().and_then(wgpu::PipelineCache::get_data))
        else {
            return;
        };
        if let Err(error) = replace(file, &data) {
            tracing::debug!(file = %file.display(), %error, "compiled shaders are not kept");
        }
    }
}

/// Writes a file whole or not at all.
fn replace(file: &Path, data: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(data)?;
    new.persist(file)?;
    Ok(())
}
