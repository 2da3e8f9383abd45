//! Models by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{DeviceChoice, Model, ModelError, ModelKind, Tensor};

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
    /// The same inputs -> `start_logits` and `end_logits`, each `[n, s]`: of each token's being the
    /// first and the last of the answer, zeros where the mask is 0. The first token's stand for
    /// "no answer" (Devlin et al. 2019, section 4.3). Of a reader that ranks also `relevance` `[n]`: how
    /// much rather than other passages this one answers.
    Reader,
    /// `query_input_ids`, `query_attention_mask` `[1, q]`, `input_ids`, `attention_mask` `[n, s]`
    /// -> `scores` `[n]`: an encoder's token vectors compared by [`trine_kernels::maxsim`], every
    /// token under the mask counted, special ones too, as ColBERT counts them; and
    /// `sentence_embedding` `[n, h]` of the texts, from the same token vectors.
    LateInteraction,
}

impl View {
    /// A result by the names of its outputs.
    pub(crate) fn outputs(self, result: Tensor) -> Vec<(String, Tensor)> {
        let name = match self {
            View::Encoder => "last_hidden_state",
            View::SentenceEmbedding => "sentence_embedding",
            View::CrossEncoder => "logits",
            View::LateInteraction => return scored(&result),
            View::Reader => return spans(&result),
        };
        vec![(name.to_owned(), result)]
    }
}

/// `[n, s, 2 or 3]` to two of `[n, s]`, and `[n]` of the third of each first token.
fn spans(result: &Tensor) -> Vec<(String, Tensor)> {
    let &[n, width, labels] = result.dims.as_slice() else { return vec![] };
    let tokens = result.as_f32().unwrap_or_default().chunks_exact(labels.max(1));
    let column =
        |at: usize| Tensor::f32(vec![n, width], tokens.clone().map(|token| token[at]).collect());
    let mut outputs =
        vec![("start_logits".to_owned(), column(0)), ("end_logits".to_owned(), column(1))];
    if labels > 2 {
        let first = tokens.step_by(width.max(1)).map(|token| token[2]).collect();
        outputs.push(("relevance".to_owned(), Tensor::f32(vec![n], first)));
    }
    outputs
}

/// `[n, 1 + h]` to `[n]` and `[n, h]`.
fn scored(result: &Tensor) -> Vec<(String, Tensor)> {
    let &[n, width] = result.dims.as_slice() else { return vec![] };
    let rows = result.as_f32().unwrap_or_default().chunks_exact(width.max(1));
    let scores = rows.clone().map(|row| row[0]).collect();
    let vectors = rows.flat_map(|row| &row[1..]).copied().collect();
    vec![
        ("scores".to_owned(), Tensor::f32(vec![n], scores)),
        ("sentence_embedding".to_owned(), Tensor::f32(vec![n, width.max(1) - 1], vectors)),
    ]
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            View::Encoder => "encoder",
            View::SentenceEmbedding => "sentence encoder",
            View::CrossEncoder => "cross-encoder",
            View::Reader => "reader",
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
        let right = match view {
            View::CrossEncoder => ModelKind::CrossEncoder,
            View::Reader => ModelKind::Reader,
            View::Encoder | View::SentenceEmbedding | View::LateInteraction => ModelKind::Encoder,
        };
        if kind != right {
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
