//! Models by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{DeviceChoice, Model, ModelError, ModelKind};

/// What a graph computes, with the tensor names that exported ONNX models use. `n` texts in
/// right-padded rectangles of `s` tokens; ids and masks are i64 or i32, results f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// `input_ids`, `attention_mask`, optionally `token_type_ids`, each `[n, s]` ->
    /// `last_hidden_state` `[n, s, h]`, zeros where the mask is 0.
    Encoder,
    /// The same inputs -> `sentence_embedding` `[n, h]`: the token vectors pooled, and scaled to
    /// length 1, as the model's folder says; the name that exported sentence encoders use.
    SentenceEmbedding,
    /// The same inputs -> `logits` `[n, labels]`.
    CrossEncoder,
    /// `query_input_ids`, `query_attention_mask` `[1, q]`, `input_ids`, `attention_mask` `[n, s]`
    /// -> `scores` `[n]`: an encoder's token vectors compared by [`trine_kernels::maxsim`], every
    /// token under the mask counted, special ones too, as ColBERT counts them.
    LateInteraction,
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            View::Encoder => "encoder",
            View::SentenceEmbedding => "sentence encoder",
            View::CrossEncoder => "cross-encoder",
            View::LateInteraction => "late-interaction graph",
        })
    }
}

/// Graph names, and the model and view behind each. Several names may share one model.
#[derive(Clone, Default)]
pub struct Graphs {
    pub(crate) graphs: BTreeMap<String, (Arc<Model>, View)>,
    pub(crate) places: Vec<(Arc<Model>, DeviceChoice)>,
}

impl Graphs {
    /// No graph yet.
    pub fn new() -> Graphs {
        Graphs::default()
    }

    /// Adds a graph. Refuses a name that is taken, and a view that the model does not have.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        model: Arc<Model>,
        view: View,
    ) -> Result<(), ModelError> {
        let name = name.into();
        let kind = model.info().kind;
        if (kind == ModelKind::CrossEncoder) != (view == View::CrossEncoder) {
            let (kind, view) = (format!("{kind:?}"), view.to_string());
            return Err(ModelError::View { graph: name, kind, view });
        }
        if self.graphs.contains_key(&name) {
            return Err(ModelError::DuplicateGraph(name));
        }
        self.graphs.insert(name, (model, view));
        Ok(())
    }

    /// Says where a model is to compute, all its graphs with it.
    pub fn place(&mut self, model: Arc<Model>, choice: DeviceChoice) {
        self.places.retain(|(placed, _)| !Arc::ptr_eq(placed, &model));
        self.places.push((model, choice));
    }
}
