//! A guest's tensor, and its typed twin on the host.

use trine_inference::{Tensor as Typed, TensorData};

use crate::bindings::models::wasi::nn::tensor::TensorType;

/// Bytes with a shape, as a guest gave them: nothing about them is checked yet.
pub struct Tensor {
    pub(crate) dimensions: Vec<u32>,
    pub(crate) ty: TensorType,
    pub(crate) data: Vec<u8>,
}

impl Tensor {
    /// What it costs to keep.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + self.dimensions.len() * size_of::<u32>()
    }

    /// Checked: a type that models take, and data that fills the shape exactly. The error names
    /// `input`.
    pub(crate) fn into_typed(self, input: &str) -> Result<Typed, String> {
        let width = match self.ty {
            TensorType::Fp32 | TensorType::I32 => 4,
            TensorType::I64 => 8,
            other => {
                return Err(format!("input `{input}` is {other:?}; models take I64, I32 and FP32"));
            }
        };
        let elements = self.dimensions.iter().try_fold(1usize, |n, &d| n.checked_mul(d as usize));
        if elements.and_then(|n| n.checked_mul(width)) != Some(self.data.len()) {
            return Err(format!(
                "input `{input}` has {} bytes, which is not what {:?} of {:?} takes",
                self.data.len(),
                self.dimensions,
                self.ty
            ));
        }
        let data = match self.ty {
            TensorType::I64 => TensorData::I64(
                self.data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            ),
            TensorType::I32 => TensorData::I32(
                self.data.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect(),
            ),
            _ => TensorData::F32(
                self.data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            ),
        };
        let dims = self.dimensions.iter().map(|&d| d as usize).collect();
        Ok(Typed { dims, data })
    }

    /// A model's output for a guest.
    pub(crate) fn from_typed(tensor: Typed) -> Tensor {
        let dimensions = tensor.dims.iter().map(|&d| d as u32).collect();
        let (ty, data) = match tensor.data {
            TensorData::F32(v) => {
                (TensorType::Fp32, v.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
            TensorData::I32(v) => {
                (TensorType::I32, v.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
            TensorData::I64(v) => {
                (TensorType::I64, v.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
        };
        Tensor { dimensions, ty, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dimensions: &[u32], ty: TensorType, bytes: usize) -> Tensor {
        Tensor { dimensions: dimensions.to_vec(), ty, data: vec![0; bytes] }
    }

    #[test]
    fn data_must_fill_the_shape() {
        assert!(tensor(&[2, 3], TensorType::I64, 48).into_typed("a").is_ok());
        assert!(tensor(&[], TensorType::Fp32, 4).into_typed("a").is_ok());
        for (dimensions, bytes) in
            [(&[2, 3][..], 47), (&[2, 3], 49), (&[0], 4), (&[u32::MAX; 9], 8)]
        {
            let error = tensor(dimensions, TensorType::I64, bytes).into_typed("input_ids");
            assert!(error.unwrap_err().contains("`input_ids`"));
        }
    }

    #[test]
    fn types_that_no_model_takes_are_refused_by_name() {
        let error = tensor(&[1], TensorType::U8, 1).into_typed("mask").unwrap_err();
        assert!(error.contains("`mask`") && error.contains("U8"), "{error}");
    }

    #[test]
    fn values_survive_the_crossing() {
        let typed = Typed { dims: vec![2], data: TensorData::F32(vec![1.5, -0.25]) };
        let Typed { dims, data } = Tensor::from_typed(typed).into_typed("x").unwrap();
        assert_eq!(dims, [2]);
        assert!(matches!(data, TensorData::F32(v) if v == [1.5, -0.25]));
    }
}
