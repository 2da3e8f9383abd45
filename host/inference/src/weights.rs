//! Tensors by name from `model.safetensors`, as f32.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use sha2::{Digest, Sha256};
use trine_kernels::Shared;

use crate::ModelError;
use crate::adapter::Update;
use crate::mapped::Mapped;

/// More than any model that these architectures have; a larger file is not read.
const MOST_BYTES: u64 = 16 << 30;

/// A file of weights, mapped: of what no device asks for, nothing is read.
pub(crate) struct WeightsFile {
    path: PathBuf,
    file: File,
    map: Mapped,
}

/// A tensor's values, which are read when they are asked for.
pub(crate) enum Values {
    /// Bytes of a file, of one of the three types that [`Values::f32s`] reads.
    Stored { map: Mapped, bytes: Range<usize>, dtype: Dtype },
    /// Numbers in memory.
    Made(Shared<f32>),
    /// A matrix and its update of low rank.
    Updated { base: Box<Values>, update: Update },
}

impl Values {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        match self {
            Values::Stored { bytes, dtype: Dtype::F32, .. } => bytes.len() / 4,
            Values::Stored { bytes, .. } => bytes.len() / 2,
            Values::Made(values) => values.len(),
            Values::Updated { base, .. } => base.len(),
        }
    }

    /// As f32.
    pub(crate) fn f32s(&self) -> Cow<'_, [f32]> {
        let (map, bytes, dtype) = match self {
            Values::Made(values) => return Cow::Borrowed(values),
            Values::Updated { base, update } => return Cow::Owned(update.of(&base.f32s())),
            Values::Stored { map, bytes, dtype } => (map, bytes, dtype),
        };
        tensor_f32(&map.bytes()[bytes.clone()], *dtype)
    }

    /// As f32, from the file itself where it has them so.
    pub(crate) fn shared(&self) -> Shared<f32> {
        match (self, self.f32s()) {
            (Values::Made(values), _) => values.clone(),
            (_, Cow::Owned(values)) => values.into(),
            (Values::Stored { map, bytes, .. }, Cow::Borrowed(values)) => {
                map.numbers(bytes.clone()).unwrap_or_else(|| values.to_vec().into())
            }
            (Values::Updated { .. }, Cow::Borrowed(values)) => values.to_vec().into(),
        }
    }
}

/// A tensor's bytes, of type F32, F16 or BF16, as f32.
pub(crate) fn tensor_f32(bytes: &[u8], dtype: Dtype) -> Cow<'_, [f32]> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        Dtype::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        _ => match bytemuck::try_cast_slice(bytes) {
            Ok(values) if cfg!(target_endian = "little") => Cow::Borrowed(values),
            _ => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        },
    }
}

/// Where an architecture takes its tensors from.
pub(crate) trait Tensors {
    /// A tensor of the encoder.
    fn encoder(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError>;

    /// A tensor beside the encoder, such as the classifier.
    fn head(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError>;
}

/// Tensors that nobody trained, the same for the same seed: for measuring speed and agreement
/// without a model's files.
pub(crate) struct RandomWeights {
    pub(crate) seed: u64,
}

impl Tensors for RandomWeights {
    /// Matrices as BERT is initialised (standard deviation 0.02, here uniform), times two so that
    /// attention is not flat; normalisations that leave things as they are.
    fn encoder(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        let count = shape.iter().product();
        if name.contains("LayerNorm") {
            let value = if name.ends_with("weight") { 1.0 } else { 0.0 };
            return Ok(Values::Made(vec![value; count].into()));
        }
        let seed =
            name.bytes().fold(self.seed, |seed, byte| seed * 131 % (1 << 40) + u64::from(byte));
        let mut values = trine_kernels::parity::numbers(count, seed);
        values.iter_mut().for_each(|value| *value *= 0.07);
        Ok(Values::Made(values.into()))
    }

    fn head(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        self.encoder(name, shape)
    }
}

/// Under what a file may keep its encoder: classifiers, and DPR's two halves.
const PREFIXES: [&str; 3] = ["bert.", "question_encoder.bert_model.", "ctx_encoder.bert_model."];

/// The tensors of a file.
pub(crate) struct Weights<'a> {
    tensors: SafeTensors<'a>,
    map: &'a Mapped,
    /// What every name of the encoder begins with.
    prefix: &'static str,
}

impl WeightsFile {
    pub(crate) fn read(folder: &Path) -> Result<WeightsFile, ModelError> {
        let path = folder.join("model.safetensors");
        let refuse = |reason: String| ModelError::File { path: path.clone(), reason };
        let file = File::open(&path).map_err(|e| refuse(e.to_string()))?;
        let size = file.metadata().map_err(|e| refuse(e.to_string()))?.len();
        if size > MOST_BYTES {
            return Err(refuse(format!("{size} bytes; at most {MOST_BYTES} are read")));
        }
        let map = Mapped::new(&file).map_err(|e| refuse(e.to_string()))?;
        Ok(WeightsFile { path, file, map })
    }

    /// The SHA-256 of the file in hexadecimal. Reads it past the map, whose pages would stay.
    pub(crate) fn sha256(&self) -> Result<String, ModelError> {
        let refuse = |reason: String| ModelError::File { path: self.path.clone(), reason };
        let (mut file, mut hasher) = (&self.file, Sha256::new());
        let mut buffer = vec![0; 1 << 20];
        std::io::Seek::rewind(&mut file).map_err(|e| refuse(e.to_string()))?;
        loop {
            match file.read(&mut buffer).map_err(|e| refuse(e.to_string()))? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The file's directory of tensors.
    pub(crate) fn tensors(&self) -> Result<Weights<'_>, ModelError> {
        let tensors = SafeTensors::deserialize(self.map.bytes())
            .map_err(|e| ModelError::Format { path: self.path.clone(), reason: e.to_string() })?;
        let has = |prefix: &&str| tensors.names().iter().any(|name| name.starts_with(prefix));
        let prefix = PREFIXES.into_iter().find(has).unwrap_or_default();
        Ok(Weights { tensors, map: &self.map, prefix })
    }
}

impl Tensors for Weights<'_> {
    fn encoder(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        self.tensor(format!("{}{name}", self.prefix), shape)
    }

    fn head(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        self.tensor(name.to_owned(), shape)
    }
}

impl Weights<'_> {
    /// Where a tensor's values lie. The shape is compared first, and the directory was checked
    /// against the file when it was read.
    fn tensor(&self, name: String, shape: &[usize]) -> Result<Values, ModelError> {
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
        match view.dtype() {
            dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16) => {
                let start = view.data().as_ptr().addr() - self.map.bytes().as_ptr().addr();
                let bytes = start..start + view.data().len();
                Ok(Values::Stored { map: self.map.clone(), bytes, dtype })
            }
            other => Err(ModelError::TensorType { name, found: format!("{other:?}") }),
        }
    }
}
