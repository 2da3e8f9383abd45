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
        let (dimensions, hidden) = outputs.f32("last_hidden_state")?;
        self.pool_rows(&encoded, &dimensions, &hidden)
    }

    /// `hidden` is `[rows, columns, width]`; each row's tokens come first.
    fn pool_rows(
        &self,
        encoded: &[Encoded],
        dimensions: &[u32],
        hidden: &[f32],
    ) -> Result<Vec<Embedding>, NnError> {
        let longest = encoded.iter().map(|e| e.ids.len()).max().unwrap_or(0);
        let &[rows, columns, width] = dimensions else {
            return Err(NnError::Failed(format!(
                "`{}` returned rank {}",
                self.graph,
                dimensions.len()
            )));
        };
        if (rows as usize, columns as usize) != (encoded.len(), longest) || hidden.is_empty() {
            return Err(NnError::Failed(format!("`{}` returned {dimensions:?}", self.graph)));
        }
        let row_len = columns as usize * width as usize;
        Ok(hidden
            .chunks_exact(row_len)
            .zip(encoded)
            .map(|(row, e)| Embedding {
                vector: pool(&row[..e.ids.len() * width as usize], width as usize, self.pooling),
                truncated: e.truncated,
            })
            .collect())
    }
}

/// One vector from the embeddings of one text's tokens, `[tokens, width]`.
fn pool(hidden: &[f32], width: usize, pooling: Pooling) -> Vector {
    let tokens = match pooling {
        Pooling::Mean => hidden.len() / width,
        Pooling::Cls => 1,
    };
    let mut sum = vec![0.0; width];
    for token in hidden.chunks_exact(width).take(tokens) {
        sum.iter_mut().zip(token).for_each(|(s, x)| *s += x);
    }
    // The mean's divisor goes with the normalisation.
    Vector::normalized(sum)
}
