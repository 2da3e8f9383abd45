//! The paired bootstrap over queries (Efron and Tibshirani 1993; Sakai 2006 for rankings).
//!
//! Queries are drawn anew, with replacement, as many as there are; every column of values is
//! averaged over the same draw, so that the difference of two columns is that of pairs. Draws come
//! from a fixed seed: the same values give the same figures.

use serde::Serialize;

/// Draws of all queries.
pub const RESAMPLES: usize = 10_000;
const SEED: u64 = 20_261_121;

/// The bounds between which the middle 95 % of the draws lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower.
    pub low: f64,
    /// The upper.
    pub high: f64,
}

/// How two columns' means differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The first's less the second's.
    pub difference: f64,
    /// Its interval.
    #[serde(flatten)]
    pub interval: Interval,
    /// Twice the share of draws on the other side of no difference, two-sided: below .05 where
    /// the interval leaves 0 out.
    pub p: f64,
}

/// Means of some columns over all draws.
pub struct Resamples {
    means: Vec<f64>,
    /// A vector of draws for each column.
    draws: Vec<Vec<f64>>,
}

impl Resamples {
    /// Draws from columns, which have a value for each query in the same order. A column that is
    /// shorter than the first counts 0 from its end on.
    pub fn of(columns: &[Vec<f64>]) -> Resamples {
        let queries = columns.first().map_or(0, Vec::len);
        let width = columns.len();
        // A query's values side by side: a draw reads whole rows.
        let value =
            |query: usize, column: usize| columns[column].get(query).copied().unwrap_or(0.0);
        let rows: Vec<f64> = (0..queries)
            .flat_map(|q| (0..width).map(move |c| (q, c)))
            .map(|(q, c)| value(q, c))
            .collect();
        let count = queries.max(1) as f64;
        let mut random = SplitMix(SEED);
        let mut draws = vec![Vec::with_capacity(RESAMPLES); width];
        let mut sums = vec![0.0; width];
        for _ in 0..RESAMPLES {
            sums.fill(0.0);
            for _ in 0..queries {
                let at = random.below(queries) * width;
                sums.iter_mut().zip(&rows[at..at + width]).for_each(|(sum, value)| *sum += value);
            }
            draws.iter_mut().zip(&sums).for_each(|(column, sum)| column.push(sum / count));
        }
        let mean = |column: &Vec<f64>| column.iter().take(queries).sum::<f64>() / count;
        Resamples { means: columns.iter().map(mean).collect(), draws }
    }

    /// A column's mean over the queries themselves.
    pub fn mean(&self, column: usize) -> f64 {
        self.means[column]
    }

    /// Its interval.
    pub fn interval(&self, column: usize) -> Interval {
        interval(self.draws[column].clone())
    }

    /// How the means of two columns differ.
    pub fn difference(&self, of: usize, from: usize) -> Difference {
        let pairs = self.draws[of].iter().zip(&self.draws[from]);
        let differences: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        let share = |side: fn(f64) -> bool| {
            let count = differences.iter().filter(|d| side(**d)).count();
            (count + 1) as f64 / (RESAMPLES + 1) as f64
        };
        // Sums of other orders than the columns' own: what differs by rounding alone does not.
        let p = 2.0 * share(|d| d <= 1e-12).min(share(|d| d >= -1e-12));
        Difference {
            difference: self.means[of] - self.means[from],
            p: p.min(1.0),
            interval: interval(differences),
        }
    }
}

fn interval(mut draws: Vec<f64>) -> Interval {
    draws.sort_unstable_by(f64::total_cmp);
    Interval { low: quantile(&draws, 0.025), high: quantile(&draws, 0.975) }
}

/// The least of sorted values that a share of them does not exceed; 0 of none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    /// A number below `bound`, each as likely as the next to within 2^-40 for any number of queries.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * bound as u128) >> 64) as usize
    }
}
