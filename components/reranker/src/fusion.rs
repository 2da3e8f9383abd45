//! The reranker's scores and the first stage's, made one.
//!
//! A small reranker can demote a good first list; both together are better than either. Each list
//! of scores is standardised over the candidates (to mean 0 and standard deviation 1), and the two are
//! summed, weighted (Lee 1997's CombSUM); a list that hardly tells the candidates apart weighs less than
//! usual. Passages that are alike then lend each other some of their scores: those that answer one
//! question tend to be near each other, so that one whose neighbours score well is more likely to be
//! relevant than its own words say (score regularisation, Diaz 2005).

/// Passages that lend a passage their scores.
const NEIGHBOURS: usize = 8;
/// By how much more or less than usual a list may count.
const MOST: f32 = 2.0;
/// Scores are standardised by those of so many candidates, the first stage's best: the more there were that
/// have nothing to do with the query, the further the best would stand out.
const COUNTED: usize = 50;

/// The fused score of each candidate; `weight`, 0 to 1, is the reranker's. Where `spread` says what the
/// deviation of its scores is to the first stage's in general, a list that tells these candidates apart
/// better than usual counts more.
pub fn fuse(retrieval: &[f32], reranked: &[f32], weight: f32, spread: Option<f32>) -> Vec<f32> {
    let mut counted: Vec<usize> = (0..retrieval.len()).collect();
    counted.sort_by(|&a, &b| retrieval[b].total_cmp(&retrieval[a]));
    counted.truncate(COUNTED);
    let (first, deviation) = standardised(retrieval, &counted);
    let (second, other) = standardised(reranked, &counted);
    let clearer = match spread {
        Some(usual) if deviation > 0.0 => other / deviation / usual,
        _ => 1.0,
    };
    let odds = weight * clearer.clamp(MOST.recip(), MOST);
    let weight = odds / (odds + 1.0 - weight);
    first.zip(second).map(|(a, b)| (1.0 - weight) * a + weight * b).collect()
}

/// The scores moved and scaled so that those that are counted have mean 0 and deviation 1, and the
/// deviation they had; zeros where these are equal: such a list says nothing.
fn standardised(scores: &[f32], counted: &[usize]) -> (impl Iterator<Item = f32>, f32) {
    let count = counted.len().max(1) as f32;
    let mean = counted.iter().map(|&at| scores[at]).sum::<f32>() / count;
    let variance = counted.iter().map(|&at| (scores[at] - mean).powi(2)).sum::<f32>() / count;
    let deviation = variance.sqrt();
    let scale = if deviation > f32::EPSILON * mean.abs() { deviation.recip() } else { 0.0 };
    (scores.iter().map(move |score| (score - mean) * scale), deviation)
}

/// The scores of `n` passages, `share` of each replaced by those of the passages that are most alike,
/// weighted by the square of their cosines. `vectors` are `[n, width]`.
pub fn smooth(scores: &[f32], vectors: &[f32], share: f32) -> Vec<f32> {
    let Some(rows) = unit_rows(vectors, scores.len()) else {
        return scores.to_vec();
    };
    let lent = |at: usize| {
        let mut near: Vec<(f32, f32)> = rows
            .iter()
            .zip(scores)
            .enumerate()
            .filter(|&(number, _)| number != at)
            .map(|(_, (other, &score))| (dot(&rows[at], other).max(0.0), score))
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.truncate(NEIGHBOURS);
        let weights: f32 = near.iter().map(|(cosine, _)| cosine * cosine).sum();
        let sum: f32 = near.iter().map(|(cosine, score)| cosine * cosine * score).sum();
        // A passage that is like no other keeps its own score.
        if weights > f32::EPSILON { sum / weights } else { scores[at] }
    };
    (0..scores.len()).map(|at| (1.0 - share) * scores[at] + share * lent(at)).collect()
}

/// The rows of `[n, width]`, each of length 1; none where nothing is known of the passages. Zeros stay
/// zeros: nothing is like them.
fn unit_rows(vectors: &[f32], n: usize) -> Option<Vec<Vec<f32>>> {
    let width = vectors.len().checked_div(n).filter(|&width| width > 0)?;
    let unit = |row: &[f32]| {
        let length = dot(row, row).sqrt();
        let scale = if length > 0.0 { length.recip() } else { 0.0 };
        row.iter().map(|value| value * scale).collect()
    };
    Some(vectors.chunks_exact(width).map(unit).collect())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Golden;

    #[test]
    fn scales_do_not_matter_and_weights_do() {
        let (first, second) = ([3.0, 2.0, 1.0], [100.0, 300.0, 200.0]);
        let fused = fuse(&first, &second, 0.5, None);
        assert!((fused[0]).abs() < 1e-6 && fused[1] > fused[0] && fused[0] > fused[2]);
        let moved = fuse(&first.map(|s| s * 7.0 - 2.0), &second.map(|s| s / 9.0), 0.5, None);
        assert!(fused.iter().zip(moved).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(fuse(&first, &second, 0.0, None)[0] > fuse(&first, &second, 0.0, None)[1]);
    }

    #[test]
    fn a_list_that_says_nothing_changes_nothing() {
        let fused = fuse(&[0.3, 0.3, 0.3], &[1.0, 3.0, 2.0], 0.4, None);
        assert!(fused[1] > fused[2] && fused[2] > fused[0]);
        assert_eq!(fuse(&[0.3], &[7.0], 0.4, Some(1.0)), [0.0]);
        assert!(fuse(&[], &[], 0.4, Some(1.0)).is_empty());
    }

    #[test]
    fn what_is_far_down_does_not_lift_the_best() {
        let [mut first, mut second]: [Vec<f32>; 2] =
            [7, 11].map(|step| (0..COUNTED).map(|at| (100 - at * step % 53) as f32).collect());
        let fused = fuse(&first, &second, 0.4, Some(1.0));
        first.extend([1.0, -3.0]);
        second.extend([-50.0, 500.0]);
        assert_eq!(fuse(&first, &second, 0.4, Some(1.0))[..COUNTED], fused);
    }

    #[test]
    fn the_clearer_list_counts_more() {
        // They contradict each other; the one that tells the two apart as usual decides nothing.
        let first = [0.2, 0.0];
        let fused = |second: [f32; 2]| fuse(&first, &second, 0.5, Some(0.5));
        assert_eq!(fused([0.0, 0.1]), [0.0, 0.0]);
        assert!(fused([0.0, 0.15])[1] > 0.0 && fused([0.0, 0.05])[0] > 0.0);
        // At most twice as much, and at least half.
        assert!((fused([0.0, 9.0])[1] - 1.0 / 3.0).abs() < 1e-6);
        assert!((fused([0.0, 0.001])[0] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn neighbours_lend_their_scores() {
        // The first two are alike, the third is like neither.
        let vectors = [2.0, 0.0, 0.6, 0.8, 0.0, -1.0];
        let smoothed = smooth(&[4.0, 0.0, 1.0], &vectors, 0.25);
        assert_eq!(smoothed, [3.0, 1.0, 1.0]);
        assert_eq!(smooth(&[4.0, 0.0], &[0.0; 4], 0.25), [4.0, 0.0], "like nothing");
        assert_eq!(smooth(&[4.0, 0.0, 1.0], &vectors, 0.0), [4.0, 0.0, 1.0]);
        assert_eq!(smooth(&[4.0, 2.0], &[], 0.5), [4.0, 2.0], "nothing is known of them");
        assert_eq!(smooth(&[4.0], &[1.0, 0.0], 0.5), [4.0]);
        assert!(smooth(&[], &[], 0.5).is_empty());
    }

    #[test]
    fn only_the_nearest_lend() {
        const ALIKE: usize = NEIGHBOURS + 1;
        let near = [[1.0_f32, 0.0]; ALIKE].concat();
        let vectors = [near, vec![0.6, 0.8]].concat();
        let mut scores = [0.0; ALIKE + 1];
        scores[ALIKE] = 9.0;
        assert_eq!(smooth(&scores, &vectors, 0.5)[..ALIKE], [0.0; ALIKE]);
    }

    #[test]
    fn the_rule_is_that_of_the_training() {
        let golden = Golden::read();
        assert_eq!(golden.number("lenders"), NEIGHBOURS as f32);
        let (first, second) = (golden.list("retrieval"), golden.list("reranked"));
        let fused = fuse(&first, &second, golden.number("weight"), Some(golden.number("spread")));
        let ours = smooth(&fused, &golden.list("vectors"), golden.number("share"));
        let expected = golden.list("ranked");
        assert_eq!(ours.len(), expected.len());
        let apart = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{ours:?} is not {expected:?}");
    }
}
