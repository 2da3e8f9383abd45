//! How fast each pair of a head's columns turns (Su et al. 2021), and how that is stretched for longer
//! texts than a model was trained on.

use std::f64::consts::TAU;

use crate::ModelError;

/// The angles of rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Of each pair of columns, radians a position.
    pub frequencies: Vec<f32>,
    /// What cosines and sines are multiplied by.
    pub scale: f32,
}

/// How frequencies are stretched, by the names of transformers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scaling {
    /// As they are.
    Default,
    /// All by the same factor (Chen et al. 2023).
    Linear { factor: f64 },
    /// The slow ones by the factor, the fast ones not, smoothly between (Llama 3.1).
    Llama3 { factor: f64, low: f64, high: f64, original: f64 },
    /// The same by numbers of turns over the original length, with a scale (Peng et al. 2023).
    Yarn { factor: f64, original: f64, fast: f64, slow: f64, scale: Option<f64>, whole: bool },
}

impl Rope {
    /// For heads of `width` columns, of which the first pair turns a radian a position and the last
    /// about `1 / theta`.
    pub(crate) fn new(width: usize, theta: f64, scaling: Scaling) -> Result<Rope, ModelError> {
        let sound = |x: f64| x.is_finite() && x > 0.0;
        let numbers = match scaling {
            Scaling::Default => vec![],
            Scaling::Linear { factor } => vec![factor],
            Scaling::Llama3 { factor, low, high, original } => {
                vec![factor, low, high, original, high - low]
            }
            Scaling::Yarn { factor, original, fast, slow, scale, .. } => {
                vec![factor, original, fast, slow, scale.unwrap_or(1.0)]
            }
        };
        if !sound(theta) || theta <= 1.0 || !numbers.into_iter().all(sound) {
            let reason = format!("has theta {theta} and {scaling:?}");
            return Err(ModelError::Config { field: "rope_parameters", reason });
        }
        let frequency = |pair: usize| theta.powf(-2.0 * pair as f64 / width as f64);
        let frequencies = (0..width / 2).map(|pair| match scaling {
            Scaling::Default => frequency(pair),
            Scaling::Linear { factor } => frequency(pair) / factor,
            Scaling::Llama3 { factor, low, high, original } => {
                let turns = original * frequency(pair) / TAU;
                let fast = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                frequency(pair) * (fast + (1.0 - fast) / factor)
            }
            Scaling::Yarn { factor, original, fast, slow, whole, .. } => {
                // The pair that turns so often over the original length.
                let pair_of = |turns: f64| {
                    width as f64 * (original / (turns * TAU)).ln() / (2.0 * theta.ln())
                };
                let (mut first, mut last) = (pair_of(fast), pair_of(slow));
                if whole {
                    (first, last) = (first.floor(), last.ceil());
                }
                let (first, last) = (first.max(0.0), last.min(width as f64 - 1.0));
                let span = if first == last { 1e-3 } else { last - first };
                let stretched = ((pair as f64 - first) / span).clamp(0.0, 1.0);
                frequency(pair) * (1.0 - stretched + stretched / factor)
            }
        });
        let frequencies = frequencies.map(|f| f as f32).collect();
        let scale = match scaling {
            Scaling::Yarn { scale: Some(scale), .. } => scale,
            Scaling::Yarn { factor, .. } if factor > 1.0 => 0.1 * factor.ln() + 1.0,
            _ => 1.0,
        };
        Ok(Rope { frequencies, scale: scale as f32 })
    }

    /// Cosines, then sines, of each position: `[positions, 2 pairs]`.
    pub(crate) fn angles(&self, positions: impl Iterator<Item = u32>) -> Vec<f32> {
        let mut angles = Vec::new();
        for position in positions {
            // The product is an f32, as models were trained with.
            let turns = || self.frequencies.iter().map(|f| f64::from(position as f32 * f));
            angles.extend(turns().map(|turn| (turn.cos() as f32) * self.scale));
            angles.extend(turns().map(|turn| (turn.sin() as f32) * self.scale));
        }
        angles
    }
}
