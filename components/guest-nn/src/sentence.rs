//! Texts to unit vectors, by a bi-encoder behind wasi:nn (Sentence-BERT, Reimers & Gurevych 2019).

use crate::{Graph, NnError, Tensor};
use trine_index::Vector;
use trine_index::setup::Pooling;
use trine_text::tokens::{Encoded, Encoder};

/// One text's vector.
pub struct Embedding {
    /// Of length one.
    pub vector: Vector,
    /// Tokens that the window left out.
    pub truncated: u32,
}

/// A bi-encoder: its tokenizer, the name the host knows it by, how it pools.
pub struct SentenceEncoder {
    /// Tokenizer and window.
    pub encoder: Encoder,
    /// Name for `load-by-name`.
    pub graph: String,
    /// How token embeddings become one vector.
    pub pooling: Pooling,
}

impl SentenceEncoder {
    /// The vectors of `texts`, in order, by one call to the host.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, NnError> {
        let encoded = texts
            .iter()
            .map(|text| self.encoder.encode(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| NnError::InvalidInput(e.to_string()))?;
        let ids = || encoded.iter().map(|e| e.ids.as_slice());
        let inputs = vec![
            ("input_ids", Tensor::rows(ids(), 0)),
            ("attention_mask", Tensor::mask(ids())),
            ("token_type_ids", Tensor::rows(encoded.iter().map(|e| e.type_ids.as_slice()), 0)),
        ];
        let outputs = Graph::load(&self.graph)?.compute(inputs)?;
        // A graph that pools by itself returns a vector a text; any other one a token.
        match outputs.has("sentence_embedding") {
            true => self.rows(&encoded, outputs.f32("sentence_embedding")?),
            false => self.pooled_rows(&encoded, outputs.f32("last_hidden_state")?),
        }
    }

    /// `vectors` is `[rows, width]`.
    fn rows(
        &self,
        encoded: &[Encoded],
        (dimensions, vectors): (Vec<u32>, Vec<f32>),
    ) -> Result<Vec<Embedding>, NnError> {
        let width = match dimensions[..] {
            [rows, width] if rows as usize == encoded.len() && width > 0 => width as usize,
            _ => return Err(self.wrong_shape(&dimensions)),
        };
        let rows = vectors.chunks_exact(width).zip(encoded);
        Ok(rows.map(|(row, e)| Embedding::new(row.to_vec(), e)).collect())
    }

    /// `hidden` is `[rows, columns, width]`; each row's tokens come first.
    fn pooled_rows(
        &self,
        encoded: &[Encoded],
        (dimensions, hidden): (Vec<u32>, Vec<f32>),
    ) -> Result<Vec<Embedding>, NnError> {
        let longest = encoded.iter().map(|e| e.ids.len()).max().unwrap_or(0);
        let width = match dimensions[..] {
            [rows, columns, width]
                if (rows as usize, columns as usize) == (encoded.len(), longest)
                    && !hidden.is_empty() =>
            {
                width as usize
            }
            _ => return Err(self.wrong_shape(&dimensions)),
        };
        let rows = hidden.chunks_exact(longest * width).zip(encoded);
        let pooled =
            |row: &[f32], e: &Encoded| pool(&row[..e.ids.len() * width], width, self.pooling);
        Ok(rows.map(|(row, e)| Embedding::new(pooled(row, e), e)).collect())
    }

    fn wrong_shape(&self, dimensions: &[u32]) -> NnError {
        NnError::Failed(format!("`{}` returned the shape {dimensions:?}", self.graph))
    }
}

impl Embedding {
    fn new(vector: Vec<f32>, encoded: &Encoded) -> Embedding {
        Embedding { vector: Vector::normalized(vector), truncated: encoded.truncated }
    }
}

/// One vector from the embeddings of one text's tokens, `[tokens, width]`.
fn pool(hidden: &[f32], width: usize, pooling: Pooling) -> Vec<f32> {
    let tokens = match pooling {
        Pooling::Mean => hidden.len() / width,
        Pooling::Cls => 1,
    };
    let mut sum = vec![0.0; width];
    for token in hidden.chunks_exact(width).take(tokens) {
        sum.iter_mut().zip(token).for_each(|(s, x)| *s += x);
    }
    // The mean's divisor goes with the normalisation.
    sum
}
