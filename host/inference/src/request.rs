//! Untrusted tensors to packed tokens: everything that can be wrong with a call's inputs is found
//! here, in the caller's thread, before the device sees any of it.

use trine_text::tokens::Encoded;

use crate::{InferenceError, ModelInfo, Tensor, TensorData, View};

/// What is to be made of some texts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Word of each token, text after text.
    pub(crate) words: Vec<u32>,
    /// Segment of each token.
    pub(crate) types: Vec<u32>,
    /// Tokens of each text.
    pub(crate) lengths: Vec<u32>,
    /// What to compute.
    pub(crate) wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The vector of every token, in rectangles of `width` tokens.
    HiddenStates { width: usize },
    /// A classifier's outputs.
    Logits,
    /// Every token's start and end logit, in rectangles of `width` tokens.
    Spans { width: usize },
    /// The first text compared with each of the others: of each its score, and its vector.
    Scores,
    /// One vector a text, pooled as the model wants it.
    Embeddings,
}

/// What a request is checked against.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) model: &'a ModelInfo,
    /// Tokens of one call, padding included: it takes room in the result.
    pub(crate) tokens: usize,
}

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";
const QUERY_IDS: &str = "query_input_ids";
const QUERY_MASK: &str = "query_attention_mask";

impl View {
    /// The inputs it takes.
    fn inputs(self) -> &'static [&'static str] {
        match self {
            View::Encoder | View::SentenceEmbedding | View::CrossEncoder | View::Reader => {
                &[IDS, MASK, TYPES]
            }
            View::LateInteraction => &[QUERY_IDS, QUERY_MASK, IDS, MASK],
        }
    }
}

impl Request {
    /// From the named tensors of a call; see [`View`] for what they must be.
    pub(crate) fn from_tensors(
        view: View,
        limits: Limits,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Request, InferenceError> {
        let mut inputs = Inputs::new(view.inputs(), limits, inputs)?;
        let mut request =
            Request { words: vec![], types: vec![], lengths: vec![], wanted: Wanted::Scores };
        if view == View::LateInteraction {
            let (ids, mask) = (inputs.required(QUERY_IDS)?, inputs.required(QUERY_MASK)?);
            if ids.rows != 1 {
                let reason = format!("is {} rows; a call compares one query", ids.rows);
                return Err(InferenceError::input(QUERY_IDS, reason));
            }
            request.push_rows(limits, (QUERY_IDS, &ids), (QUERY_MASK, &mask), None)?;
        }
        let (ids, mask) = (inputs.required(IDS)?, inputs.required(MASK)?);
        let types = inputs.optional(TYPES)?;
        request.push_rows(limits, (IDS, &ids), (MASK, &mask), types.as_ref())?;
        request.wanted = match view {
            View::Encoder => Wanted::HiddenStates { width: ids.columns },
            View::SentenceEmbedding => Wanted::Embeddings,
            View::CrossEncoder => Wanted::Logits,
            View::Reader => Wanted::Spans { width: ids.columns },
            View::LateInteraction => Wanted::Scores,
        };
        Ok(request)
    }

    /// From tokens that need no unpacking, to be pooled.
    pub(crate) fn from_encoded(
        limits: Limits,
        texts: &[Encoded],
    ) -> Result<Request, InferenceError> {
        let mut request =
            Request { words: vec![], types: vec![], lengths: vec![], wanted: Wanted::Embeddings };
        for (row, text) in texts.iter().enumerate() {
            if text.ids.len() != text.type_ids.len() {
                let reason = format!("row {row} has {} segments", text.type_ids.len());
                return Err(InferenceError::input(TYPES, reason));
            }
            check_length(limits, IDS, row, text.ids.len())?;
            let ids = text.ids.iter().map(|&id| i64::from(id));
            push_ids(&mut request.words, IDS, row, ids, limits.model.vocabulary)?;
            let types = text.type_ids.iter().map(|&id| i64::from(id));
            push_ids(&mut request.types, TYPES, row, types, limits.model.token_types)?;
            request.lengths.push(text.ids.len() as u32);
        }
        Ok(request)
    }

    /// Adds the rows of a rectangle, each up to where its mask ends.
    fn push_rows(
        &mut self,
        limits: Limits,
        (ids_name, ids): (&str, &Rectangle),
        (mask_name, mask): (&str, &Rectangle),
        types: Option<&Rectangle>,
    ) -> Result<(), InferenceError> {
        for (name, other) in [(mask_name, Some(mask)), (TYPES, types)] {
            if let Some(other) = other
                && (other.rows, other.columns) != (ids.rows, ids.columns)
            {
                let (found, expected) = ([other.rows, other.columns], [ids.rows, ids.columns]);
                let reason = format!("is {found:?}, but `{ids_name}` is {expected:?}");
                return Err(InferenceError::input(name, reason));
            }
        }
        for row in 0..ids.rows {
            let length = masked_length(mask_name, row, mask.row(row))?;
            check_length(limits, ids_name, row, length)?;
            let live = ids.row(row)[..length].iter().copied();
            push_ids(&mut self.words, ids_name, row, live, limits.model.vocabulary)?;
            match types {
                None => self.types.resize(self.words.len(), 0),
                Some(types) => {
                    let live = types.row(row)[..length].iter().copied();
                    push_ids(&mut self.types, TYPES, row, live, limits.model.token_types)?;
                }
            }
            self.lengths.push(length as u32);
        }
        Ok(())
    }
}

/// How many tokens a row's mask lets through: it must be ones, then zeros.
fn masked_length(name: &str, row: usize, mask: &[i64]) -> Result<usize, InferenceError> {
    let length = mask.iter().take_while(|&&m| m == 1).count();
    match mask[length..].iter().find(|&&m| m != 0) {
        None if length > 0 => Ok(length),
        None => Err(InferenceError::input(name, format!("row {row} has no token"))),
        Some(odd) => {
            let reason = format!("row {row} has a {odd} after zeros or among ones; pad at the end");
            Err(InferenceError::input(name, reason))
        }
    }
}

fn check_length(
    limits: Limits,
    name: &str,
    row: usize,
    length: usize,
) -> Result<(), InferenceError> {
    let most = limits.model.max_positions;
    if length == 0 || length > most {
        let reason = format!("row {row} has {length} tokens; the model takes 1 to {most}");
        return Err(InferenceError::input(name, reason));
    }
    Ok(())
}

fn push_ids(
    into: &mut Vec<u32>,
    name: &str,
    row: usize,
    ids: impl Iterator<Item = i64>,
    bound: usize,
) -> Result<(), InferenceError> {
    for id in ids {
        match u32::try_from(id) {
            Ok(id) if (id as usize) < bound => into.push(id),
            _ => {
                let reason = format!("row {row} holds {id}; the model knows 0 to {}", bound - 1);
                return Err(InferenceError::input(name, reason));
            }
        }
    }
    Ok(())
}

/// A call's tensors by name.
struct Inputs<'a> {
    known: &'static [&'static str],
    limits: Limits<'a>,
    tensors: Vec<(String, Tensor)>,
}

impl<'a> Inputs<'a> {
    fn new(
        known: &'static [&'static str],
        limits: Limits<'a>,
        tensors: Vec<(String, Tensor)>,
    ) -> Result<Inputs<'a>, InferenceError> {
        for (at, (name, _)) in tensors.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let reason = format!("is unknown; the graph takes {}", known.join(", "));
                return Err(InferenceError::input(name, reason));
            }
            if tensors[..at].iter().any(|(other, _)| other == name) {
                return Err(InferenceError::input(name, "is given twice"));
            }
        }
        Ok(Inputs { known, limits, tensors })
    }

    fn optional(&mut self, name: &str) -> Result<Option<Rectangle>, InferenceError> {
        let Some(at) = self.tensors.iter().position(|(n, _)| n == name) else {
            return Ok(None);
        };
        let (_, tensor) = self.tensors.swap_remove(at);
        Rectangle::new(name, tensor, self.limits.tokens).map(Some)
    }

    fn required(&mut self, name: &str) -> Result<Rectangle, InferenceError> {
        self.optional(name)?.ok_or_else(|| {
            let reason = format!("is missing; the graph takes {}", self.known.join(", "));
            InferenceError::input(name, reason)
        })
    }
}

/// Whole numbers `[rows, columns]`.
struct Rectangle {
    rows: usize,
    columns: usize,
    values: Vec<i64>,
}

impl Rectangle {
    fn new(name: &str, tensor: Tensor, most: usize) -> Result<Rectangle, InferenceError> {
        let refuse = |reason: String| Err(InferenceError::input(name, reason));
        let &[rows, columns] = tensor.dims.as_slice() else {
            return refuse(format!("has rank {}, not 2: [rows, tokens]", tensor.dims.len()));
        };
        let elements = rows.checked_mul(columns);
        if elements != Some(tensor.data.len()) {
            return refuse(format!("is [{rows}, {columns}] of {} values", tensor.data.len()));
        }
        if tensor.data.is_empty() || tensor.data.len() > most {
            let reason = format!("is [{rows}, {columns}]; a call may have 1 to {most} tokens");
            return refuse(reason);
        }
        let values = match tensor.data {
            TensorData::I64(values) => values,
            TensorData::I32(values) => values.into_iter().map(i64::from).collect(),
            TensorData::F32(_) => return refuse("is f32; ids are i64 or i32".to_owned()),
        };
        Ok(Rectangle { rows, columns, values })
    }

    fn row(&self, row: usize) -> &[i64] {
        &self.values[row * self.columns..][..self.columns]
    }
}
