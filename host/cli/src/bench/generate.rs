//! `trine bench generate`.

use anyhow::{Context, Result};
use trine_inference::measure::{GenerateOptions, generate};

use crate::args::{BenchGenerate, Common};

pub fn run(args: &BenchGenerate, common: &Common) -> Result<()> {
    let name = common.language_model().context("name a language model with --model")?;
    let model = common.store()?.decoder(name)?;
    let options = GenerateOptions {
        device: common.device,
        gpu: common.gpu()?,
        threads: common.threads(),
        precision: common.precision,
        prompt: args.prompt as usize,
        generate: args.generate as usize,
        sessions: args.sessions.into(),
        rounds: args.rounds.into(),
    };
    let report = generate(&model, options)?;
    if args.json {
        out!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    out!("{}: {}, {}", report.device, model.config().architecture, model.weights());
    out!(
        "prompt of {}: {:.1} tokens/s, {:.3} s; again: {:.3} s",
        report.prompt_tokens,
        report.prompt_tokens_per_second,
        report.prompt_seconds,
        report.repeated_prompt_seconds
    );
    out!(
        "{} written after {}: {:.1} tokens/s; {} side by side: {:.1} tokens/s",
        report.generated_tokens,
        report.generated_after,
        report.generated_tokens_per_second,
        report.sessions,
        report.sessions_tokens_per_second
    );
    Ok(())
}
