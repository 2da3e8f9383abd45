//! What a component that drives a model itself is told before its snapshot.

use serde::{Deserialize, Serialize};

use crate::ChatTemplate;

/// A language model on a host that has its logits and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecoderSetup {
    /// Its name, by which it is loaded through wasi:nn too.
    pub model: String,
    /// Tokens that it reads and writes at most.
    pub context: u32,
    /// Tokens that end an answer.
    pub ends: Vec<u32>,
    /// Messages to a prompt; `None` where the model brings none.
    pub template: Option<ChatTemplate>,
}
