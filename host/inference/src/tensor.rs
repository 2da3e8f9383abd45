//! Tensors as callers give and take them.

/// A dense tensor, row-major. Nothing ties `dims` to the data's length until a graph checks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Size of each dimension.
    pub dims: Vec<usize>,
    /// The elements.
    pub data: TensorData,
}

/// A tensor's elements.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 32-bit whole numbers.
    I32(Vec<i32>),
    /// 64-bit whole numbers.
    I64(Vec<i64>),
}

impl Tensor {
    /// A tensor of floats.
    pub fn f32(dims: impl Into<Vec<usize>>, data: Vec<f32>) -> Tensor {
        Tensor { dims: dims.into(), data: TensorData::F32(data) }
    }

    /// A tensor of ids.
    pub fn i64(dims: impl Into<Vec<usize>>, data: Vec<i64>) -> Tensor {
        Tensor { dims: dims.into(), data: TensorData::I64(data) }
    }

    /// The floats; `None` of another type.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::F32(data) => Some(data),
            _ => None,
        }
    }
}

impl TensorData {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            TensorData::F32(data) => data.len(),
            TensorData::I32(data) => data.len(),
            TensorData::I64(data) => data.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
