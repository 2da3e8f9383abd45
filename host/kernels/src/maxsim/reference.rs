//! The naive late interaction, in f64.

use crate::Sequences;

/// One score a pair of sequence numbers; `x` is `[tokens, width]`.
pub fn maxsim(x: &[f32], width: usize, sequences: &Sequences, pairs: &[(u32, u32)]) -> Vec<f64> {
    let row = |at: usize| &x[at * width..][..width];
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let cosine = |a: &[f32], b: &[f32]| {
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
    };
    let range = |index: u32| {
        let starts = sequences.starts();
        starts[index as usize] as usize..starts[index as usize + 1] as usize
    };
    let score = |&(query, passage): &(u32, u32)| {
        let (query, passage) = (range(query), range(passage));
        if query.is_empty() || passage.is_empty() {
            return 0.0;
        }
        let best = |q: usize| {
            passage.clone().map(|p| cosine(row(q), row(p))).fold(f64::NEG_INFINITY, f64::max)
        };
        query.clone().map(best).sum::<f64>() / query.len() as f64
    };
    pairs.iter().map(score).collect()
}
