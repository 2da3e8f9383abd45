//! Unit vectors and their distance.

use serde::{Deserialize, Serialize};

use crate::dot;

/// An embedding of length one.
///
/// Its distance is one minus the cosine, so a hit's score is one minus its distance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vector(Box<[f32]>);

impl Vector {
    /// Scales `values` to length one; a vector of zeros stays what it is.
    pub fn normalized(mut values: Vec<f32>) -> Vector {
        let length = values.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 0.0 {
            values.iter_mut().for_each(|x| *x /= length);
        }
        Vector(values.into_boxed_slice())
    }

    /// Number of dimensions.
    pub fn dimensions(&self) -> usize {
        self.0.len()
    }

    /// The components.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Cosine similarity of two unit vectors, -1 to 1.
    pub fn cosine(&self, other: &Vector) -> f32 {
        dot::floats(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_agrees_with_a_plain_sum_at_every_remainder() {
        for n in [1, 3, 15, 16, 17, 31, 384, 385] {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37 + 1.0).sin()).collect();
            let b: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let expected = plain / (norm(&a) * norm(&b));
            let got = Vector::normalized(a).cosine(&Vector::normalized(b));
            assert!((f64::from(got) - expected).abs() < 1e-6, "{n}: {got} {expected}");
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let zero = Vector::normalized(vec![0.0; 8]);
        assert_eq!(zero.as_slice(), [0.0; 8]);
        assert_eq!(zero.cosine(&zero), 0.0);
    }
}
