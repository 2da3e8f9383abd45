//! Adapters: small files that make another model of a base.
//!
//! A matrix `W` `[n, k]` of the base becomes `W + up · down`, `up` `[n, r]` and `down` `[r, k]` (LoRA,
//! Hu et al. 2021, section 4.1, with the scale multiplied in); biases, normalisations and the head
//! stand in the adapter whole. The sum is made when weights are taken to a device, so a model with an
//! adapter costs what its base does. Layout: a safetensors file of `NAME.down`, `NAME.up` and `NAME`
//! by the base's names, whose metadata say `base` and `kind`.

use std::fs;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use crate::weights::{Tensors, Values, Weights, tensor_f32};
use crate::{ModelError, ModelKind};

/// An adapter is some megabytes; a larger file is not read.
const MOST_BYTES: u64 = 256 << 20;

/// An adapter's file.
pub struct Adapter {
    path: PathBuf,
    bytes: Vec<u8>,
    base: String,
    kind: ModelKind,
    max_tokens: Option<usize>,
}

impl Adapter {
    /// Reads `adapter.safetensors`. Fails when it is no safetensors file, too large, or does not say
    /// what it is an adapter of, and for what.
    pub fn open(path: impl Into<PathBuf>) -> Result<Adapter, ModelError> {
        let path = path.into();
        let file = |reason: String| ModelError::File { path: path.clone(), reason };
        let size = fs::metadata(&path).map_err(|e| file(e.to_string()))?.len();
        if size > MOST_BYTES {
            return Err(file(format!("{size} bytes; an adapter has at most {MOST_BYTES}")));
        }
        let bytes = fs::read(&path).map_err(|e| file(e.to_string()))?;
        let format = |reason: String| ModelError::Format { path: path.clone(), reason };
        SafeTensors::deserialize(&bytes).map_err(|e| format(e.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format(e.to_string()))?;
        let said = |key: &str| header.metadata().as_ref().and_then(|m| m.get(key)).cloned();
        let base = said("base").ok_or_else(|| format("it does not name its `base`".to_owned()))?;
        let kind = match said("kind").as_deref() {
            Some("late-interaction" | "sentence-encoder") => ModelKind::Encoder,
            Some("cross-encoder") => ModelKind::CrossEncoder,
            Some("reader") => ModelKind::Reader,
            other => {
                return Err(ModelError::Unsupported {
                    field: "kind",
                    found: format!("{other:?}"),
                    supported: "late-interaction, sentence-encoder, cross-encoder, reader",
                });
            }
        };
        let max_tokens = said("max_tokens").map(|text| text.parse::<usize>());
        let max_tokens = max_tokens.transpose().map_err(|e| format(format!("max_tokens: {e}")))?;
        Ok(Adapter { path, bytes, base, kind, max_tokens })
    }

    /// The name of the model that it changes.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What the changed model is for.
    pub fn kind(&self) -> ModelKind {
        self.kind
    }

    /// The changed model's window in tokens, where it is not the base's.
    pub fn max_tokens(&self) -> Option<usize> {
        self.max_tokens
    }

    /// The SHA-256 of the file, in hexadecimal.
    pub fn sha256(&self) -> String {
        Sha256::digest(&self.bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The base's tensors as this adapter changes them.
    pub(crate) fn over<'a>(&'a self, base: Weights<'a>) -> Result<Adapted<'a>, ModelError> {
        let format = |e: safetensors::SafeTensorError| ModelError::Format {
            path: self.path.clone(),
            reason: e.to_string(),
        };
        Ok(Adapted { base, tensors: SafeTensors::deserialize(&self.bytes).map_err(format)? })
    }
}

/// An update of low rank of a matrix `[n, k]`.
pub(crate) struct Update {
    /// `[r, k]`.
    down: Vec<f32>,
    /// `[n, r]`.
    up: Vec<f32>,
    rank: usize,
    k: usize,
}

impl Update {
    /// The base with the update, `[n, k]`.
    pub(crate) fn of(&self, base: &[f32]) -> Vec<f32> {
        let mut sum = base.to_vec();
        let rows = sum.chunks_exact_mut(self.k).zip(self.up.chunks_exact(self.rank));
        for (row, weights) in rows {
            for (weight, direction) in weights.iter().zip(self.down.chunks_exact(self.k)) {
                row.iter_mut().zip(direction).for_each(|(x, d)| *x += weight * d);
            }
        }
        sum
    }
}

/// A base and an adapter, read as one.
pub(crate) struct Adapted<'a> {
    base: Weights<'a>,
    tensors: SafeTensors<'a>,
}

impl Adapted<'_> {
    /// A tensor of the adapter as f32; `None` where it has none of the name.
    fn own(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, ModelError> {
        let Ok(view) = self.tensors.tensor(name) else { return Ok(None) };
        let name = || name.to_owned();
        if view.shape() != shape {
            let (found, expected) = (view.shape().to_vec(), shape.to_vec());
            return Err(ModelError::TensorShape { name: name(), found, expected });
        }
        match view.dtype() {
            dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16) => {
                Ok(Some(tensor_f32(view.data(), dtype).into_owned()))
            }
            other => Err(ModelError::TensorType { name: name(), found: format!("{other:?}") }),
        }
    }

    /// The update of a matrix; `None` where there is none.
    fn update(&self, name: &str, shape: &[usize]) -> Result<Option<Update>, ModelError> {
        let (&[n, k], Ok(down)) = (shape, self.tensors.tensor(&format!("{name}.down"))) else {
            return Ok(None);
        };
        let rank = down.shape().first().copied().unwrap_or_default().max(1);
        let down = self.own(&format!("{name}.down"), &[rank, k])?;
        let up = self.own(&format!("{name}.up"), &[n, rank])?;
        match (down, up) {
            (Some(down), Some(up)) => Ok(Some(Update { down, up, rank, k })),
            _ => Err(ModelError::MissingTensor { name: format!("{name}.up") }),
        }
    }
}

impl Tensors for Adapted<'_> {
    fn encoder(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        if let Some(whole) = self.own(name, shape)? {
            return Ok(Values::Made(whole.into()));
        }
        let base = self.base.encoder(name, shape)?;
        Ok(match self.update(name, shape)? {
            Some(update) => Values::Updated { base: Box::new(base), update },
            None => base,
        })
    }

    fn head(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        match self.own(name, shape)? {
            Some(whole) => Ok(Values::Made(whole.into())),
            None => self.base.head(name, shape),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_a_product_added() {
        let update = Update {
            down: vec![1.0, 2.0, 3.0, 0.0, 1.0, 0.0],
            up: vec![1.0, 10.0, -1.0, 0.0],
            rank: 2,
            k: 3,
        };
        let base = [0.5, 0.5, 0.5, 1.0, 1.0, 1.0];
        assert_eq!(update.of(&base), [1.5, 12.5, 3.5, 0.0, -1.0, -2.0]);
    }
}
