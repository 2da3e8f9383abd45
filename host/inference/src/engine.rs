//! Graphs on a device, for callers of any thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use trine_kernels::{CpuDevice, Device, Sequences};
use trine_text::tokens::Encoded;

use crate::bert::{self, Batch, Bert};
use crate::precision::PrecisionOption;
use crate::queue::{Pending, Queue, Work};
use crate::request::{Limits, Request, Wanted};
use crate::{Graphs, InferenceError, Model, ModelInfo, Tensor, View};

/// How an engine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Threads of the CPU; 0 takes as many as the machine runs at once.
    pub threads: usize,
    /// In which numbers the CPU multiplies.
    pub precision: PrecisionOption,
    /// Calls that may wait; one more is refused as [`InferenceError::Busy`].
    pub queue_depth: usize,
    /// Tokens up to which waiting calls are computed together.
    pub batch_tokens: usize,
    /// Tokens that one call may have, padding included.
    pub call_tokens: usize,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions {
            threads: 0,
            precision: PrecisionOption::F32,
            queue_depth: 1024,
            batch_tokens: 16_384,
            call_tokens: 65_536,
        }
    }
}

/// A handle to a device and the graphs on it. Clones share them; dropping the last waits for the
/// batch under way and ends the device's thread.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    device: String,
    options: EngineOptions,
    graphs: BTreeMap<String, Graph>,
    queue: Queue<Job>,
}

struct Graph {
    view: View,
    info: ModelInfo,
    /// Which of the device's models.
    model: usize,
}

/// A request and the model it is for.
struct Job {
    model: usize,
    request: Request,
}

impl Work for Job {
    type Output = Tensor;

    fn key(&self) -> usize {
        self.model
    }

    fn size(&self) -> usize {
        self.request.tokens()
    }
}

impl Engine {
    /// Takes the graphs' models to the CPU. Fails when the device cannot be started.
    pub fn start(graphs: Graphs, options: EngineOptions) -> Result<Engine, InferenceError> {
        let mut models: Vec<Arc<Model>> = Vec::new();
        let mut by_name = BTreeMap::new();
        for (name, (model, view)) in graphs.graphs {
            let known = models.iter().position(|other| Arc::ptr_eq(other, &model));
            let info = model.info().clone();
            let model = known.unwrap_or_else(|| {
                models.push(model);
                models.len() - 1
            });
            by_name.insert(name, Graph { view, info, model });
        }
        let (named, name) = std::sync::mpsc::sync_channel(1);
        let setup = move || {
            let device = CpuDevice::with_precision(options.threads, options.precision.here())?;
            let _ = named.send(device.name());
            Runner::new(device, models).map(|runner| move |jobs: &[Job]| runner.run(jobs))
        };
        let queue = Queue::start(options.queue_depth, options.batch_tokens, setup)?;
        let device = name.recv().map_err(|_| InferenceError::Stopped)?;
        tracing::info!(%device, graphs = by_name.len(), "engine started");
        Ok(Engine(Arc::new(Inner { device, options, graphs: by_name, queue })))
    }

    /// The device in words.
    pub fn device(&self) -> &str {
        &self.0.device
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
    /// full queue.
    pub async fn compute(
        &self,
        graph: &str,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, InferenceError> {
        let (output, pending) = self.submit(graph, inputs)?;
        let tensor = pending.await.map_err(|_| InferenceError::Stopped)??;
        Ok(vec![(output.to_owned(), tensor)])
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
        let (output, pending) = self.submit(graph, inputs)?;
        Ok(vec![(output.to_owned(), wait(pending)?)])
    }

    /// One vector a text, pooled and normalised as the model wants it. Texts are taken to the
    /// device in as many calls as the batch's token budget makes of them.
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
        for part in parts(texts, self.0.options.batch_tokens) {
            let request = Request::from_encoded(self.limits(found), part)?;
            let tensor = wait(self.0.queue.submit(Job { model: found.model, request })?)?;
            let values = tensor.as_f32().unwrap_or_default();
            vectors.extend(values.chunks_exact(found.info.hidden_size).map(<[f32]>::to_vec));
        }
        Ok(vectors)
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

    /// The output's name, and the output when it is there.
    fn submit(
        &self,
        name: &str,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<(&'static str, Pending<Tensor>), InferenceError> {
        let graph = self.graph(name)?;
        let request = Request::from_tensors(graph.view, self.limits(graph), inputs)?;
        let output = match graph.view {
            View::Encoder => "last_hidden_state",
            View::SentenceEmbedding => "sentence_embedding",
            View::CrossEncoder => "logits",
            View::LateInteraction => "scores",
        };
        Ok((output, self.0.queue.submit(Job { model: graph.model, request })?))
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

/// What the device's thread owns.
struct Runner<D: Device> {
    device: D,
    models: Vec<OnDevice<D>>,
}

struct OnDevice<D: Device> {
    info: ModelInfo,
    bert: Bert<D>,
}

impl<D: Device> Runner<D> {
    /// Uploads the models, letting go of each on the host as soon as it is there.
    fn new(device: D, models: Vec<Arc<Model>>) -> Result<Runner<D>, InferenceError> {
        let upload = |model: Arc<Model>| {
            let bert = Bert::upload(&device, &model)?;
            Ok(OnDevice { info: model.info().clone(), bert })
        };
        let models = models.into_iter().map(upload).collect::<Result<_, InferenceError>>()?;
        Ok(Runner { device, models })
    }

    /// One forward pass over all jobs, which are for one model, then what each wants of it.
    fn run(&self, jobs: &[Job]) -> Result<Vec<Tensor>, InferenceError>
    where
        D: Sync,
        Bert<D>: Sync,
    {
        let Some(first) = jobs.first() else {
            return Ok(vec![]);
        };
        let model = &self.models[first.model];
        self.device.enter(|| {
            let batch = pack(jobs)?;
            let encoded = model.bert.encode(&self.device, &batch)?;
            self.finish(model, jobs, &batch.sequences, &encoded)
        })
    }

    /// Each kind of result is computed once for all jobs that want it.
    fn finish(
        &self,
        model: &OnDevice<D>,
        jobs: &[Job],
        sequences: &Sequences,
        encoded: &bert::Encoded<D>,
    ) -> Result<Vec<Tensor>, InferenceError> {
        let (device, h) = (&self.device, model.info.hidden_size);
        let wants = |kind: fn(Wanted) -> bool| jobs.iter().any(|job| kind(job.request.wanted));
        let download = |buffer: D::Buffer| device.download(&buffer);
        let mut hidden = Vec::new(); // [t, h]
        if wants(|w| matches!(w, Wanted::HiddenStates { .. })) {
            hidden = device.download(&encoded.hidden)?;
        }
        let mut embeddings = Vec::new(); // [n, h]
        if wants(|w| w == Wanted::Embeddings) {
            let (pooling, normalize) = (model.info.pooling, model.info.normalize);
            let pooled = device.pool(&encoded.hidden, &encoded.packing, pooling, normalize)?;
            embeddings = download(pooled)?;
        }
        let mut logits = Vec::new(); // [n, labels]
        if let Some(buffer) = model.bert.classify(device, encoded)? {
            logits = download(buffer)?;
        }
        let mut scores = Vec::new(); // one a passage
        if wants(|w| w == Wanted::Scores) {
            let pairs = pairs(jobs);
            scores = download(device.maxsim(&encoded.hidden, &encoded.packing, &pairs)?)?;
        }
        let mut scores = scores.into_iter();
        let mut text = 0; // the job's first, of all jobs' texts
        let mut results = Vec::with_capacity(jobs.len());
        for Job { request, .. } in jobs {
            let texts = text..text + request.lengths.len();
            let n = texts.len();
            let rows =
                |all: &[f32], width: usize| all[texts.start * width..texts.end * width].to_vec();
            results.push(match request.wanted {
                Wanted::HiddenStates { width } => {
                    let rows = sequences.ranges().skip(texts.start).take(n);
                    Tensor::f32([n, width, h], rectangle(&hidden, rows, width, h))
                }
                Wanted::Logits => {
                    let labels = model.info.labels;
                    Tensor::f32([n, labels], rows(&logits, labels))
                }
                Wanted::Scores => Tensor::f32([n - 1], scores.by_ref().take(n - 1).collect()),
                Wanted::Embeddings => Tensor::f32([n, h], rows(&embeddings, h)),
            });
            text = texts.end;
        }
        Ok(results)
    }
}

/// All jobs' texts, one after another.
fn pack(jobs: &[Job]) -> Result<Batch, InferenceError> {
    let gather = |part: fn(&Request) -> &[u32]| -> Vec<u32> {
        jobs.iter().flat_map(|job| part(&job.request)).copied().collect()
    };
    Ok(Batch {
        words: gather(|r| &r.words),
        types: gather(|r| &r.types),
        sequences: Sequences::from_lengths(&gather(|r| &r.lengths))?,
    })
}

/// The first text of each job that wants scores with each of its others, by number in the batch.
fn pairs(jobs: &[Job]) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let mut text = 0;
    for Job { request, .. } in jobs {
        let end = text + request.lengths.len() as u32;
        if request.wanted == Wanted::Scores {
            pairs.extend((text + 1..end).map(|passage| (text, passage)));
        }
        text = end;
    }
    pairs
}

/// Packed rows as a right-padded rectangle `[texts, width, h]` of zeros elsewhere.
fn rectangle(
    hidden: &[f32],
    texts: impl ExactSizeIterator<Item = std::ops::Range<usize>>,
    width: usize,
    h: usize,
) -> Vec<f32> {
    let mut values = vec![0.0; texts.len() * width * h];
    for (values, rows) in values.chunks_exact_mut(width * h).zip(texts) {
        values[..rows.len() * h].copy_from_slice(&hidden[rows.start * h..rows.end * h]);
    }
    values
}
