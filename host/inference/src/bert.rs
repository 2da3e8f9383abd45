//! BERT (Devlin et al. 2019, <https://arxiv.org/abs/1810.04805>): a post-norm transformer encoder.
//!
//! `t` is the number of tokens of all sequences together, packed one after another; `h` the
//! hidden size, `i` the width of the feed-forward network.

use trine_kernels::device::{EmbeddingTables, LinearWeights, NormWeights};
use trine_kernels::{Device, Epilogue, FeedForward, KernelError, Pooling, Precision, Sequences};

use crate::config::BertConfig;
use crate::weights::{Tensors, Values};
use crate::{Model, ModelError, ModelKind, packed};

/// A BERT on a device.
pub(crate) struct Bert<D: Device> {
    /// In which numbers it multiplies, where that is not left to the device.
    precision: Option<Precision>,
    heads: usize,
    embedding: D::Embedding,
    layers: Vec<Layer<D>>,
    head: Option<Head<D>>,
}

struct Layer<D: Device> {
    query_key_value: D::Linear,
    attention_output: D::Linear,
    attention_norm: D::Norm,
    intermediate: D::Linear,
    output: D::Linear,
    output_norm: D::Norm,
}

/// What is above the encoder.
enum Head<D: Device> {
    /// Of the first token only.
    Classifier { pooler: D::Linear, classifier: D::Linear },
    /// Of every token: a start and an end.
    Span(D::Linear),
}

/// Some texts' tokens, packed.
pub(crate) struct Batch {
    /// Word of each token, `[t]`.
    pub(crate) words: Vec<u32>,
    /// Segment of each token, `[t]`.
    pub(crate) types: Vec<u32>,
    /// Which tokens belong together.
    pub(crate) sequences: Sequences,
}

/// Of which tokens a layer's output is wanted.
#[derive(Clone, Copy)]
enum Rows {
    All,
    /// Of each text's first, `[CLS]`, which is all that a classifier reads of the last layer.
    First,
}

/// The encoder's last layer, and where its texts begin.
pub(crate) struct Encoded<D: Device> {
    hidden: Hidden<D::Buffer>,
    pub(crate) packing: D::Packing,
}

/// What the last layer was computed for.
enum Hidden<B> {
    /// Every token, `[t, h]`.
    Tokens(B),
    /// Each text's first token, `[n, h]`.
    First(B),
}

impl<D: Device> Encoded<D> {
    /// The vectors of all tokens, `[t, h]`. `None` of a model with a classifier.
    pub(crate) fn tokens(&self) -> Option<&D::Buffer> {
        match &self.hidden {
            Hidden::Tokens(hidden) => Some(hidden),
            Hidden::First(_) => None,
        }
    }
}

impl<D: Device> Bert<D> {
    /// Texts to the vectors of their tokens.
    pub(crate) fn encode(&self, device: &D, batch: &Batch) -> Result<Encoded<D>, KernelError> {
        let own = self.device(device);
        let device = own.as_ref().unwrap_or(device);
        let positions: Vec<u32> =
            batch.sequences.ranges().flat_map(|rows| 0..rows.len() as u32).collect();
        let packing = device.upload_sequences(&batch.sequences)?;
        let mut hidden = device.embedding(
            &self.embedding,
            &device.upload_ids(&batch.words)?,
            &device.upload_ids(&positions)?,
            &device.upload_ids(&batch.types)?,
        )?; // [t, h]
        for (index, layer) in self.layers.iter().enumerate() {
            let last = index + 1 == self.layers.len();
            let wanted = if last && self.classifies() { Rows::First } else { Rows::All };
            hidden = self.layer(device, layer, hidden, &packing, wanted)?;
        }
        let hidden = match self.classifies() {
            false => Hidden::Tokens(hidden),
            true => Hidden::First(hidden),
        };
        Ok(Encoded { hidden, packing })
    }

    fn classifies(&self) -> bool {
        matches!(self.head, Some(Head::Classifier { .. }))
    }

    /// Self-attention and a feed-forward network, each added to its input and normalised
    /// (Vaswani et al. 2017, section 3.1).
    fn layer(
        &self,
        device: &D,
        layer: &Layer<D>,
        x: D::Buffer, // [t, h]
        packing: &D::Packing,
        wanted: Rows,
    ) -> Result<D::Buffer, KernelError> {
        let query_key_value = &layer.query_key_value;
        let (context, x) = match wanted {
            Rows::All => (device.self_attention(&x, query_key_value, packing, self.heads)?, x),
            Rows::First => (
                device.first_attention(&x, query_key_value, packing, self.heads)?, // [n, h]
                device.pool(&x, packing, Pooling::Cls, false)?,                    // [n, h]
            ),
        };
        let attention = (&layer.attention_output, &layer.attention_norm);
        let (up, down, norm) = (&layer.intermediate, &layer.output, &layer.output_norm);
        device.attended(&context, &x, attention, FeedForward { up, down, norm })
    }

    /// What the model's head makes of its texts. Of a classifier scores, `[sequences, labels]`: the
    /// vector of `[CLS]` through the pooler and the classifier. Of a reader the logits of each
    /// token's being the start and the end of the answer, `[t, 2]`. `None` of a model without head.
    pub(crate) fn logits(
        &self,
        device: &D,
        encoded: &Encoded<D>,
    ) -> Result<Option<D::Buffer>, KernelError> {
        let own = self.device(device);
        let device = own.as_ref().unwrap_or(device);
        match (&self.head, &encoded.hidden) {
            (Some(Head::Classifier { pooler, classifier }), Hidden::First(first)) => {
                let pooled = device.linear(first, pooler, Epilogue::Tanh)?; // [n, h]
                device.head(&pooled, classifier).map(Some)
            }
            (Some(Head::Span(span)), Hidden::Tokens(tokens)) => device.head(tokens, span).map(Some),
            _ => Ok(None),
        }
    }

    /// The device as this model wants it; `None` where it is right as it is.
    fn device(&self, device: &D) -> Option<D> {
        self.precision.and_then(|precision| device.multiplying_in(precision))
    }

    /// Takes a model's weights to a device.
    pub(crate) fn upload(device: &D, model: &Model) -> Result<Bert<D>, KernelError> {
        let own = model.precision().and_then(|precision| device.multiplying_in(precision));
        let device = own.as_ref().unwrap_or(device);
        let (config, weights) = (model.config(), model.weights());
        let norm = |norm: &Norm| device.prepare_norm(norm.view(config.layer_norm_eps));
        let mut matrices = packed::upload(device, model)?.into_iter();
        // In the order of `BertWeights::matrices`.
        let mut linear = || {
            let missing = || KernelError::Device("a matrix is missing".to_owned());
            matrices.next().ok_or_else(missing)
        };
        let embedding = device.prepare_embedding(EmbeddingTables {
            words: weights.words.shared(),
            positions: weights.positions.shared(),
            types: weights.types.shared(),
            norm: weights.embedding_norm.view(config.layer_norm_eps),
        })?;
        let mut layer = |layer: &LayerWeights| {
            Ok(Layer {
                query_key_value: linear()?,
                attention_output: linear()?,
                attention_norm: norm(&layer.attention_norm)?,
                intermediate: linear()?,
                output: linear()?,
                output_norm: norm(&layer.output_norm)?,
            })
        };
        let layers = weights.layers.iter().map(&mut layer).collect::<Result<_, KernelError>>()?;
        let head = match &weights.head {
            None => None,
            Some(HeadWeights::Classifier { .. }) => {
                Some(Head::Classifier { pooler: linear()?, classifier: linear()? })
            }
            Some(HeadWeights::Span(_)) => Some(Head::Span(linear()?)),
        };
        let heads = config.num_attention_heads;
        Ok(Bert { precision: model.precision(), heads, embedding, layers, head })
    }
}

/// The same on the host, as the file has it.
pub(crate) struct BertWeights {
    words: Values,
    positions: Values,
    types: Values,
    embedding_norm: Norm,
    layers: Vec<LayerWeights>,
    head: Option<HeadWeights>,
}

enum HeadWeights {
    Classifier { pooler: Matrix, classifier: Matrix },
    Span(Matrix),
}

struct LayerWeights {
    query_key_value: Matrix,
    attention_output: Matrix,
    attention_norm: Norm,
    intermediate: Matrix,
    output: Matrix,
    output_norm: Norm,
}

/// `[n, k]` and `[n]`.
pub(crate) struct Matrix {
    /// Rows below each other.
    weight: Vec<Values>,
    pub(crate) bias: Vec<f32>,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

struct Norm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl BertWeights {
    pub(crate) fn read(
        config: &BertConfig,
        kind: ModelKind,
        from: &impl Tensors,
    ) -> Result<BertWeights, ModelError> {
        let h = config.hidden_size;
        let table = |name: &str, rows: usize| {
            from.encoder(&format!("embeddings.{name}_embeddings.weight"), &[rows, h])
        };
        let head = |name: &str, n: usize| {
            let weight = from.head(&format!("{name}.weight"), &[n, h])?;
            let bias = from.head(&format!("{name}.bias"), &[n])?.f32s().into_owned();
            Ok::<_, ModelError>(Matrix { weight: vec![weight], bias, n, k: h })
        };
        Ok(BertWeights {
            words: table("word", config.vocab_size)?,
            positions: table("position", config.max_position_embeddings)?,
            types: table("token_type", config.type_vocab_size)?,
            embedding_norm: Norm::read(from, "embeddings.LayerNorm", h)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| LayerWeights::read(config, from, layer))
                .collect::<Result<_, _>>()?,
            head: match kind {
                ModelKind::Encoder => None,
                ModelKind::CrossEncoder => Some(HeadWeights::Classifier {
                    pooler: Matrix::read(from, "pooler.dense", h, h)?,
                    classifier: head("classifier", config.labels())?,
                }),
                // A reader may rank as well: its third row says how relevant the passage is.
                ModelKind::Reader => Some(HeadWeights::Span(
                    head("qa_outputs", 2).or_else(|e| head("qa_outputs", 3).map_err(|_| e))?,
                )),
            },
        })
    }

    /// All matrices, in the order in which a device is given them.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let head = self.head.iter().flat_map(HeadWeights::matrices);
        self.layers.iter().flat_map(LayerWeights::matrices).chain(head)
    }

    /// Outputs of the head; 0 without one.
    pub(crate) fn labels(&self) -> usize {
        match &self.head {
            Some(HeadWeights::Classifier { classifier, .. }) => classifier.n,
            Some(HeadWeights::Span(span)) => span.n,
            None => 0,
        }
    }

    /// Numbers in all.
    pub(crate) fn parameters(&self) -> usize {
        let matrix = |m: &Matrix| m.n * m.k + m.bias.len();
        let norm = |n: &Norm| n.gamma.len() + n.beta.len();
        let layer = |l: &LayerWeights| {
            l.matrices().map(matrix).iter().sum::<usize>()
                + norm(&l.attention_norm)
                + norm(&l.output_norm)
        };
        self.words.len()
            + self.positions.len()
            + self.types.len()
            + norm(&self.embedding_norm)
            + self.layers.iter().map(layer).sum::<usize>()
            + self.head.iter().flat_map(HeadWeights::matrices).map(matrix).sum::<usize>()
    }
}

impl HeadWeights {
    fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let (first, second) = match self {
            HeadWeights::Classifier { pooler, classifier } => (pooler, Some(classifier)),
            HeadWeights::Span(span) => (span, None),
        };
        std::iter::once(first).chain(second)
    }
}

impl LayerWeights {
    fn matrices(&self) -> [&Matrix; 4] {
        [&self.query_key_value, &self.attention_output, &self.intermediate, &self.output]
    }

    fn read(
        config: &BertConfig,
        from: &impl Tensors,
        layer: usize,
    ) -> Result<LayerWeights, ModelError> {
        let (h, i) = (config.hidden_size, config.intermediate_size);
        let matrix = |name: &str, n: usize, k: usize| {
            Matrix::read(from, &format!("encoder.layer.{layer}.{name}"), n, k)
        };
        let norm = |name: &str| Norm::read(from, &format!("encoder.layer.{layer}.{name}"), h);
        // One product instead of three: the rows of Q, K and V one below the other.
        let mut query_key_value = matrix("attention.self.query", h, h)?;
        query_key_value.append(matrix("attention.self.key", h, h)?);
        query_key_value.append(matrix("attention.self.value", h, h)?);
        Ok(LayerWeights {
            query_key_value,
            attention_output: matrix("attention.output.dense", h, h)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: matrix("intermediate.dense", i, h)?,
            output: matrix("output.dense", h, i)?,
            output_norm: norm("output.LayerNorm")?,
        })
    }
}

impl Matrix {
    fn read(from: &impl Tensors, name: &str, n: usize, k: usize) -> Result<Matrix, ModelError> {
        let weight = vec![from.encoder(&format!("{name}.weight"), &[n, k])?];
        let bias = from.encoder(&format!("{name}.bias"), &[n])?.f32s().into_owned();
        Ok(Matrix { weight, bias, n, k })
    }

    /// Adds another's outputs below.
    fn append(&mut self, below: Matrix) {
        self.weight.extend(below.weight);
        self.bias.extend(below.bias);
        self.n += below.n;
    }

    /// Takes it to a device, which reads it.
    pub(crate) fn upload<D: Device>(&self, device: &D) -> Result<D::Linear, KernelError> {
        let Matrix { weight, bias, n, k } = self;
        let weight = match &weight[..] {
            [whole] => whole.f32s(),
            parts => parts.iter().flat_map(|part| part.f32s().into_owned()).collect(),
        };
        device.prepare_linear(LinearWeights { weight: &weight, bias, n: *n, k: *k })
    }
}

impl Norm {
    fn read(from: &impl Tensors, name: &str, h: usize) -> Result<Norm, ModelError> {
        let values = |part: &str| {
            let values = from.encoder(&format!("{name}.{part}"), &[h])?;
            Ok::<_, ModelError>(values.f32s().into_owned())
        };
        Ok(Norm { gamma: values("weight")?, beta: values("bias")? })
    }

    fn view(&self, epsilon: f32) -> NormWeights<'_> {
        NormWeights { gamma: &self.gamma, beta: &self.beta, epsilon }
    }
}
