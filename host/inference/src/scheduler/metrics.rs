//! What a device's line has been doing, for operators (the names follow Prometheus' conventions).

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// Computed.
    Done,
    /// Turned away, as the line was full.
    Refused,
    /// Given up by its caller.
    Withdrawn,
    /// Not to be done by its deadline.
    Late,
    /// Failed on the device.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Outcome,
}

/// Counters of one device.
#[derive(Debug)]
pub(crate) struct Metrics {
    lined_up: Gauge,
    calls: Family<Labels, Counter>,
    wait: Histogram,
    compute: Histogram,
    batch: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        // 0.1 ms to 13 s, and 16 to 65,536 tokens: doubled each time, fourfold for tokens.
        let seconds = || Histogram::new(exponential_buckets(1e-4, 2.0, 18));
        Metrics {
            lined_up: Gauge::default(),
            calls: Family::default(),
            wait: seconds(),
            compute: seconds(),
            batch: Histogram::new(exponential_buckets(16.0, 4.0, 7)),
        }
    }

    /// Names them in `registry`, which may add the device's name to all of them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let calls = "Calls to models, by what became of them";
        registry.register("queue_depth", "Calls waiting or under way", self.lined_up.clone());
        registry.register("calls", calls, self.calls.clone());
        let wait = "Seconds from a call's arrival to its first batch";
        registry.register("call_wait_seconds", wait, self.wait.clone());
        let compute = "Seconds that a batch took on the device";
        registry.register("batch_compute_seconds", compute, self.compute.clone());
        registry.register("batch_tokens", "Tokens of a batch", self.batch.clone());
    }

    pub(super) fn lined_up(&self, change: i64) {
        self.lined_up.inc_by(change);
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.calls.get_or_create(&Labels { outcome }).inc();
    }

    pub(super) fn waited(&self, wait: Duration) {
        self.wait.observe(wait.as_secs_f64());
    }

    pub(super) fn computed(&self, tokens: usize, taken: Duration) {
        self.compute.observe(taken.as_secs_f64());
        self.batch.observe(tokens as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_what_happened() {
        let metrics = Metrics::new();
        metrics.lined_up(3);
        metrics.lined_up(-1);
        metrics.count(Outcome::Done);
        metrics.count(Outcome::Late);
        metrics.waited(Duration::from_millis(3));
        metrics.computed(700, Duration::from_millis(40));
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "queue_depth 2",
            "calls_total{outcome=\"Done\"} 1",
            "calls_total{outcome=\"Late\"} 1",
            "call_wait_seconds_count 1",
            "batch_compute_seconds_bucket{le=\"0.0512\"} 1",
            "batch_tokens_bucket{le=\"256.0\"} 0",
            "batch_tokens_bucket{le=\"1024.0\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
