//! A generator on a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;

use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use trine_kernels::DecoderDevice;
use trine_kernels::gpu::GpuOptions;

use super::generator::{Generator, GeneratorOptions, room};
use super::metrics::Metrics;
use super::shared::SharedDevice;
use super::{GenerationEvent, GenerationRequest, PoolCounts, Sessions};
use crate::device::{self, DeviceChoice, Place};
use crate::scheduler::guarded;
use crate::text::TextTokenizer;
use crate::{DecoderModel, Engine, InferenceError, PrecisionOption};

/// How a model is taken to a device.
#[derive(Clone, Debug)]
pub struct GenerationOptions {
    /// Where it computes.
    pub device: DeviceChoice,
    /// How a GPU is opened.
    pub gpu: GpuOptions,
    /// Threads of the CPU; 0 takes as many as the machine runs at once.
    pub threads: usize,
    /// In which numbers the CPU multiplies weights of 16 bits; others keep theirs.
    pub precision: PrecisionOption,
    /// Bytes of the cache of keys and values at most.
    pub cache_bytes: usize,
    /// How answers share the device.
    pub generator: GeneratorOptions,
}

impl Default for GenerationOptions {
    fn default() -> GenerationOptions {
        GenerationOptions {
            device: DeviceChoice::Auto,
            gpu: GpuOptions::default(),
            threads: 0,
            precision: PrecisionOption::Auto,
            cache_bytes: 1 << 30,
            generator: GeneratorOptions::default(),
        }
    }
}

/// A model on a device and the thread that owns them. Dropping it ends all answers.
pub struct Generations {
    device: String,
    place: Place,
    shared: Arc<SharedDevice>,
    metrics: Arc<Metrics>,
    sender: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Submit(
        Box<GenerationRequest>,
        mpsc::Sender<GenerationEvent>,
        oneshot::Sender<Result<(), InferenceError>>,
    ),
    Counts(oneshot::Sender<PoolCounts>),
    Destroy,
}

/// An answer under way. Dropping it ends the answer within a step.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::Receiver<GenerationEvent>,
}

impl Generation {
    /// What comes next; `None` after the end, or where the device's thread has ended.
    pub async fn next(&mut self) -> Option<GenerationEvent> {
        self.events.recv().await
    }

    /// [`Generation::next`] for callers without an async runtime.
    ///
    /// # Panics
    /// Within an async task, which must not block.
    pub fn next_blocking(&mut self) -> Option<GenerationEvent> {
        self.events.blocking_recv()
    }
}

impl Generations {
    /// Takes a model to a device. Fails when a tensor is missing, or the device is not there or has no
    /// room.
    pub fn start(
        model: DecoderModel,
        tokenizer: Option<Arc<TextTokenizer>>,
        options: GenerationOptions,
    ) -> Result<Generations, InferenceError> {
        let place = Place::find(options.device)?;
        let (sender, receiver) = mpsc::channel(options.generator.waiting.max(1));
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let (metrics, shared) = <(Arc<Metrics>, Arc<SharedDevice>)>::default();
        let served = Served {
            model,
            tokenizer,
            options,
            place,
            metrics: metrics.clone(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("trine-decoder".to_owned())
            .spawn(move || {
                let outcome = guarded(|| served.run(receiver, &ready));
                if let Err(error) = outcome {
                    tracing::error!(%error, "the decoder has stopped");
                    let _ = ready.try_send(Err(error));
                }
            })
            .map_err(|e| InferenceError::Failed(format!("cannot start a thread: {e}")))?;
        let device = started.recv().unwrap_or(Err(InferenceError::Stopped))?;
        let (sender, thread) = (Some(sender), Some(thread));
        Ok(Generations { device, place, shared, metrics, sender, thread })
    }

    /// From now on each step waits for its turn in the line of the engine's device, where that is the
    /// same: neither stands in the other's way for longer than a slice of its work. Another engine
    /// takes the place of the one before.
    pub fn share(&self, engine: &Engine) {
        self.shared.line_up_with(engine.turns(self.place));
    }

    /// The device in words.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Names its counters in `registry`, which may add the model's name to all of them.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Lines an answer up. Fails where the request could never be met, and as
    /// [`InferenceError::Busy`] where too many wait.
    pub async fn generate(&self, request: GenerationRequest) -> Result<Generation, InferenceError> {
        let (generation, accepted) = self.send(request)?;
        accepted.await.map_err(|_| InferenceError::Stopped)??;
        Ok(generation)
    }

    /// [`Generations::generate`] for callers without an async runtime.
    ///
    /// # Panics
    /// Within an async task, which must not block.
    pub fn generate_blocking(
        &self,
        request: GenerationRequest,
    ) -> Result<Generation, InferenceError> {
        let (generation, accepted) = self.send(request)?;
        accepted.blocking_recv().map_err(|_| InferenceError::Stopped)??;
        Ok(generation)
    }

    /// What came of the cache's pages so far.
    pub async fn counts(&self) -> Result<PoolCounts, InferenceError> {
        let (reply, counts) = oneshot::channel();
        self.command(Command::Counts(reply))?;
        counts.await.map_err(|_| InferenceError::Stopped)
    }

    /// Has the device lost, as a driver's reset would: answers under way fail, and it is opened anew.
    /// For tests; a CPU is never lost.
    pub fn destroy_device(&self) -> Result<(), InferenceError> {
        self.command(Command::Destroy)
    }

    fn send(
        &self,
        request: GenerationRequest,
    ) -> Result<(Generation, oneshot::Receiver<Result<(), InferenceError>>), InferenceError> {
        // No answer has room for more events than a context has tokens, which is checked there.
        let (sender, events) = mpsc::channel(room(&request).clamp(1, 1 << 24));
        let (reply, accepted) = oneshot::channel();
        self.command(Command::Submit(Box::new(request), sender, reply))?;
        Ok((Generation { events }, accepted))
    }

    fn command(&self, command: Command) -> Result<(), InferenceError> {
        let sender = self.sender.as_ref().ok_or(InferenceError::Stopped)?;
        sender.try_send(command).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => {
                InferenceError::Busy { waiting: sender.max_capacity() }
            }
            mpsc::error::TrySendError::Closed(_) => InferenceError::Stopped,
        })
    }
}

impl Drop for Generations {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // The thread catches what it runs; there is nobody to tell of anything else.
            let _ = thread.join();
        }
    }
}

type Ready = std::sync::mpsc::SyncSender<Result<String, InferenceError>>;

/// What the thread serves, and with what.
struct Served {
    model: DecoderModel,
    tokenizer: Option<Arc<TextTokenizer>>,
    options: GenerationOptions,
    place: Place,
    metrics: Arc<Metrics>,
    shared: Arc<SharedDevice>,
}

impl Served {
    /// Opens the device and runs the loop on it. A lost device fails the answers under way and is
    /// opened anew, unless it was lost again without having computed anything.
    fn run(
        &self,
        mut commands: mpsc::Receiver<Command>,
        ready: &Ready,
    ) -> Result<(), InferenceError> {
        let GenerationOptions { ref gpu, threads, precision, .. } = self.options;
        loop {
            let mut proven = false;
            let outcome = match self.place {
                Place::Cpu => {
                    let device = device::open_cpu(threads, precision.here())?;
                    self.serve(device, &mut commands, ready, &mut proven)
                }
                Place::Gpu(index) => {
                    let device = device::open_gpu(index, gpu)?;
                    self.serve(device, &mut commands, ready, &mut proven)
                }
            };
            match outcome {
                Err(InferenceError::DeviceLost(_)) if proven => {
                    tracing::warn!("the device is opened anew");
                }
                outcome => return outcome,
            }
        }
    }

    /// Makes answers until there is nobody left to ask for them, or the device is lost. `proven` is
    /// set once it has computed something.
    fn serve<D: DecoderDevice>(
        &self,
        device: D,
        commands: &mut mpsc::Receiver<Command>,
        ready: &Ready,
        proven: &mut bool,
    ) -> Result<(), InferenceError> {
        let sessions = Sessions::new(device, &self.model, self.options.cache_bytes)?;
        let name = sessions.device();
        tracing::info!(device = %name, model = %self.model.path().display(), "decoder started");
        let generator = Generator::new(sessions, self.tokenizer.clone(), self.options.generator);
        let mut generator = generator.counted(self.metrics.clone()).sharing(self.shared.clone());
        // When it is opened anew nobody waits for it.
        let _ = ready.send(Ok(name));
        loop {
            if generator.is_idle() {
                match commands.blocking_recv() {
                    Some(command) => obey(&mut generator, command),
                    None => return Ok(()),
                }
            }
            loop {
                match commands.try_recv() {
                    Ok(command) => obey(&mut generator, command),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return Ok(()),
                }
            }
            match guarded(|| generator.step()) {
                Ok(()) => *proven = true,
                Err(error @ InferenceError::DeviceLost(_)) => {
                    tracing::error!(%error, "the decoder's device");
                    return Err(error);
                }
                Err(error) => tracing::error!(%error, "a step failed"),
            }
        }
    }
}

fn obey<D: DecoderDevice>(generator: &mut Generator<D>, command: Command) {
    match command {
        Command::Submit(request, events, reply) => {
            let _ = reply.send(generator.submit(*request, events));
        }
        Command::Counts(reply) => {
            let _ = reply.send(generator.sessions().counts());
        }
        Command::Destroy => generator.sessions().hardware().destroy(),
    }
}
