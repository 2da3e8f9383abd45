//! Llama (Touvron et al. 2023, <https://arxiv.org/abs/2302.13971>; Dubey et al. 2024) and its kin
//! Mistral, Qwen2 and Qwen3: a pre-norm transformer decoder.
//!
//! `t` is the number of new tokens of all sequences together, packed one after another; `h` the hidden
//! size, `q` and `k` the columns of queries and of keys, `i` the width of the feed-forward network, `v`
//! the vocabulary.

use trine_kernels::{
    DecoderDevice, Format, Heads, KernelError, PageNumbers, PagedSequences, PagesShape, Pooling,
    RowOrder, Sequences,
};

use crate::decoder::checkpoint::Checkpoint;
use crate::decoder::table::Table;
use crate::decoder::{DecoderConfig, DecoderModel};
use crate::{InferenceError, ModelError};

/// A decoder on a device.
pub(crate) struct Llama<D: DecoderDevice> {
    config: DecoderConfig,
    /// `[v, h]`, in its file: a token needs one row of it.
    embedding: Table,
    layers: Vec<Layer<D>>,
    norm: D::RmsNorm,
    /// `[v, h]`.
    head: D::Blocks,
    /// What keys and values are kept in.
    numbers: PageNumbers,
}

struct Layer<D: DecoderDevice> {
    attention_norm: D::RmsNorm,
    /// `[q + 2 k, h]`.
    query_key_value: D::Blocks,
    /// Of queries and keys, head by head.
    head_norms: Option<[D::RmsNorm; 2]>,
    /// `[h, q]`.
    attention_output: D::Blocks,
    feed_forward_norm: D::RmsNorm,
    /// `[2 i, h]`.
    gate_up: D::Blocks,
    /// `[h, i]`.
    down: D::Blocks,
    window: Option<u32>,
}

impl<D: DecoderDevice> Llama<D> {
    /// The logits after some of the new tokens, `[wanted, v]`, into `logits`. `wanted` are rows of `t`,
    /// ascending.
    pub(crate) fn forward(
        &self,
        device: &D,
        pages: &mut D::Pages,
        tokens: &[u32],
        sequences: &PagedSequences,
        wanted: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<(), InferenceError> {
        let (t, h) = (tokens.len(), self.config.hidden_size);
        let paged = device.upload_paged(sequences)?;
        let angles = self.config.rope.angles(sequences.positions());
        let angles = device.upload(t, self.config.heads.width, &angles)?;
        let mut x = device.upload(t, h, &self.embed(tokens)?)?; // [t, h]
        for (index, layer) in self.layers.iter().enumerate() {
            let y = device.rms_norm(&x, &layer.attention_norm)?;
            let qkv = device.block_linear(&y, &layer.query_key_value, None)?; // [t, q + 2 k]
            let norms = layer.head_norms.as_ref().map(|[query, key]| [query, key]);
            let qkv = device.rotate(qkv, &angles, self.config.heads, norms)?;
            let y = device.paged_attention(&qkv, pages, index, &paged, layer.window)?; // [t, q]
            let z = device.block_linear(&y, &layer.attention_output, Some(&x))?; // [t, h]
            let y = device.rms_norm(&z, &layer.feed_forward_norm)?;
            let y = device.swiglu(&device.block_linear(&y, &layer.gate_up, None)?)?; // [t, i]
            x = device.block_linear(&y, &layer.down, Some(&z))?; // [t, h]
        }
        Ok(self.logits(device, x, t as u32, wanted, logits)?)
    }

    /// The wanted rows of the last layer, `[t, h]`, to logits.
    fn logits(
        &self,
        device: &D,
        x: D::Buffer,
        t: u32,
        wanted: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<(), KernelError> {
        logits.clear();
        let Some(&first) = wanted.first() else { return Ok(()) };
        // Each wanted row begins a sequence of its own, whose first row is taken. So does the first
        // row of all, of which the logits are left out again.
        let skipped = usize::from(first > 0);
        let starts = [0].into_iter().take(skipped).chain(wanted.iter().copied());
        let ends = starts.clone().skip(1).chain([t]);
        let lengths: Vec<u32> = starts.zip(ends).map(|(start, end)| end - start).collect();
        let rows = match lengths.len() == t as usize {
            true => x,
            false => {
                let sequences = device.upload_sequences(&Sequences::from_lengths(&lengths)?)?;
                device.pool(&x, &sequences, Pooling::Cls, false)?
            }
        }; // [skipped + wanted, h]
        let rows = device.rms_norm(&rows, &self.norm)?;
        device.take_out(device.block_linear(&rows, &self.head, None)?, logits)?;
        logits.drain(..skipped * self.config.vocabulary);
        Ok(())
    }

    /// The embeddings of tokens, `[t, h]`. Refuses tokens that there are not.
    fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, InferenceError> {
        let mut x = vec![0.0; tokens.len() * self.config.hidden_size];
        let failed = |e| InferenceError::Failed(format!("the model's file cannot be read: {e}"));
        self.embedding.read(tokens, &mut x).map_err(failed)?;
        Ok(x)
    }

    /// A cache for `count` pages of this model.
    pub(crate) fn pages(&self, device: &D, count: usize) -> Result<D::Pages, KernelError> {
        device.prepare_pages(PagesShape { pages: count, ..self.pages_shape() })
    }

    /// Of one page.
    pub(crate) fn pages_shape(&self) -> PagesShape {
        let (layers, heads) = (self.config.layers, self.config.heads);
        PagesShape { layers, pages: 1, heads, numbers: self.numbers }
    }

    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Takes a model's weights to a device. Fails when a tensor is missing or of another shape or type
    /// than the configuration says.
    pub(crate) fn upload(device: &D, model: &DecoderModel) -> Result<Llama<D>, LoadError> {
        let (config, from) = (model.config().clone(), model.checkpoint());
        let shape = [config.vocabulary, config.hidden_size];
        const EMBEDDING: &str = "model.embed_tokens.weight";
        let head = if config.tied { EMBEDDING } else { "lm_head.weight" };
        let (embedding, head) =
            (from.table(EMBEDDING, shape)?, from.matrix(head, shape, RowOrder::Plain)?);
        let layer = |index: usize| Layer::upload(device, &config, from, index);
        let layers = (0..config.layers).map(layer).collect::<Result<_, _>>()?;
        let norm = from.vector("model.norm.weight", config.hidden_size, RowOrder::Plain)?;
        // What is computed in full precision is kept in it.
        let numbers = match head.format {
            Format::F32 => PageNumbers::F32,
            _ => PageNumbers::F16,
        };
        Ok(Llama {
            norm: device.prepare_rms_norm(&norm, config.epsilon)?,
            head: device.prepare_blocks(&[head], None)?,
            config,
            embedding,
            layers,
            numbers,
        })
    }
}

impl<D: DecoderDevice> Layer<D> {
    fn upload(
        device: &D,
        config: &DecoderConfig,
        from: &Checkpoint,
        index: usize,
    ) -> Result<Layer<D>, LoadError> {
        let name = |name: &str| format!("model.layers.{index}.{name}");
        let (h, i) = (config.hidden_size, config.intermediate_size);
        let Heads { queries, keys, width } = config.heads;
        let (q, k) = (queries * width, keys * width);
        // Of Llama, GGUF has the rows of queries and keys in another order.
        let turned = match config.architecture == "llama" {
            true => RowOrder::Alternating(width),
            false => RowOrder::Plain,
        };
        let plain = RowOrder::Plain;
        let matrix =
            |part: &str, shape, order| from.matrix(&name(&format!("{part}.weight")), shape, order);
        let vector = |part: &str, n, order| from.vector(&name(part), n, order);
        let norm = |part: &str, n| -> Result<D::RmsNorm, LoadError> {
            let scale = vector(&format!("{part}.weight"), n, plain)?;
            Ok(device.prepare_rms_norm(&scale, config.epsilon)?)
        };
        let projections = [("q_proj", q, turned), ("k_proj", k, turned), ("v_proj", k, plain)];
        let (mut matrices, mut bias) = (Vec::new(), Vec::new());
        for (part, n, order) in projections {
            matrices.push(matrix(&format!("self_attn.{part}"), [n, h], order)?);
            if config.biases[0] {
                bias.extend(vector(&format!("self_attn.{part}.bias"), n, order)?);
            }
        }
        let bias = config.biases[0].then_some(&bias[..]);
        let output = matrix("self_attn.o_proj", [h, q], plain)?;
        let output_bias = match config.biases[1] {
            true => Some(vector("self_attn.o_proj.bias", h, plain)?),
            false => None,
        };
        let gate_up =
            [matrix("mlp.gate_proj", [i, h], plain)?, matrix("mlp.up_proj", [i, h], plain)?];
        let head_norms = match config.head_norms {
            true => Some([norm("self_attn.q_norm", width)?, norm("self_attn.k_norm", width)?]),
            false => None,
        };
        Ok(Layer {
            attention_norm: norm("input_layernorm", h)?,
            query_key_value: device.prepare_blocks(&matrices, bias)?,
            head_norms,
            attention_output: device.prepare_blocks(&[output], output_bias.as_deref())?,
            feed_forward_norm: norm("post_attention_layernorm", h)?,
            gate_up: device.prepare_blocks(&gate_up, None)?,
            down: device.prepare_blocks(&[matrix("mlp.down_proj", [h, i], plain)?], None)?,
            window: config.windows[index],
        })
    }
}

/// Why a model could not be taken to a device.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its files are at fault.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device is.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
