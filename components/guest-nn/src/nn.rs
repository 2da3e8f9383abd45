//! A model by name, tensors in, tensors out.

use crate::bindings::wasi::nn::errors::{Error, ErrorCode};
use crate::bindings::wasi::nn::{graph, tensor};

/// What wasi:nn answered instead of tensors.
#[derive(Debug)]
pub enum NnError {
    /// The host had no room for the work now; the same call may succeed later.
    Busy(String),
    /// The inputs are wrong; the text names which and why.
    InvalidInput(String),
    /// The host has no such model, or it failed.
    Failed(String),
}

impl From<Error> for NnError {
    fn from(error: Error) -> NnError {
        let text = error.data();
        match error.code() {
            // wasi:nn has no code for a full queue; a host that gives up waiting for a place in
            // one reports a timeout.
            ErrorCode::Timeout => NnError::Busy(text),
            ErrorCode::InvalidArgument | ErrorCode::TooLarge => NnError::InvalidInput(text),
            _ => NnError::Failed(text),
        }
    }
}

/// A tensor to hand to a model, row-major.
pub struct Tensor {
    dimensions: Vec<u32>,
    ty: tensor::TensorType,
    data: Vec<u8>,
}

impl Tensor {
    /// Token ids, masks and segments as exported models take them: int64, `[rows, columns]`.
    /// Rows shorter than the longest are filled up with `fill`.
    pub fn rows<'a>(rows: impl ExactSizeIterator<Item = &'a [u32]> + Clone, fill: i64) -> Tensor {
        let columns = rows.clone().map(<[u32]>::len).max().unwrap_or(0);
        let dimensions = vec![rows.len() as u32, columns as u32];
        let mut data = Vec::with_capacity(rows.len() * columns * 8);
        for row in rows {
            for &value in row {
                data.extend_from_slice(&i64::from(value).to_le_bytes());
            }
            for _ in row.len()..columns {
                data.extend_from_slice(&fill.to_le_bytes());
            }
        }
        Tensor { dimensions, ty: tensor::TensorType::I64, data }
    }

    /// The attention mask that goes with [`Tensor::rows`]: 1 for a token, 0 for filling.
    pub fn mask<'a>(rows: impl ExactSizeIterator<Item = &'a [u32]> + Clone) -> Tensor {
        let ones: Vec<Vec<u32>> = rows.map(|row| vec![1; row.len()]).collect();
        Tensor::rows(ones.iter().map(Vec::as_slice), 0)
    }
}

/// A model that the host knows by name.
pub struct Graph {
    graph: graph::Graph,
}

impl Graph {
    /// Asks the host for the model called `name`.
    pub fn load(name: &str) -> Result<Graph, NnError> {
        Ok(Graph { graph: graph::load_by_name(name)? })
    }

    /// Runs the model once.
    pub fn compute(&self, inputs: Vec<(&str, Tensor)>) -> Result<Outputs, NnError> {
        let context = self.graph.init_execution_context()?;
        let inputs = inputs
            .into_iter()
            .map(|(name, t)| (name.to_owned(), tensor::Tensor::new(&t.dimensions, t.ty, &t.data)))
            .collect();
        Ok(Outputs(context.compute(inputs)?))
    }
}

/// What a model returned.
pub struct Outputs(Vec<(String, tensor::Tensor)>);

impl Outputs {
    /// Whether there is an output of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// The output `name` as f32, with its dimensions.
    pub fn f32(&self, name: &str) -> Result<(Vec<u32>, Vec<f32>), NnError> {
        let Some((_, tensor)) = self.0.iter().find(|(n, _)| n == name) else {
            let names: Vec<&str> = self.0.iter().map(|(n, _)| n.as_str()).collect();
            return Err(NnError::Failed(format!("the model returned {names:?}, not `{name}`")));
        };
        if tensor.ty() != tensor::TensorType::Fp32 {
            return Err(NnError::Failed(format!("the model's `{name}` is not f32")));
        }
        let dimensions = tensor.dimensions();
        let data = tensor.data();
        let (values, rest) = data.as_chunks::<4>();
        let expected: u64 = dimensions.iter().map(|&d| u64::from(d)).product();
        if !rest.is_empty() || values.len() as u64 != expected {
            return Err(NnError::Failed(format!("the model's `{name}` does not fill its shape")));
        }
        Ok((dimensions, values.iter().map(|b| f32::from_le_bytes(*b)).collect()))
    }
}

impl From<NnError> for crate::bindings::trine::rag::types::Error {
    /// A guest makes its own tensors, so inputs that a model refuses are not the caller's fault.
    fn from(error: NnError) -> Self {
        match error {
            NnError::Busy(text) => Self::Busy(text),
            NnError::InvalidInput(text) | NnError::Failed(text) => Self::Inference(text),
        }
    }
}
