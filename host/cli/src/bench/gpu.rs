//! `trine bench gpu`.

use anyhow::Result;
use trine_inference::{choose_adapter, measure};

use crate::args::Common;

pub fn run(common: &Common, json: bool, quick: bool) -> Result<()> {
    let index = choose_adapter(common.device)?;
    let report = measure::gpu(index, quick, &|what| eprintln!("{what}"))?;
    if json {
        out!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    out!("{}", report.device);
    out!("copy {:.1} GB/s read and written", report.copy_gb_per_s);
    out!(
        "\n{:<12} {:<5} {:<13} {:>9} {:>18}",
        "kernel",
        "dtype",
        "mode",
        "values",
        "error : tolerance"
    );
    for p in &report.parity {
        out!("{:<12} {:<5} {:<13} {:>9} {:>18.3}", p.kernel, p.dtype, p.mode, p.values, p.worst);
    }
    out!("\n{:<5} {:<13} {:>15} {:>11}", "dtype", "mode", "smallest cosine", "logit error");
    for m in &report.models {
        out!("{:<5} {:<13} {:>15.7} {:>11.2e}", m.dtype, m.mode, m.smallest_cosine, m.logit_error);
    }
    out!("\n{:>6} {:>6} {:>6} {:<5} {:<13} {:>8}", "m", "n", "k", "dtype", "mode", "TFLOP/s");
    for g in &report.gemm {
        out!("{:>6} {:>6} {:>6} {:<5} {:<13} {:>8.3}", g.m, g.n, g.k, g.dtype, g.mode, g.tflops);
    }
    out!(
        "\n{:>5} {:>6} {:<5} {:<13} {:>9} {:>9}",
        "pairs",
        "tokens",
        "dtype",
        "mode",
        "ms",
        "pairs/s"
    );
    for r in &report.rerank {
        out!(
            "{:>5} {:>6} {:<5} {:<13} {:>9.2} {:>9.1}",
            r.pairs,
            r.tokens,
            r.dtype,
            r.mode,
            r.ms,
            r.pairs_per_s
        );
    }
    for e in &report.embed {
        out!("embedding {} tokens, {}, {}: {:.2} ms", e.tokens, e.dtype, e.mode, e.ms);
    }
    Ok(())
}
