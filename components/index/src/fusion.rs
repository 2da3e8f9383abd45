//! One ranking from two: by meaning (cosine) and by words (BM25).
//!
//! Each candidate of either search needs both scores: cosines of what only the words found, and BM25
//! scores of what only the vectors found ([`crate::lexical::Query::scores`]).
//!
//! ```text
//! score     = cosine + WEIGHT * brevity * doubt * (1/2 + agreement) * BM25
//! brevity   = 1 + 2 / words²      a query of one or two words names what it wants
//! doubt     = 1 - best cosine     the surer the vectors are, the less the words count
//! agreement = (mean cosine of the 5 best by BM25 - mean) / (best cosine - mean), within 0 and 1
//! ```
//!
//! BM25 enters as it is, not divided by its greatest value as is usual: it adds up evidence, as log
//! odds do, so that where its best is poor it moves little. The sum is linear in both scores for one
//! query, a convex combination up to scale; the weight is the query's own.

/// How much BM25 counts beside a cosine. Between 0.08 and 0.14 little changes; see `examples/hybrid.rs`.
const WEIGHT: f32 = 0.12;

/// How many of BM25's best are asked whether the vectors agree.
const AGREEING: usize = 5;

/// The constant of reciprocal rank fusion in Cormack, Clarke and Büttcher (2009).
pub const RECIPROCAL_RANK_K: f32 = 60.0;

/// A passage that one of the searches found, with the scores of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The passage's number.
    pub passage: u32,
    /// Cosine of its vector and the query's, from -1 to 1.
    pub cosine: f32,
    /// Its BM25 score; 0 if it has none of the query's words.
    pub bm25: f32,
}

/// What must be known of a query to weigh its scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Different words of the query that the index knows, without those that only ask.
    pub words: usize,
}

/// The candidates' scores, in their order; the higher the better. They compare within one query only.
pub fn fuse(query: QueryStats, candidates: &[Candidate]) -> Vec<f32> {
    let weight = WEIGHT * brevity(query) * trust(candidates);
    candidates.iter().map(|candidate| candidate.cosine + weight * candidate.bm25).collect()
}

/// Reciprocal rank fusion: `1 / (k + rank)` by each score, added, ranks from 1. The scores of the
/// candidates come in their order; a BM25 score of 0 is no rank. Of equals the first ranks first.
pub fn reciprocal_ranks(candidates: &[Candidate], k: f32) -> Vec<f32> {
    let mut scores = vec![0.0; candidates.len()];
    for score in [|c: &Candidate| Some(c.cosine), |c: &Candidate| Some(c.bm25).filter(|&s| s > 0.0)]
    {
        for (rank, index) in ranking(candidates, score).into_iter().enumerate() {
            scores[index] += 1.0 / (k + rank as f32 + 1.0);
        }
    }
    scores
}

fn brevity(query: QueryStats) -> f32 {
    let words = query.words.max(1) as f32;
    1.0 + 2.0 / (words * words)
}

/// How far BM25 is to be trusted: more where the vectors doubt, and where they agree with it.
fn trust(candidates: &[Candidate]) -> f32 {
    let lexical = ranking(candidates, |c| Some(c.bm25).filter(|&score| score > 0.0));
    if lexical.is_empty() {
        return 0.0;
    }
    let leading = &lexical[..lexical.len().min(AGREEING)];
    let best = candidates.iter().map(|c| c.cosine).fold(-1.0, f32::max);
    let mean = mean(candidates.iter().map(|c| c.cosine));
    let above = self::mean(leading.iter().map(|&index| candidates[index].cosine)) - mean;
    let agreement = if best > mean { (above / (best - mean)).clamp(0.0, 1.0) } else { 0.0 };
    (1.0 - best).max(0.0) * (0.5 + agreement)
}

/// The mean; of nothing not a number.
fn mean(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let count = values.len() as f32;
    values.sum::<f32>() / count
}

/// The places of the candidates that have this score, the best first; of equals the first.
fn ranking(candidates: &[Candidate], score: impl Fn(&Candidate) -> Option<f32>) -> Vec<usize> {
    let scored = candidates.iter().enumerate();
    let mut ranking: Vec<(usize, f32)> =
        scored.filter_map(|(index, candidate)| Some((index, score(candidate)?))).collect();
    ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranking.into_iter().map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(scores: &[(f32, f32)]) -> Vec<Candidate> {
        let candidate = |(passage, &(cosine, bm25))| Candidate { passage, cosine, bm25 };
        (0..).zip(scores).map(candidate).collect()
    }

    const FOUR_WORDS: QueryStats = QueryStats { words: 4 };

    #[test]
    fn without_words_the_cosines_stand() {
        let scores = fuse(FOUR_WORDS, &candidates(&[(0.5, 0.0), (0.25, 0.0), (-0.5, 0.0)]));
        assert_eq!(scores, [0.5, 0.25, -0.5]);
        assert_eq!(fuse(FOUR_WORDS, &[]), [0.0; 0]);
        assert_eq!(reciprocal_ranks(&[], RECIPROCAL_RANK_K), [0.0; 0]);
    }

    #[test]
    fn the_weight_is_the_formula_s() {
        // Best cosine 0.6, mean 0.3; the one match has 0.5: agreement 2/3, doubt 0.4, brevity 9/8.
        let scores = fuse(FOUR_WORDS, &candidates(&[(0.6, 0.0), (0.5, 8.0), (-0.2, 0.0)]));
        let weight = WEIGHT * 1.125 * 0.4 * (0.5 + 2.0 / 3.0);
        assert!((scores[1] - (0.5 + weight * 8.0)).abs() < 1e-6, "{scores:?}");
        assert_eq!([scores[0], scores[2]], [0.6, -0.2]);
    }

    #[test]
    fn a_match_that_the_vectors_know_counts_more_than_one_they_do_not() {
        let added = |matching: usize| {
            let mut scores = [(0.5, 0.0), (0.4, 0.0), (0.0, 0.0), (-0.1, 0.0)];
            scores[matching].1 = 6.0;
            fuse(FOUR_WORDS, &candidates(&scores))[matching] - scores[matching].0
        };
        assert!(added(1) > 1.5 * added(3));
    }

    #[test]
    fn a_single_word_counts_more_than_one_of_many_and_sure_vectors_need_none() {
        let scores = candidates(&[(0.5, 0.0), (0.1, 6.0)]);
        assert!(fuse(QueryStats { words: 1 }, &scores)[1] > fuse(FOUR_WORDS, &scores)[1]);
        let sure = fuse(FOUR_WORDS, &candidates(&[(1.0, 0.0), (0.25, 9.0)]));
        assert_eq!(sure, [1.0, 0.25]);
    }

    #[test]
    fn reciprocal_ranks_add_up_and_no_words_are_no_rank() {
        let scores = reciprocal_ranks(&candidates(&[(0.9, 0.0), (0.8, 2.0), (0.1, 7.0)]), 60.0);
        assert_eq!(scores, [1.0 / 61.0, 1.0 / 62.0 + 1.0 / 62.0, 1.0 / 63.0 + 1.0 / 61.0]);
    }

    #[test]
    fn odd_scores_panic_nowhere() {
        for odd in [f32::NAN, f32::INFINITY, -2.0] {
            let scores = candidates(&[(odd, odd), (0.5, 1.0)]);
            assert_eq!(fuse(FOUR_WORDS, &scores).len(), 2);
            assert_eq!(reciprocal_ranks(&scores, RECIPROCAL_RANK_K).len(), 2);
        }
    }
}
