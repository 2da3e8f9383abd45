//! Commands on their way to the device: one command buffer and one submission a download.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::memory::{Block, Memory};
use super::shaders::{Kernel, Pipelines};
use crate::KernelError;

/// How long a submission may take before the device counts as lost.
const PATIENCE: Duration = Duration::from_secs(600);

/// Bind groups that are kept, since pooled buffers come round in the same order.
const GROUPS_KEPT: usize = 4096;

/// What the driver reported outside of any call.
#[derive(Default)]
pub(crate) struct Reports {
    lost: OnceLock<String>,
    error: Mutex<Option<String>>,
}

impl Reports {
    /// Has the device's reports end here rather than in a panic.
    pub(crate) fn of(device: &wgpu::Device) -> Arc<Reports> {
        let reports = Arc::new(Reports::default());
        let lost = reports.clone();
        device.set_device_lost_callback(move |reason, message| {
            let _ = lost.lost.set(format!("{reason:?}: {message}"));
        });
        let failed = reports.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut first = failed.error.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.to_string());
        }));
        reports
    }

    /// The first thing that went wrong since the last call.
    pub(crate) fn check(&self) -> Result<(), KernelError> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reason) = self.lost.get() {
            return Err(KernelError::Lost(reason.clone()));
        }
        error.map_or(Ok(()), |reason| Err(KernelError::Device(reason)))
    }
}

/// The commands since the last submission, and the way they go.
pub(crate) struct Recorder {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipelines: Pipelines,
    reports: Arc<Reports>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    groups: HashMap<(wgpu::ComputePipeline, Vec<wgpu::Buffer>), wgpu::BindGroup>,
}

impl Recorder {
    pub(crate) fn new(device: wgpu::Device, queue: wgpu::Queue, pipelines: Pipelines) -> Recorder {
        let reports = Reports::of(&device);
        Recorder { device, queue, pipelines, reports, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records one kernel: the buffers in the order of its bindings, its parameters as words, and
    /// how many workgroups there are.
    pub(crate) fn dispatch(
        &self,
        kernel: Kernel,
        buffers: &[&wgpu::Buffer],
        parameters: &[u32],
        groups: [u32; 2],
    ) {
        debug_assert_eq!(buffers.len(), kernel.shader.bindings.len(), "{}", kernel.shader.name);
        let bytes: &[u8] = bytemuck::cast_slice(parameters);
        debug_assert_eq!(bytes.len(), kernel.shader.immediates as usize, "{}", kernel.shader.name);
        if groups.contains(&0) {
            return;
        }
        let pipeline = self.pipelines.get(kernel);
        let mut state = self.lock();
        let group = self.group(&mut state, &pipeline, buffers);
        let State { encoder, pass, .. } = &mut *state;
        let pass = pass.get_or_insert_with(|| {
            let encoder = encoder
                .get_or_insert_with(|| self.device.create_command_encoder(&Default::default()));
            encoder.begin_compute_pass(&Default::default()).forget_lifetime()
        });
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.set_immediates(0, bytes);
        pass.dispatch_workgroups(groups[0], groups[1], 1);
    }

    /// Records copies of one buffer's first bytes into another, one after another.
    pub(crate) fn copy(&self, from: &wgpu::Buffer, to: &wgpu::Buffer, bytes: u64, rounds: u32) {
        let mut state = self.lock();
        state.pass = None;
        let encoder = state
            .encoder
            .get_or_insert_with(|| self.device.create_command_encoder(&Default::default()));
        for _ in 0..rounds {
            encoder.copy_buffer_to_buffer(from, 0, to, 0, bytes);
        }
    }

    fn group(
        &self,
        state: &mut State,
        pipeline: &wgpu::ComputePipeline,
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        let key = (pipeline.clone(), buffers.iter().map(|&b| b.clone()).collect());
        if let Some(group) = state.groups.get(&key) {
            return group.clone();
        }
        let entries: Vec<_> = buffers
            .iter()
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        if state.groups.len() >= GROUPS_KEPT {
            state.groups.clear();
        }
        state.groups.insert(key, group.clone());
        group
    }

    /// Writes a buffer before the commands that are recorded and not yet submitted.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, bytes: &[u8]) {
        let whole = bytes.len() / 4 * 4;
        self.queue.write_buffer(buffer, 0, &bytes[..whole]);
        if whole < bytes.len() {
            let mut last = [0; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.queue.write_buffer(buffer, whole as u64, &last);
        }
    }

    /// Submits what is recorded, copies into `readbacks` included, waits for it, and hands over
    /// the bytes of each.
    pub(crate) fn finish(
        &self,
        memory: &Memory,
        readbacks: &[(&wgpu::Buffer, Block, u64)],
    ) -> Result<Vec<wgpu::BufferView>, KernelError> {
        let index = {
            let mut state = self.lock();
            state.pass = None;
            let mut encoder = state
                .encoder
                .take()
                .unwrap_or_else(|| self.device.create_command_encoder(&Default::default()));
            for (from, to, bytes) in readbacks {
                encoder.copy_buffer_to_buffer(from, 0, to.buffer(), 0, *bytes);
            }
            self.queue.submit([encoder.finish()])
        };
        memory.submitted();
        for (_, to, bytes) in readbacks {
            // What is wrong with the mapping shows when the bytes are asked for.
            to.buffer().map_async(wgpu::MapMode::Read, 0..*bytes, |_| {});
        }
        let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(PATIENCE) };
        let waited = self.device.poll(wait);
        self.reports.check()?;
        waited.map_err(|error| KernelError::Lost(error.to_string()))?;
        let view = |(_, to, bytes): &(_, Block, u64)| to.buffer().get_mapped_range(0..*bytes);
        let views = readbacks.iter().map(view).collect::<Result<_, _>>();
        views.map_err(|error| KernelError::Device(error.to_string()))
    }

    /// Forgets bind groups, which hold on to their buffers.
    pub(crate) fn forget_groups(&self) {
        self.lock().groups.clear();
    }

    pub(crate) fn save_pipelines(&self) {
        self.pipelines.save();
    }

    pub(crate) fn destroy(&self) {
        self.device.destroy();
        // Has the driver's report come now; a failure to ask is the same news.
        let _ = self.device.poll(wgpu::PollType::Poll);
    }
}
