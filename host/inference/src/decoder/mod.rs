//! A decoder as it lies in a folder or file: what it is, and its tensors.

pub(crate) mod checkpoint;
mod config;
pub(crate) mod file;
mod from_gguf;
mod hugging_face;
mod rope;
pub(crate) mod table;

use std::path::{Path, PathBuf};

use trine_kernels::Format;

use crate::ModelError;
use crate::gguf::Gguf;
use checkpoint::{Checkpoint, Folder};
pub use config::DecoderConfig;
pub use rope::Rope;

/// A decoder's files, opened. Its weights are read when a device takes them; from then on only embeddings
/// are.
pub struct DecoderModel {
    path: PathBuf,
    config: DecoderConfig,
    checkpoint: Checkpoint,
}

impl DecoderModel {
    /// Opens a GGUF file, or a Hugging Face folder: `config.json` and safetensors. Fails when a file
    /// is missing or damaged, or the model asks for what is not implemented. Tensors are looked for
    /// when a device takes them.
    pub fn open(path: impl AsRef<Path>) -> Result<DecoderModel, ModelError> {
        let path = path.as_ref().to_owned();
        let (config, checkpoint) = if path.is_dir() {
            (hugging_face::read(&path)?, Checkpoint::Safetensors(Folder::open(&path)?))
        } else {
            let gguf = Gguf::open(&path)?;
            (from_gguf::read(&gguf)?, Checkpoint::Gguf(gguf))
        };
        Ok(DecoderModel { path, config, checkpoint })
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the model is.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Its file, if it is GGUF.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.checkpoint {
            Checkpoint::Gguf(gguf) => Some(gguf),
            Checkpoint::Safetensors(_) => None,
        }
    }

    /// The numbers that most of its weights are stored in, such as `Q4_0` or `BF16`.
    pub fn weights(&self) -> &'static str {
        self.checkpoint.most().map_or("none", Format::name)
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}
