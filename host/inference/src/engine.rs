//! Graphs on a device, for callers of any thread.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::registry::Registry;
use trine_kernels::Precision;
use trine_kernels::gpu::GpuOptions;
use trine_text::tokens::Encoded;

use crate::device::{self, DeviceChoice, Place};
use crate::job::Job;
use crate::precision::PrecisionOption;
use crate::request::{Limits, Request};
use crate::runner::{GpuRunner, Runner};
use crate::scheduler::{Compute, Metrics, Pending, Scheduler, Turns};
use crate::{Graphs, InferenceError, Model, ModelInfo, Tensor, View};

/// How an engine is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Where models compute that [`Graphs::place`] says nothing of.
    pub device: DeviceChoice,
    /// How a GPU is opened.
    pub gpu: GpuOptions,
    /// Threads of the CPU; 0 takes as many as the machine runs at once.
    pub threads: usize,
    /// In which numbers the CPU multiplies; a GPU's are in `gpu`.
    pub precision: PrecisionOption,
    /// Calls that may wait or be under way; one more is refused as [`InferenceError::Busy`].
    pub queue_depth: usize,
    /// Tokens that a forward pass on the CPU has at most: calls are computed together up to it,
    /// and cut beyond it, between texts. A pass has fewer where the device is slow. A GPU, which
    /// large passes keep busier, takes up to `call_tokens`, or what its buffers hold.
    pub batch_tokens: usize,
    /// Tokens that one call may have, padding included.
    pub call_tokens: usize,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions {
            device: DeviceChoice::Auto,
            gpu: GpuOptions::default(),
            threads: 0,
            precision: PrecisionOption::Auto,
            queue_depth: 1024,
            batch_tokens: 2048,
            call_tokens: 65_536,
        }
    }
}

/// A handle to devices and the graphs on them. Clones share them; dropping the last waits for the
/// batches under way and ends the devices' threads.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    options: EngineOptions,
    graphs: BTreeMap<String, Graph>,
    devices: Vec<OnDevice>,
}

struct Graph {
    view: View,
    info: ModelInfo,
    /// Which of the devices.
    device: usize,
    /// Which of the device's models.
    model: usize,
}

/// A device's name, and the way to its thread.
struct OnDevice {
    place: Place,
    name: String,
    scheduler: Scheduler<Job>,
    metrics: Arc<Metrics>,
}

/// A device to be, and its models.
struct Plan {
    place: Place,
    models: Vec<Arc<Model>>,
}

impl Engine {
    /// Takes the graphs' models to their devices. Fails when a device is not there, cannot be
    /// started, or has no room for its models.
    pub fn start(graphs: Graphs, options: EngineOptions) -> Result<Engine, InferenceError> {
        let mut plans: Vec<Plan> = Vec::new();
        let mut found = BTreeMap::new();
        let mut by_name = BTreeMap::new();
        for (name, (model, view)) in graphs.graphs {
            let choice = graphs.places.iter().find(|(placed, _)| Arc::ptr_eq(placed, &model));
            let choice = choice.map_or(options.device, |(_, choice)| *choice);
            let place = match found.get(&choice) {
                Some(place) => *place,
                None => *found.entry(choice).or_insert(Place::find(choice)?),
            };
            let device = plans.iter().position(|plan| plan.place == place).unwrap_or_else(|| {
                plans.push(Plan { place, models: Vec::new() });
                plans.len() - 1
            });
            let models = &mut plans[device].models;
            let known = models.iter().position(|other| Arc::ptr_eq(other, &model));
            let info = model.info().clone();
            if known.is_none() && place == Place::Cpu {
                told(&name, model.precision().unwrap_or(options.precision.here()));
            }
            let model = known.unwrap_or_else(|| {
                models.push(model);
                models.len() - 1
            });
            by_name.insert(name, Graph { view, info, device, model });
        }
        drop(graphs.places);
        let start = |plan| OnDevice::start(plan, &options);
        let devices = plans.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Engine(Arc::new(Inner { options, graphs: by_name, devices })))
    }

    /// The devices in words.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.0.devices.iter().map(|device| device.name.as_str())
    }

    /// Names what each device's scheduler counts: calls by outcome, waits, batches.
    pub fn register(&self, registry: &mut Registry) {
        for OnDevice { name, metrics, .. } in &self.0.devices {
            let label = (Cow::from("device"), Cow::from(name.clone()));
            metrics.register(registry.sub_registry_with_label(label));
        }
    }

    /// The names of the graphs.
    pub fn graphs(&self) -> impl Iterator<Item = &str> {
        self.0.graphs.keys().map(String::as_str)
    }

    /// What a graph is, and the model behind it; `None` where there is no such graph.
    pub fn info(&self, graph: &str) -> Option<(View, &ModelInfo)> {
        self.0.graphs.get(graph).map(|g| (g.view, &g.info))
    }

    /// Computes a graph on named tensors; see [`View`] for the names. Dropping the future
    /// withdraws the call. Fails at once on inputs that are not what the graph takes and on a
    /// full queue, and with [`InferenceError::Late`] once the deadline cannot be kept.
    pub async fn compute(
        &self,
        graph: &str,
        inputs: Vec<(String, Tensor)>,
        deadline: Option<Instant>,
    ) -> Result<Vec<(String, Tensor)>, InferenceError> {
        let (view, pending) = self.submit(graph, inputs, deadline)?;
        Ok(view.outputs(pending.await.map_err(|_| InferenceError::Stopped)??))
    }

    /// [`Engine::compute`] for callers without an async runtime.
    ///
    /// # Panics
    /// Within an async task, which must not block.
    pub fn compute_blocking(
        &self,
        graph: &str,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, InferenceError> {
        let (view, pending) = self.submit(graph, inputs, None)?;
        Ok(view.outputs(wait(pending)?))
    }

    /// One vector a text, pooled and normalised as the model wants it. Texts are taken to the
    /// device in as many calls as a call's bound on tokens makes of them.
    ///
    /// # Panics
    /// Within an async task, which must not block.
    pub fn embed_blocking(
        &self,
        graph: &str,
        texts: &[Encoded],
    ) -> Result<Vec<Vec<f32>>, InferenceError> {
        let found = self.graph(graph)?;
        if !matches!(found.view, View::Encoder | View::SentenceEmbedding) {
            let (name, view) = (graph.to_owned(), found.view.to_string());
            return Err(InferenceError::WrongView { name, view });
        }
        let mut vectors = Vec::with_capacity(texts.len());
        for part in parts(texts, self.0.options.call_tokens) {
            let request = Request::from_encoded(self.limits(found), part)?;
            let job = Job::new(found.model, &found.info, request);
            let tensor = wait(self.scheduler(found).submit(job, None)?)?;
            let values = tensor.as_f32().unwrap_or_default();
            vectors.extend(values.chunks_exact(found.info.hidden_size).map(<[f32]>::to_vec));
        }
        Ok(vectors)
    }

    /// Turns at a device, where graphs of this engine compute there.
    pub(crate) fn turns(&self, place: Place) -> Option<Turns<Job>> {
        let device = self.0.devices.iter().find(|device| device.place == place)?;
        Some(device.scheduler.turns())
    }

    fn graph(&self, name: &str) -> Result<&Graph, InferenceError> {
        self.0.graphs.get(name).ok_or_else(|| InferenceError::UnknownGraph {
            name: name.to_owned(),
            known: self.graphs().collect::<Vec<_>>().join(", "),
        })
    }

    fn limits<'a>(&self, graph: &'a Graph) -> Limits<'a> {
        Limits { model: &graph.info, tokens: self.0.options.call_tokens }
    }

    /// What the graph computes, and the result when it is there.
    fn submit(
        &self,
        name: &str,
        inputs: Vec<(String, Tensor)>,
        deadline: Option<Instant>,
    ) -> Result<(View, Pending<Tensor>), InferenceError> {
        let graph = self.graph(name)?;
        let request = Request::from_tensors(graph.view, self.limits(graph), inputs)?;
        let job = Job::new(graph.model, &graph.info, request);
        Ok((graph.view, self.scheduler(graph).submit(job, deadline)?))
    }

    fn scheduler(&self, graph: &Graph) -> &Scheduler<Job> {
        &self.0.devices[graph.device].scheduler
    }
}

impl OnDevice {
    fn start(plan: Plan, options: &EngineOptions) -> Result<OnDevice, InferenceError> {
        let Plan { place, models } = plan;
        let budget = match place {
            Place::Cpu => options.batch_tokens,
            Place::Gpu(_) => options.call_tokens,
        };
        let count = models.len();
        let (threads, precision) = (options.threads, options.precision.here());
        let gpu = options.gpu.clone();
        let (named, name) = std::sync::mpsc::sync_channel(1);
        let setup = move || -> Result<Box<dyn Compute<Job>>, InferenceError> {
            match place {
                Place::Cpu => {
                    let runner =
                        Runner::new(device::open_cpu(threads, precision)?, models, budget)?;
                    let _ = named.send(runner.device());
                    Ok(Box::new(runner))
                }
                Place::Gpu(index) => {
                    let runner = GpuRunner::new(index, gpu, models, budget)?;
                    let _ = named.send(runner.device());
                    Ok(Box::new(runner))
                }
            }
        };
        let metrics = Arc::new(Metrics::new());
        let scheduler = Scheduler::start(options.queue_depth, metrics.clone(), setup)?;
        let name = name.recv().map_err(|_| InferenceError::Stopped)?;
        tracing::info!(device = %name, models = count, "device started");
        Ok(OnDevice { place, name, scheduler, metrics })
    }
}

/// Says in which numbers a model is computed.
fn told(graph: &str, precision: Precision) {
    match precision {
        Precision::Int8 => tracing::warn!(
            graph,
            "computed in int8, whose error depends on the model: `trine eval` and `trine bench \
             rerank` measure it"
        ),
        _ => tracing::info!(graph, precision = precision.name(), "computed on the CPU"),
    }
}

fn wait(pending: Pending<Tensor>) -> Result<Tensor, InferenceError> {
    pending.blocking_recv().map_err(|_| InferenceError::Stopped)?
}

/// Cuts texts into runs of at most `budget` tokens; a longer text is a run of its own.
fn parts(texts: &[Encoded], budget: usize) -> impl Iterator<Item = &[Encoded]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let fits = |text: &&Encoded| {
            tokens += text.ids.len();
            tokens <= budget
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
}
