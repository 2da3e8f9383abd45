//! A decoder's tensors by the names of transformers, from safetensors or GGUF.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use trine_kernels::{BlockMatrix, Format, RowOrder};

use super::file::{Place, WeightsFile};
use super::table::Table;
use crate::ModelError;
use crate::config::read_json_if_any;
use crate::gguf::Gguf;

/// Where a decoder's tensors lie.
pub(crate) enum Checkpoint {
    Safetensors(Folder),
    Gguf(Gguf),
}

/// The tensors of a folder's files.
pub(crate) struct Folder {
    files: Vec<WeightsFile>,
    tensors: BTreeMap<String, Tensor>,
}

struct Tensor {
    file: usize,
    bytes: Range<usize>,
    shape: Vec<usize>,
    dtype: Dtype,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Names of transformers' tensors, and of GGUF's.
const NAMES: [(&str, &str); 16] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("weight", "weight"),
    ("bias", "bias"),
];

/// GGUF's name of a tensor of transformers.
fn in_gguf(name: &str) -> String {
    let translate = |name: &str| {
        let found = NAMES.iter().find(|(ours, _)| *ours == name);
        found.map_or_else(|| name.to_owned(), |(_, theirs)| (*theirs).to_owned())
    };
    let (module, kind) = name.rsplit_once('.').unwrap_or((name, "weight"));
    match module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, module)) => format!("blk.{layer}.{}.{kind}", translate(module)),
        None => format!("{}.{kind}", translate(module)),
    }
}

impl Checkpoint {
    /// A matrix `[n, k]`. `order` is how its rows would lie in a GGUF of Llama.
    pub(crate) fn matrix(
        &self,
        name: &str,
        shape: [usize; 2],
        order: RowOrder,
    ) -> Result<BlockMatrix, ModelError> {
        let place = self.place(name, shape)?;
        let order = match self {
            Checkpoint::Safetensors(_) => RowOrder::Plain,
            Checkpoint::Gguf(_) => order,
        };
        let ([n, k], bytes) = (shape, place.read()?.into());
        Ok(BlockMatrix { format: place.format, bytes, n, k, order })
    }

    fn place(&self, name: &str, shape: [usize; 2]) -> Result<Place<'_>, ModelError> {
        match self {
            Checkpoint::Safetensors(folder) => folder.place(name, &shape),
            Checkpoint::Gguf(gguf) => gguf.place(&in_gguf(name), shape),
        }
    }

    /// A matrix `[n, k]` of which a few rows are wanted at a time.
    pub(crate) fn table(&self, name: &str, shape: [usize; 2]) -> Result<Table, ModelError> {
        let Place { file, bytes, format } = self.place(name, shape)?;
        Ok(Table { file: file.clone(), bytes, format, rows: shape[0] })
    }

    /// The bytes of each tensor, and in which numbers they are; `None` of those that are no weights.
    fn sizes(&self) -> Vec<(Option<Format>, usize)> {
        match self {
            Checkpoint::Safetensors(folder) => {
                let tensors = folder.tensors.values();
                tensors.map(|tensor| (format(tensor.dtype), tensor.bytes.len())).collect()
            }
            Checkpoint::Gguf(gguf) => {
                gguf.sizes().map(|(format, bytes)| (Some(format), bytes)).collect()
            }
        }
    }

    /// The format that most of the bytes are in.
    pub(crate) fn most(&self) -> Option<Format> {
        let sizes = self.sizes();
        let bytes = |of: Format| -> usize {
            sizes.iter().filter(|(format, _)| *format == Some(of)).map(|(_, bytes)| bytes).sum()
        };
        Format::ALL.into_iter().max_by_key(|&format| bytes(format)).filter(|&most| bytes(most) > 0)
    }

    /// A vector `[n]` as f32.
    pub(crate) fn vector(
        &self,
        name: &str,
        n: usize,
        order: RowOrder,
    ) -> Result<Vec<f32>, ModelError> {
        let place = match self {
            Checkpoint::Safetensors(folder) => folder.place(name, &[n])?,
            Checkpoint::Gguf(gguf) => gguf.place(&in_gguf(name), [1, n])?,
        };
        let numbers = place.numbers(n)?;
        Ok(match self {
            Checkpoint::Safetensors(_) => numbers,
            Checkpoint::Gguf(_) => (0..n).map(|j| numbers[order.row(j)]).collect(),
        })
    }
}

impl Folder {
    /// Opens `model.safetensors`, or the files that `model.safetensors.index.json` names.
    pub(crate) fn open(folder: &Path) -> Result<Folder, ModelError> {
        let index: Option<Index> = read_json_if_any(&folder.join("model.safetensors.index.json"))?;
        let names: BTreeSet<String> = match index {
            Some(index) => index.weight_map.into_values().collect(),
            None => BTreeSet::from(["model.safetensors".to_owned()]),
        };
        let mut all = Folder { files: Vec::new(), tensors: BTreeMap::new() };
        for name in names {
            let path = folder.join(&name);
            if Path::new(&name).components().count() != 1 {
                let reason = "an index names files beside it only".to_owned();
                return Err(ModelError::File { path, reason });
            }
            all.add(path)?;
        }
        Ok(all)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), ModelError> {
        let file = WeightsFile::open(path.clone())?;
        let map = file.map()?;
        let tensors = SafeTensors::deserialize(map.bytes())
            .map_err(|e| ModelError::Format { path: path.clone(), reason: e.to_string() })?;
        for (name, view) in tensors.iter() {
            let start = view.data().as_ptr().addr() - map.bytes().as_ptr().addr();
            let bytes = start..start + view.data().len();
            let (file, shape) = (self.files.len(), view.shape().to_vec());
            let tensor = Tensor { file, bytes, shape, dtype: view.dtype() };
            self.tensors.insert(name.to_owned(), tensor);
        }
        drop(tensors);
        self.files.push(file);
        Ok(())
    }

    /// Where a tensor of this shape lies.
    fn place(&self, name: &str, shape: &[usize]) -> Result<Place<'_>, ModelError> {
        let missing = || ModelError::MissingTensor { name: name.to_owned() };
        let tensor = self.tensors.get(name).ok_or_else(missing)?;
        if tensor.shape != shape {
            let (name, found, expected) = (name.to_owned(), tensor.shape.clone(), shape.to_vec());
            return Err(ModelError::TensorShape { name, found, expected });
        }
        let format = format(tensor.dtype).ok_or_else(|| ModelError::TensorType {
            name: name.to_owned(),
            found: format!("{:?}", tensor.dtype),
        })?;
        Ok(Place { file: &self.files[tensor.file], bytes: tensor.bytes.clone(), format })
    }
}

/// The types of safetensors that weights may have.
fn format(dtype: Dtype) -> Option<Format> {
    match dtype {
        Dtype::F32 => Some(Format::F32),
        Dtype::F16 => Some(Format::F16),
        Dtype::BF16 => Some(Format::Bf16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_gguf() {
        for (ours, theirs) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("lm_head.weight", "output.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("model.layers.12.self_attn.q_proj.bias", "blk.12.attn_q.bias"),
            ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight"),
        ] {
            assert_eq!(in_gguf(ours), theirs);
        }
    }
}
