//! What a device's thread does: a batch to one forward pass to values.

use std::sync::Arc;

use trine_kernels::gpu::GpuOptions;
use trine_kernels::{Device, GpuDevice, KernelError};

use crate::bert::{self, Bert};
use crate::device::open_gpu;
use crate::job::Job;
use crate::pass::{Part, Text, lanes, pack, pairs, texts};
use crate::request::Wanted;
use crate::scheduler::{Compute, Slice};
use crate::{InferenceError, Model, ModelInfo};

/// A device and the models on it.
pub(crate) struct Runner<D: Device> {
    device: D,
    models: Vec<OnDevice<D>>,
    /// Tokens of a forward pass at most.
    budget: usize,
}

struct OnDevice<D: Device> {
    info: ModelInfo,
    bert: Bert<D>,
    /// Tokens of a forward pass that the device's buffers hold.
    most: usize,
}

/// What is read back of a pass, each kind once for all jobs that want it.
#[derive(Default)]
struct Results {
    hidden: Vec<f32>,
    embeddings: Vec<f32>,
    logits: Vec<f32>,
    scores: Vec<f32>,
}

impl<D: Device> Runner<D> {
    /// Uploads the models, letting go of each as soon as it is there. A pass has at most `budget`
    /// tokens, or fewer where a buffer of the device holds no more.
    pub(crate) fn new(
        device: D,
        models: Vec<Arc<Model>>,
        budget: usize,
    ) -> Result<Runner<D>, InferenceError> {
        let upload = |model: Arc<Model>| {
            let bert = Bert::upload(&device, &model)?;
            let most = device.rows_at_most(model.config().widest());
            Ok(OnDevice { info: model.info().clone(), bert, most })
        };
        let models = models.into_iter().map(upload).collect::<Result<_, InferenceError>>()?;
        Ok(Runner { device, models, budget })
    }

    /// The device in words.
    pub(crate) fn device(&self) -> String {
        self.device.name()
    }

    fn most(&self, model: usize) -> usize {
        self.budget.min(self.models[model].most)
    }

    /// One forward pass: each slice's values. All slices are for one model.
    fn run(&self, slices: &[Slice<Job>]) -> Result<Vec<Vec<f32>>, InferenceError>
    where
        Bert<D>: Sync,
    {
        let Some(first) = slices.first() else {
            return Ok(vec![]);
        };
        let model = &self.models[first.work.model];
        let mut values = vec![Vec::new(); slices.len()];
        let parts = lanes(slices, self.device.lanes());
        let of_part = |device: &D, part: Part| {
            let (of, part): (Vec<usize>, Vec<_>) = part.into_iter().unzip();
            device.enter(|| model.pass(device, &part)).map(|values| (of, values))
        };
        for part in self.device.side_by_side(parts, of_part) {
            let (of, part) = part?;
            for (slice, part) in of.into_iter().zip(part) {
                match values[slice].is_empty() {
                    true => values[slice] = part,
                    false => values[slice].extend(part),
                }
            }
        }
        Ok(values)
    }
}

impl<D: Device> OnDevice<D> {
    fn pass(&self, device: &D, slices: &[Slice<Job>]) -> Result<Vec<Vec<f32>>, InferenceError> {
        let texts = texts(slices);
        let batch = pack(&texts)?;
        let encoded = self.bert.encode(device, &batch)?;
        let results = self.read(device, &texts, &encoded)?;
        let h = self.info.hidden_size;
        let mut values = vec![Vec::new(); slices.len()];
        let mut scores = results.scores.iter();
        let rows = batch.sequences.ranges();
        for ((index, &Text { slice, job, text }), rows) in texts.iter().enumerate().zip(rows) {
            let row = |of: &[f32], width: usize| of[index * width..][..width].to_vec();
            let out = &mut values[slice];
            match job.request.wanted {
                Wanted::HiddenStates { width } => {
                    let end = out.len() + width * h;
                    out.extend(&results.hidden[rows.start * h..rows.end * h]);
                    out.resize(end, 0.0); // padding
                }
                Wanted::Logits => out.extend(row(&results.logits, self.info.labels)),
                Wanted::Spans { width } => {
                    let labels = self.info.labels;
                    let end = out.len() + width * labels;
                    out.extend(&results.logits[rows.start * labels..rows.end * labels]);
                    out.resize(end, 0.0); // padding
                }
                Wanted::Embeddings => out.extend(row(&results.embeddings, h)),
                Wanted::Scores if text > 0 => {
                    out.extend(scores.next());
                    out.extend(row(&results.embeddings, h));
                }
                Wanted::Scores => {}
            }
        }
        Ok(values)
    }

    /// Computes what the jobs want of the encoder's last layer, and waits for it once.
    fn read(
        &self,
        device: &D,
        texts: &[Text],
        encoded: &bert::Encoded<D>,
    ) -> Result<Results, InferenceError> {
        let packing = &encoded.packing;
        let wanted =
            |kind: fn(Wanted) -> bool| texts.iter().any(|text| kind(text.job.request.wanted));
        // [t, h]
        let tokens = || {
            let of_a_classifier = || InferenceError::Failed(NO_TOKENS.to_owned());
            encoded.tokens().ok_or_else(of_a_classifier)
        };
        let mut hidden = None;
        if wanted(|w| matches!(w, Wanted::HiddenStates { .. })) {
            hidden = Some(tokens()?);
        }
        let mut embeddings = None; // [n, h]
        if wanted(|w| matches!(w, Wanted::Embeddings | Wanted::Scores)) {
            let ModelInfo { pooling, normalize, .. } = self.info;
            embeddings = Some(device.pool(tokens()?, packing, pooling, normalize)?);
        }
        let mut logits = None; // [n, labels], of a reader [t, labels]
        if wanted(|w| matches!(w, Wanted::Logits | Wanted::Spans { .. })) {
            logits = self.bert.logits(device, encoded)?;
        }
        let mut scores = None; // one a pair
        if wanted(|w| w == Wanted::Scores) {
            scores = Some(device.maxsim(tokens()?, packing, &pairs(texts))?);
        }
        let buffers = [hidden, embeddings.as_ref(), logits.as_ref(), scores.as_ref()];
        let present: Vec<&D::Buffer> = buffers.into_iter().flatten().collect();
        let mut read = device.download_all(&present)?.into_iter();
        let [hidden, embeddings, logits, scores] =
            buffers.map(|buffer| buffer.and_then(|_| read.next()).unwrap_or_default());
        Ok(Results { hidden, embeddings, logits, scores })
    }
}

/// What [`crate::Graphs`] lets no caller come to.
const NO_TOKENS: &str = "a cross-encoder gives logits, and no vectors of its tokens";

/// A GPU, which a driver may take away.
pub(crate) struct GpuRunner {
    adapter: usize,
    options: GpuOptions,
    /// Kept to be uploaded again.
    models: Vec<Arc<Model>>,
    budget: usize,
    runner: Runner<GpuDevice>,
    /// Whether it has computed anything since it was opened.
    proven: bool,
}

impl GpuRunner {
    pub(crate) fn new(
        adapter: usize,
        options: GpuOptions,
        models: Vec<Arc<Model>>,
        budget: usize,
    ) -> Result<GpuRunner, InferenceError> {
        let runner = Runner::new(open_gpu(adapter, &options)?, models.clone(), budget)?;
        Ok(GpuRunner { adapter, options, models, budget, runner, proven: true })
    }

    /// The device in words.
    pub(crate) fn device(&self) -> String {
        self.runner.device()
    }

    /// As [`Runner::run`]. A lost device fails the batch and is opened anew, unless it was lost
    /// again without having computed anything.
    fn run(&mut self, slices: &[Slice<Job>]) -> Result<Vec<Vec<f32>>, InferenceError> {
        let outcome = self.runner.run(slices);
        let Err(InferenceError::Kernel(KernelError::Lost(reason))) = outcome else {
            self.proven |= outcome.is_ok();
            return outcome;
        };
        tracing::error!(device = self.device(), reason, "device lost");
        if std::mem::take(&mut self.proven) {
            match self.reopen() {
                Ok(()) => tracing::warn!(device = self.device(), "device opened anew"),
                Err(error) => tracing::error!(%error, "the device cannot be opened anew"),
            }
        }
        Err(InferenceError::DeviceLost(reason))
    }

    fn reopen(&mut self) -> Result<(), InferenceError> {
        let device = open_gpu(self.adapter, &self.options)?;
        self.runner = Runner::new(device, self.models.clone(), self.budget)?;
        Ok(())
    }
}

impl<D: Device> Compute<Job> for Runner<D>
where
    Bert<D>: Sync,
{
    fn most(&self, key: usize) -> usize {
        Runner::most(self, key)
    }

    fn compute(&mut self, batch: &[Slice<Job>]) -> Result<Vec<Vec<f32>>, InferenceError> {
        self.run(batch)
    }
}

impl Compute<Job> for GpuRunner {
    fn most(&self, key: usize) -> usize {
        self.runner.most(key)
    }

    fn compute(&mut self, batch: &[Slice<Job>]) -> Result<Vec<Vec<f32>>, InferenceError> {
        self.run(batch)
    }
}

#[cfg(test)]
mod tests {
    use trine_kernels::Precision;

    use super::*;
    use crate::device::open_cpu;
    use crate::request::Request;
    use crate::scheduler::Piecewise;

    fn job(wanted: Wanted, lengths: &[u32]) -> Job {
        let tokens = lengths.iter().sum::<u32>() as usize;
        let (words, types) = (vec![1; tokens], vec![0; tokens]);
        let request = Request { words, types, lengths: lengths.to_vec(), wanted };
        Job::new(0, tiny().info(), request)
    }

    fn whole(job: &Job) -> [Slice<'_, Job>; 1] {
        [Slice { work: job, pieces: 0..job.pieces() }]
    }

    fn tiny() -> Arc<Model> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-cross-encoder");
        Arc::new(Model::open(folder).unwrap())
    }

    /// Its last layer is computed for first tokens only.
    #[test]
    fn a_cross_encoder_has_no_vectors_of_tokens() {
        let device = open_cpu(1, Precision::F32).unwrap();
        let runner = Runner::new(device, vec![tiny()], 100).unwrap();
        assert!(runner.run(&whole(&job(Wanted::Logits, &[1, 3]))).is_ok());
        for wanted in [Wanted::HiddenStates { width: 3 }, Wanted::Embeddings, Wanted::Scores] {
            // Texts of one token would have as many rows as there are tokens.
            for lengths in [[1, 3], [1, 1]] {
                let refused = runner.run(&whole(&job(wanted, &lengths))).unwrap_err();
                assert_eq!(refused, InferenceError::Failed(NO_TOKENS.to_owned()));
            }
        }
    }

    /// A tiny model on the first adapter, if there is one.
    fn on_gpu(options: GpuOptions) -> Option<Result<GpuRunner, InferenceError>> {
        if trine_kernels::gpu::Adapter::all().is_empty() {
            println!("skipped: no adapter (apt install mesa-vulkan-drivers)");
            return None;
        }
        Some(GpuRunner::new(0, options, vec![tiny()], 100))
    }

    #[test]
    fn a_lost_device_is_opened_anew_once_and_says_so() {
        let Some(runner) = on_gpu(GpuOptions::default()) else { return };
        let mut runner = runner.unwrap();
        let job = job(Wanted::Logits, &[5, 3]);
        let batch = whole(&job);
        let before = runner.run(&batch).unwrap();
        runner.runner.device.destroy();
        let lost = runner.run(&batch).unwrap_err();
        assert!(matches!(lost, InferenceError::DeviceLost(_)), "{lost}");
        assert_eq!(runner.run(&batch).unwrap(), before, "the same on the device opened anew");
        // Lost, opened anew, and lost again before it has computed anything: it stays lost.
        for _ in 0..3 {
            runner.runner.device.destroy();
            let lost = runner.run(&batch).unwrap_err();
            assert!(matches!(lost, InferenceError::DeviceLost(_)), "{lost}");
        }
        assert!(matches!(runner.run(&batch), Err(InferenceError::DeviceLost(_))));
    }

    #[test]
    fn a_model_that_does_not_fit_is_refused_with_the_sizes() {
        let budget = GpuOptions { memory: Some(4096), ..GpuOptions::default() };
        let Some(refused) = on_gpu(budget) else { return };
        let Err(InferenceError::Kernel(error)) = refused else { panic!("it fits 4 KiB") };
        assert!(matches!(error, KernelError::Memory { budget: 4096, .. }), "{error}");
        assert!(error.to_string().contains("0.0 MiB are taken"), "{error}");
    }
}
