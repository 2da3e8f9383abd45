//! How long something took, over many times.

use serde::Serialize;

use crate::bootstrap::quantile;

/// Milliseconds that the given share of times did not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them.
    pub p50: f64,
    /// Nine tenths.
    pub p90: f64,
    /// All but a hundredth.
    pub p99: f64,
}

impl Latency {
    /// The percentiles of some times in milliseconds; `None` of no times.
    pub fn of(times: impl IntoIterator<Item = f64>) -> Option<Latency> {
        let mut times: Vec<f64> = times.into_iter().collect();
        times.sort_unstable_by(f64::total_cmp);
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| quantile(&times, share));
        (!times.is_empty()).then_some(Latency { p50, p90, p99 })
    }
}
