//! The reranker's scores and the first stage's, made one.
//!
//! A small reranker can demote a good first list; both together are better than either. Each list
//! of scores is standardised over the candidates (to mean 0 and standard deviation 1), and the two are
//! summed with a fixed weight (Lee 1997's CombSUM, weighted).

/// The fused score of each candidate; `weight`, 0 to 1, is the reranker's.
pub fn fuse(retrieval: &[f32], reranked: &[f32], weight: f32) -> Vec<f32> {
    let (first, second) = (standardised(retrieval), standardised(reranked));
    first.zip(second).map(|(a, b)| (1.0 - weight) * a + weight * b).collect()
}

/// Zeros where all are equal: such a list says nothing.
fn standardised(scores: &[f32]) -> impl Iterator<Item = f32> {
    let count = scores.len().max(1) as f32;
    let mean = scores.iter().sum::<f32>() / count;
    let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / count;
    let deviation = variance.sqrt();
    let scale = if deviation > f32::EPSILON * mean.abs() { deviation.recip() } else { 0.0 };
    scores.iter().map(move |score| (score - mean) * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_do_not_matter_and_weights_do() {
        let (first, second) = ([3.0, 2.0, 1.0], [100.0, 300.0, 200.0]);
        let fused = fuse(&first, &second, 0.5);
        assert!((fused[0]).abs() < 1e-6 && fused[1] > fused[0] && fused[0] > fused[2]);
        let moved = fuse(&first.map(|s| s * 7.0 - 2.0), &second.map(|s| s / 9.0), 0.5);
        assert!(fused.iter().zip(moved).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(fuse(&first, &second, 0.0)[0] > fuse(&first, &second, 0.0)[1]);
    }

    #[test]
    fn a_list_that_says_nothing_changes_nothing() {
        let fused = fuse(&[0.3, 0.3, 0.3], &[1.0, 3.0, 2.0], 0.4);
        assert!(fused[1] > fused[2] && fused[2] > fused[0]);
        assert_eq!(fuse(&[0.3], &[7.0], 0.4), [0.0]);
        assert!(fuse(&[], &[], 0.4).is_empty());
    }
}
