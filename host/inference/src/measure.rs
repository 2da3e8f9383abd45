//! What a GPU can do with the kernels, measured: agreement with the references and the CPU, rates
//! of matrix products beside the memory's, and times of whole models. Needs no model's files.
//! And what a model takes on whatever device: [`rerank`], [`embed`].

mod generate;
mod model;

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use trine_kernels::device::LinearWeights;
use trine_kernels::gpu::{Adapter, GpuOptions, Products, Storage};
use trine_kernels::parity::{self, Exactness};
use trine_kernels::{Device, Epilogue, GpuDevice};
use trine_text::tokens::Encoded;

use crate::{
    DeviceChoice, Engine, EngineOptions, Graphs, InferenceError, Model, ModelKind, PrecisionOption,
    Tensor, View,
};

pub use generate::{GenerateOptions, GenerateReport, generate};
pub use model::{
    EmbedReport, Padded, Rerank as RerankReport, RoundingError, embed, random_pairs, rerank,
};

/// Of everything random.
const SEED: u64 = 1;

/// What was measured of one adapter. `dtype` is what matrices are stored in, sums being f32;
/// `mode` how they are multiplied.
#[derive(Debug, Serialize)]
pub struct GpuReport {
    /// The adapter's name, its driver and its kind.
    pub device: String,
    /// The seed of all weights and inputs.
    pub seed: u64,
    /// Gigabytes (10^9) a second that a copy within the device's memory reads and writes.
    pub copy_gb_per_s: f64,
    /// Kernels beside their references.
    pub parity: Vec<Parity>,
    /// Whole models beside the CPU's.
    pub models: Vec<ModelParity>,
    /// Matrix products.
    pub gemm: Vec<Gemm>,
    /// Pairs scored by a cross-encoder, from ids in the host's memory to scores there.
    pub rerank: Vec<Rerank>,
    /// One text embedded, from ids in the host's memory to the vector there.
    pub embed: Vec<Embed>,
}

/// A kernel beside its reference.
#[derive(Debug, Serialize)]
pub struct Parity {
    /// The kernel.
    pub kernel: &'static str,
    /// Storage.
    pub dtype: String,
    /// Products.
    pub mode: String,
    /// Values compared.
    pub values: usize,
    /// The largest error as a part of the tolerance; above 1 nothing is reported at all.
    pub worst: f64,
}

/// A MiniLM of random weights beside the CPU's f32.
#[derive(Debug, Serialize)]
pub struct ModelParity {
    /// Storage.
    pub dtype: String,
    /// Products.
    pub mode: String,
    /// Texts of 1 to 256 tokens.
    pub texts: usize,
    /// The smallest cosine between a text's two embeddings.
    pub smallest_cosine: f64,
    /// The largest difference between a text's two scores.
    pub logit_error: f64,
}

/// A product `[m, k]` times `[k, n]`.
#[derive(Debug, Serialize)]
pub struct Gemm {
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Depth.
    pub k: usize,
    /// Storage.
    pub dtype: String,
    /// Products.
    pub mode: String,
    /// 10^12 multiplications and additions a second.
    pub tflops: f64,
}

/// Pairs scored in one call.
#[derive(Debug, Serialize)]
pub struct Rerank {
    /// How many.
    pub pairs: usize,
    /// Tokens of each.
    pub tokens: usize,
    /// Storage.
    pub dtype: String,
    /// Products.
    pub mode: String,
    /// Milliseconds of a call, the median.
    pub ms: f64,
    /// Pairs a second at that.
    pub pairs_per_s: f64,
}

/// One text embedded.
#[derive(Debug, Serialize)]
pub struct Embed {
    /// Tokens of the text.
    pub tokens: usize,
    /// Storage.
    pub dtype: String,
    /// Products.
    pub mode: String,
    /// Milliseconds of a call, the median.
    pub ms: f64,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Extent {
    copy: u64,
    gemm: &'static [(usize, usize, usize)],
    rerank: &'static [(usize, usize)],
    rounds: usize,
    texts: usize,
}

/// The products of MiniLM over 200 pairs of 128 tokens, and cubes beside which others quote theirs.
const FULL: Extent = Extent {
    copy: 1 << 30,
    gemm: &[
        (1024, 1024, 1024),
        (2048, 2048, 2048),
        (4096, 4096, 4096),
        (8192, 8192, 8192),
        (25_600, 1152, 384),
        (25_600, 384, 384),
        (25_600, 1536, 384),
        (25_600, 384, 1536),
    ],
    rerank: &[(50, 128), (50, 256), (200, 128), (200, 256)],
    rounds: 20,
    texts: 64,
};

const QUICK: Extent = Extent {
    copy: 1 << 26,
    gemm: &[(256, 256, 256), (640, 1536, 384)],
    rerank: &[(5, 128)],
    rounds: 3,
    texts: 8,
};

/// Measures the adapter `index` in every way in which it can be used; `quick` only sees that all
/// of it works. `told` hears what is being done. Fails where a kernel does not agree with its
/// reference.
pub fn gpu(index: usize, quick: bool, told: &dyn Fn(&str)) -> Result<GpuReport, InferenceError> {
    let adapter = Adapter::all().into_iter().nth(index).ok_or(InferenceError::NoGpu {
        wanted: DeviceChoice::Gpu(Some(index)),
        found: format!("{} adapters", Adapter::all().len()),
    })?;
    let extent = if quick { QUICK } else { FULL };
    let mut report = GpuReport {
        device: format!("{} ({}, {})", adapter.name(), adapter.driver(), adapter.kind()),
        seed: SEED,
        copy_gb_per_s: adapter.open(GpuOptions::default())?.copy_bandwidth(extent.copy, 20)? / 1e9,
        parity: vec![],
        models: vec![],
        gemm: vec![],
        rerank: vec![],
        embed: vec![],
    };
    for (storage, products) in ways(&adapter) {
        let options = GpuOptions {
            storage: Some(storage),
            products: Some(products),
            ..GpuOptions::default()
        };
        let way = Way { index, options, dtype: storage.to_string(), mode: products.to_string() };
        told(&format!("{storage}, {products}: kernels"));
        let device = adapter.open(way.options.clone())?;
        way.parity(&device, &mut report)?;
        told(&format!("{storage}, {products}: products"));
        for &shape in extent.gemm {
            // Plain f32 at the largest sizes takes long and says nothing new.
            if products == Products::Cooperative || shape.0 * shape.1 * shape.2 < 1 << 37 {
                way.gemm(&device, shape, &mut report)?;
            }
        }
        drop(device);
        told(&format!("{storage}, {products}: models"));
        way.models(extent, &mut report)?;
    }
    Ok(report)
}

/// Storage and products that the adapter can be used with, the plainest first.
pub fn ways(adapter: &Adapter) -> impl Iterator<Item = (Storage, Products)> {
    let ways = [
        (true, Storage::F32, Products::Tiled),
        (adapter.has_f16(), Storage::F16, Products::Tiled),
        (adapter.matrix_units().is_some(), Storage::F16, Products::Cooperative),
    ];
    ways.into_iter().filter(|way| way.0).map(|(_, storage, products)| (storage, products))
}

struct Way {
    index: usize,
    options: GpuOptions,
    dtype: String,
    mode: String,
}

impl Way {
    fn names(&self) -> (String, String) {
        (self.dtype.clone(), self.mode.clone())
    }

    fn parity(&self, device: &GpuDevice, report: &mut GpuReport) -> Result<(), InferenceError> {
        let checked = parity::check(device, Exactness::of(device))
            .map_err(|e| InferenceError::Failed(format!("{}: {e}", device.name())))?;
        let (dtype, mode) = self.names();
        report.parity.extend(checked.into_iter().map(|seen| Parity {
            kernel: seen.kernel,
            dtype: dtype.clone(),
            mode: mode.clone(),
            values: seen.values,
            worst: seen.worst,
        }));
        Ok(())
    }

    fn gemm(
        &self,
        device: &GpuDevice,
        (m, n, k): (usize, usize, usize),
        report: &mut GpuReport,
    ) -> Result<(), InferenceError> {
        let bytes = (m * n).max(m * k) as u64 * device.storage().size();
        if bytes > device.rows_at_most(1) as u64 * device.storage().size() {
            return Ok(());
        }
        let (weight, bias) = (parity::numbers(n * k, SEED), vec![0.0; n]);
        let weights =
            device.prepare_linear(LinearWeights { weight: &weight, bias: &bias, n, k })?;
        let x = device.upload(m, k, &parity::numbers(m * k, SEED + 1))?;
        let run = |rounds: usize| -> Result<f64, InferenceError> {
            let started = Instant::now();
            for _ in 0..rounds {
                device.linear(&x, &weights, Epilogue::None)?;
            }
            device.wait()?;
            Ok(started.elapsed().as_secs_f64() / rounds as f64)
        };
        run(1)?;
        let rounds = (0.1 / run(1)?.max(1e-6)).clamp(1.0, 200.0) as usize;
        let mut times = [run(rounds)?, run(rounds)?, run(rounds)?];
        times.sort_by(f64::total_cmp);
        let (dtype, mode) = self.names();
        let tflops = 2.0 * m as f64 * n as f64 * k as f64 / times[1] / 1e12;
        report.gemm.push(Gemm { m, n, k, dtype, mode, tflops });
        Ok(())
    }

    fn models(&self, extent: Extent, report: &mut GpuReport) -> Result<(), InferenceError> {
        let gpu = engine(EngineOptions {
            device: DeviceChoice::Gpu(Some(self.index)),
            gpu: self.options.clone(),
            ..EngineOptions::default()
        })?;
        let cpu = engine(EngineOptions {
            device: DeviceChoice::Cpu,
            precision: PrecisionOption::F32,
            ..EngineOptions::default()
        })?;
        let texts: Vec<Encoded> = (0..extent.texts).map(|i| text(1 + i * 37 % 256, i)).collect();
        let (found, expected) =
            (gpu.embed_blocking("encoder", &texts)?, cpu.embed_blocking("encoder", &texts)?);
        let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let smallest_cosine = found.iter().zip(&expected).map(cosine).fold(1.0, f64::min);
        let (found, expected) = (logits(&gpu, "cross", &texts)?, logits(&cpu, "cross", &texts)?);
        let difference = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
        let logit_error = found.iter().zip(&expected).map(difference).fold(0.0, f64::max);
        let (dtype, mode) = self.names();
        let texts = texts.len();
        report.models.push(ModelParity { dtype, mode, texts, smallest_cosine, logit_error });

        for &(pairs, tokens) in extent.rerank {
            let texts: Vec<Encoded> = (0..pairs).map(|i| text(tokens, i)).collect();
            let ms = median_ms(extent.rounds, || logits(&gpu, "cross", &texts).map(drop))?;
            let (dtype, mode) = self.names();
            let pairs_per_s = pairs as f64 / ms * 1e3;
            report.rerank.push(Rerank { pairs, tokens, dtype, mode, ms, pairs_per_s });
        }
        let one = [text(16, 0)];
        let ms = median_ms(extent.rounds * 5, || gpu.embed_blocking("encoder", &one).map(drop))?;
        let (dtype, mode) = self.names();
        report.embed.push(Embed { tokens: 16, dtype, mode, ms });
        Ok(())
    }
}

/// An encoder and a cross-encoder of random weights.
fn engine(options: EngineOptions) -> Result<Engine, InferenceError> {
    let model = |kind| -> Result<Arc<Model>, InferenceError> {
        let model = Model::random_minilm(kind, SEED);
        model.map(Arc::new).map_err(|e| InferenceError::Failed(e.to_string()))
    };
    let mut graphs = Graphs::new();
    let failed = |e: crate::ModelError| InferenceError::Failed(e.to_string());
    graphs
        .insert("encoder", model(ModelKind::Encoder)?, View::SentenceEmbedding)
        .map_err(failed)?;
    graphs.insert("cross", model(ModelKind::CrossEncoder)?, View::CrossEncoder).map_err(failed)?;
    Engine::start(graphs, options)
}

/// A text of random words.
fn text(tokens: usize, seed: usize) -> Encoded {
    let ids = (0..tokens).map(|i| ((1000 + (i + seed * 131) * 7919) % 28_000) as u32).collect();
    Encoded { ids, type_ids: vec![0; tokens], truncated: 0 }
}

fn logits(engine: &Engine, graph: &str, texts: &[Encoded]) -> Result<Vec<f32>, InferenceError> {
    let width = texts.iter().map(|text| text.ids.len()).max().unwrap_or_default();
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for text in texts {
        ids.extend(text.ids.iter().map(|&id| i64::from(id)));
        mask.extend(text.ids.iter().map(|_| 1));
        ids.resize(ids.len() + width - text.ids.len(), 0);
        mask.resize(ids.len(), 0);
    }
    let dims = [texts.len(), width];
    let inputs = vec![
        ("input_ids".to_owned(), Tensor::i64(dims, ids)),
        ("attention_mask".to_owned(), Tensor::i64(dims, mask)),
    ];
    let mut outputs = engine.compute_blocking(graph, inputs)?;
    let logits = outputs.pop().and_then(|(_, tensor)| tensor.as_f32().map(<[f32]>::to_vec));
    Ok(logits.unwrap_or_default())
}

fn median_ms(
    rounds: usize,
    mut work: impl FnMut() -> Result<(), InferenceError>,
) -> Result<f64, InferenceError> {
    work()?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let started = Instant::now();
        work()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
