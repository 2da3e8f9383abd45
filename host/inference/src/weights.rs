//! Tensors by name from `model.safetensors`, as f32.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::ModelError;

/// More than any model that these architectures have; a larger file is not read.
const MOST_BYTES: u64 = 16 << 30;

/// A file of weights, read whole: a map of it could change under our feet.
pub(crate) struct WeightsFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Where an architecture takes its tensors from.
pub(crate) trait Tensors {
    /// A tensor of the encoder.
    fn encoder(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError>;

    /// A tensor beside the encoder, such as the classifier.
    fn head(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError>;
}

/// Tensors that nobody trained, the same for the same seed: for measuring speed and agreement
/// without a model's files.
pub(crate) struct RandomWeights {
    pub(crate) seed: u64,
}

impl Tensors for RandomWeights {
    /// Matrices as BERT is initialised (standard deviation 0.02, here uniform), times two so that
    /// attention is not flat; normalisations that leave things as they are.
    fn encoder(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let count = shape.iter().product();
        if name.contains("LayerNorm") {
            return Ok(vec![if name.ends_with("weight") { 1.0 } else { 0.0 }; count]);
        }
        let seed =
            name.bytes().fold(self.seed, |seed, byte| seed * 131 % (1 << 40) + u64::from(byte));
        let mut values = trine_kernels::parity::numbers(count, seed);
        values.iter_mut().for_each(|value| *value *= 0.07);
        Ok(values)
    }

    fn head(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.encoder(name, shape)
    }
}

/// The tensors of a file.
pub(crate) struct Weights<'a> {
    tensors: SafeTensors<'a>,
    /// What every name begins with: classifiers keep their encoder under `bert.`.
    prefix: &'static str,
}

impl WeightsFile {
    pub(crate) fn read(folder: &Path) -> Result<WeightsFile, ModelError> {
        let path = folder.join("model.safetensors");
        let refuse = |reason: String| ModelError::File { path: path.clone(), reason };
        let size = std::fs::metadata(&path).map_err(|e| refuse(e.to_string()))?.len();
        if size > MOST_BYTES {
            return Err(refuse(format!("{size} bytes; at most {MOST_BYTES} are read")));
        }
        let bytes = std::fs::read(&path).map_err(|e| refuse(e.to_string()))?;
        Ok(WeightsFile { path, bytes })
    }

    /// The file's directory of tensors.
    pub(crate) fn tensors(&self) -> Result<Weights<'_>, ModelError> {
        let tensors = SafeTensors::deserialize(&self.bytes)
            .map_err(|e| ModelError::Format { path: self.path.clone(), reason: e.to_string() })?;
        let prefixed = tensors.names().iter().any(|name| name.starts_with("bert."));
        Ok(Weights { tensors, prefix: if prefixed { "bert." } else { "" } })
    }
}

impl Tensors for Weights<'_> {
    fn encoder(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.tensor(format!("{}{name}", self.prefix), shape)
    }

    fn head(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.tensor(name.to_owned(), shape)
    }
}

impl Weights<'_> {
    /// A tensor's values. What is allocated is bounded by the file's size: the shape is compared
    /// first, and the directory was checked against the file when it was read.
    fn tensor(&self, name: String, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let view = match self.tensors.tensor(&name) {
            Ok(view) => view,
            Err(SafeTensorError::TensorNotFound(_)) => {
                return Err(ModelError::MissingTensor { name });
            }
            Err(e) => {
                return Err(ModelError::Format { path: name.into(), reason: e.to_string() });
            }
        };
        if view.shape() != shape {
            let (found, expected) = (view.shape().to_vec(), shape.to_vec());
            return Err(ModelError::TensorShape { name, found, expected });
        }
        let pairs = || view.data().as_chunks::<2>().0.iter();
        match view.dtype() {
            Dtype::F32 => {
                let values = view.data().as_chunks::<4>().0.iter();
                Ok(values.map(|b| f32::from_le_bytes(*b)).collect())
            }
            Dtype::F16 => Ok(pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect()),
            Dtype::BF16 => Ok(pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()),
            other => Err(ModelError::TensorType { name, found: format!("{other:?}") }),
        }
    }
}
