//! Figures on a terminal.

use serde_json::Value;
use trine_eval::{Comparison, Measure, Row};

/// One report, a line a field.
pub fn one(report: &Value) {
    for (name, value) in report.as_object().into_iter().flatten() {
        out!("{name:<22} {}", text(value));
    }
}

/// A value on one line; of an object its fields.
fn text(value: &Value) -> String {
    let field = |(name, value): (&String, &Value)| match value.is_object() {
        true => format!("{name} ({})", text(value)),
        false => format!("{name} {}", text(value)),
    };
    match (value.as_object(), value.as_f64()) {
        (Some(fields), _) => fields.iter().map(field).collect::<Vec<_>>().join(", "),
        (None, Some(number)) if !value.is_u64() => format!("{number:.4}"),
        _ => value.to_string(),
    }
}

/// A line for each ranking.
pub fn table(reports: &[Value]) {
    const METRICS: [&str; 6] = ["ndcg@10", "mrr@10", "hit@5", "recall@10", "recall@100", "seconds"];
    let heads: Vec<String> = METRICS.iter().map(|name| format!("{name:>11}")).collect();
    out!("{:<9} {:<8}{}", "stage", "mode", heads.concat());
    for report in reports {
        let number = |name: &&str| format!("{:>11.4}", report[*name].as_f64().unwrap_or_default());
        let numbers: Vec<String> = METRICS.iter().map(number).collect();
        let name = |field: &str| report[field].as_str().unwrap_or_default();
        out!("{:<9} {:<8}{}", name("stage"), name("mode"), numbers.concat());
    }
}

/// A line for each system and depth.
pub fn ablation(comparison: &Comparison) {
    out!(
        "{} queries; intervals and p by paired bootstrap, against {} at the same top_k",
        comparison.queries.len(),
        comparison.baseline
    );
    out!(
        "{:<9}{:>6}  {:<24}{:>9}{:>8}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}",
        "ranking",
        "top_k",
        "ndcg@10 (95 %)",
        "differs",
        "p",
        "mrr@10",
        "p@1",
        "recall@k",
        "p50 ms",
        "p90 ms",
        "p99 ms"
    );
    for Row { system, top_k, ndcg_at_10, mrr_at_10, p_at_1, recall_at_k, latency_ms, .. } in
        &comparison.rows
    {
        let Measure { mean, interval, versus_baseline, .. } = ndcg_at_10;
        let ndcg = format!("{mean:.4} ({:.4}-{:.4})", interval.low, interval.high);
        let (differs, p) = match versus_baseline {
            Some(versus) => (format!("{:+.4}", versus.difference), format!("{:.4}", versus.p)),
            None => (String::new(), String::new()),
        };
        let ms = latency_ms.get("total").map_or([f64::NAN; 3], |l| [l.p50, l.p90, l.p99]);
        out!(
            "{system:<9}{top_k:>6}  {ndcg:<24}{differs:>9}{p:>8}{:>9.4}{:>9.4}{:>10.4}{:>9.1}{:>9.1}{:>9.1}",
            mrr_at_10.mean,
            p_at_1.mean,
            recall_at_k.mean,
            ms[0],
            ms[1],
            ms[2]
        );
    }
}
