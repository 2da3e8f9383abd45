//! What a device's thread does: batches to forward passes to results.

use std::sync::Arc;

use trine_kernels::gpu::GpuOptions;
use trine_kernels::{Device, GpuDevice, KernelError, Sequences};

use crate::bert::{self, Batch, Bert};
use crate::device::open_gpu;
use crate::engine::Job;
use crate::request::Wanted;
use crate::{InferenceError, Model, ModelInfo, Tensor};

/// A device and the models on it.
pub(crate) struct Runner<D: Device> {
    device: D,
    models: Vec<OnDevice<D>>,
    /// Tokens of a forward pass.
    budget: usize,
}

struct OnDevice<D: Device> {
    info: ModelInfo,
    bert: Bert<D>,
    /// Tokens of a forward pass that the device's buffers hold.
    most: usize,
}

/// A text of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Text {
    job: usize,
    text: usize,
    /// Its first token among its request's.
    start: usize,
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
    /// Uploads the models, letting go of each as soon as it is there. A pass is cut at `budget`
    /// tokens, or at fewer where a buffer of the device holds no more.
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

    /// One result a job; all jobs are for one model.
    pub(crate) fn run(&self, jobs: &[Job]) -> Result<Vec<Tensor>, InferenceError>
    where
        Bert<D>: Sync,
    {
        let Some(first) = jobs.first() else {
            return Ok(vec![]);
        };
        let model = &self.models[first.model];
        let mut values = vec![Vec::new(); jobs.len()];
        for pass in passes(jobs, self.budget.min(model.most)) {
            self.device.enter(|| self.pass(model, jobs, &pass, &mut values))?;
        }
        let tensor = |(job, values): (&Job, Vec<f32>)| {
            let n = job.request.lengths.len();
            let shape = match job.request.wanted {
                Wanted::HiddenStates { width } => vec![n, width, model.info.hidden_size],
                Wanted::Logits => vec![n, model.info.labels],
                Wanted::Scores => vec![n - 1],
                Wanted::Embeddings => vec![n, model.info.hidden_size],
            };
            Tensor::f32(shape, values)
        };
        Ok(jobs.iter().zip(values).map(tensor).collect())
    }

    /// One forward pass; what each text gives is added to its job's values.
    fn pass(
        &self,
        model: &OnDevice<D>,
        jobs: &[Job],
        texts: &[Text],
        values: &mut [Vec<f32>],
    ) -> Result<(), InferenceError> {
        let batch = pack(jobs, texts)?;
        let encoded = model.bert.encode(&self.device, &batch)?;
        let results = self.read(model, jobs, texts, &encoded)?;
        let h = model.info.hidden_size;
        let mut scores = results.scores.iter();
        for ((index, &Text { job, text, .. }), rows) in
            texts.iter().enumerate().zip(batch.sequences.ranges())
        {
            let row = |of: &[f32], width: usize| of[index * width..][..width].to_vec();
            let out = &mut values[job];
            match jobs[job].request.wanted {
                Wanted::HiddenStates { width } => {
                    let end = out.len() + width * h;
                    out.extend(&results.hidden[rows.start * h..rows.end * h]);
                    out.resize(end, 0.0); // padding
                }
                Wanted::Logits => out.extend(row(&results.logits, model.info.labels)),
                Wanted::Embeddings => out.extend(row(&results.embeddings, h)),
                Wanted::Scores if text > 0 => out.extend(scores.next()),
                Wanted::Scores => {}
            }
        }
        Ok(())
    }

    /// Computes what the jobs want of the encoder's last layer, and waits for it once.
    fn read(
        &self,
        model: &OnDevice<D>,
        jobs: &[Job],
        texts: &[Text],
        encoded: &bert::Encoded<D>,
    ) -> Result<Results, InferenceError> {
        let (device, packing) = (&self.device, &encoded.packing);
        let wanted =
            |kind: fn(Wanted) -> bool| texts.iter().any(|text| kind(jobs[text.job].request.wanted));
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
        if wanted(|w| w == Wanted::Embeddings) {
            let ModelInfo { pooling, normalize, .. } = model.info;
            embeddings = Some(device.pool(tokens()?, packing, pooling, normalize)?);
        }
        let mut logits = None; // [n, labels]
        if wanted(|w| w == Wanted::Logits) {
            logits = model.bert.classify(device, encoded)?;
        }
        let mut scores = None; // one a pair
        if wanted(|w| w == Wanted::Scores) {
            scores = Some(device.maxsim(tokens()?, packing, &pairs(jobs, texts))?);
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
    pub(crate) fn run(&mut self, jobs: &[Job]) -> Result<Vec<Tensor>, InferenceError> {
        let outcome = self.runner.run(jobs);
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

/// Cuts all jobs' texts into passes of at most `budget` tokens, a longer text alone. A job that
/// compares its first text with the others has it in each of its passes.
fn passes(jobs: &[Job], budget: usize) -> Vec<Vec<Text>> {
    let mut passes: Vec<Vec<Text>> = Vec::new();
    let mut room = 0;
    for (job, Job { request, .. }) in jobs.iter().enumerate() {
        let compares = request.wanted == Wanted::Scores;
        let mut start = 0;
        for (text, &length) in request.lengths.iter().enumerate() {
            let length = length as usize;
            let this = Text { job, text, start };
            match passes.last_mut() {
                Some(pass) if length <= room => pass.push(this),
                _ => {
                    let query = (compares && text > 0).then_some(Text { job, text: 0, start: 0 });
                    passes.push(query.into_iter().chain([this]).collect());
                    room = budget.saturating_sub(query.map_or(0, |_| request.lengths[0] as usize));
                }
            }
            room = room.saturating_sub(length);
            start += length;
        }
    }
    passes
}

/// The texts' tokens, one text after another.
fn pack(jobs: &[Job], texts: &[Text]) -> Result<Batch, InferenceError> {
    let (mut words, mut types, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for &Text { job, text, start } in texts {
        let request = &jobs[job].request;
        let length = request.lengths[text];
        words.extend(&request.words[start..][..length as usize]);
        types.extend(&request.types[start..][..length as usize]);
        lengths.push(length);
    }
    Ok(Batch { words, types, sequences: Sequences::from_lengths(&lengths)? })
}

/// Each job's first text with each of its others in this pass, by number in the pass.
fn pairs(jobs: &[Job], texts: &[Text]) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let mut query = 0;
    for (index, &Text { job, text, .. }) in (0..).zip(texts) {
        if jobs[job].request.wanted != Wanted::Scores {
            continue;
        }
        match text {
            0 => query = index,
            _ => pairs.push((query, index)),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use trine_kernels::Precision;

    use super::*;
    use crate::device::open_cpu;
    use crate::request::Request;

    fn job(wanted: Wanted, lengths: &[u32]) -> Job {
        let tokens = lengths.iter().sum::<u32>() as usize;
        let (words, types) = (vec![1; tokens], vec![0; tokens]);
        let request = Request { words, types, lengths: lengths.to_vec(), wanted };
        Job { model: 0, request }
    }

    fn cut(jobs: &[Job], budget: usize) -> Vec<Vec<(usize, usize)>> {
        let texts = |pass: Vec<Text>| pass.iter().map(|t| (t.job, t.text)).collect();
        passes(jobs, budget).into_iter().map(texts).collect()
    }

    #[test]
    fn passes_keep_to_the_budget_and_lose_no_text() {
        let jobs = [job(Wanted::Embeddings, &[5, 5, 30, 1]), job(Wanted::Embeddings, &[9])];
        assert_eq!(cut(&jobs, 10), [vec![(0, 0), (0, 1)], vec![(0, 2)], vec![(0, 3), (1, 0)]]);
        assert_eq!(cut(&jobs, 1000).len(), 1);
        assert!(cut(&[job(Wanted::Embeddings, &[])], 10).is_empty());
    }

    #[test]
    fn a_query_goes_with_each_part_of_its_passages() {
        let jobs = [job(Wanted::Scores, &[4, 6, 6, 6]), job(Wanted::Scores, &[2, 3])];
        let found = cut(&jobs, 10);
        assert_eq!(
            found,
            [
                vec![(0, 0), (0, 1)],
                vec![(0, 0), (0, 2)],
                vec![(0, 0), (0, 3)],
                vec![(1, 0), (1, 1)]
            ]
        );
        assert_eq!(pairs(&jobs, &passes(&jobs, 10)[3]), [(0, 1)]);
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
        assert!(runner.run(&[job(Wanted::Logits, &[1, 3])]).is_ok());
        for wanted in [Wanted::HiddenStates { width: 3 }, Wanted::Embeddings, Wanted::Scores] {
            // Texts of one token would have as many rows as there are tokens.
            for lengths in [[1, 3], [1, 1]] {
                let refused = runner.run(&[job(wanted, &lengths)]).unwrap_err();
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
        let jobs = [job(Wanted::Logits, &[5, 3])];
        let before = runner.run(&jobs).unwrap();
        runner.runner.device.destroy();
        let lost = runner.run(&jobs).unwrap_err();
        assert!(matches!(lost, InferenceError::DeviceLost(_)), "{lost}");
        assert_eq!(runner.run(&jobs).unwrap(), before, "the same on the device opened anew");
        // Lost, opened anew, and lost again before it has computed anything: it stays lost.
        for _ in 0..3 {
            runner.runner.device.destroy();
            let lost = runner.run(&jobs).unwrap_err();
            assert!(matches!(lost, InferenceError::DeviceLost(_)), "{lost}");
        }
        assert!(matches!(runner.run(&jobs), Err(InferenceError::DeviceLost(_))));
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
