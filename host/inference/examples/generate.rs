//! Tokens a second of a decoder, as JSON:
//! `cargo run --release -p trine-inference --example generate -- MODEL [PROMPT [GENERATE [SESSIONS]]]`.
//! MODEL is a GGUF file or a Hugging Face folder.

use trine_inference::measure::{GenerateOptions, generate};
use trine_inference::{DecoderModel, DeviceChoice, PrecisionOption};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("usage: generate MODEL [PROMPT [GENERATE [SESSIONS]]]")?;
    let number = |at: usize, default: usize| {
        arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let options = GenerateOptions {
        device: DeviceChoice::Cpu,
        gpu: trine_inference::gpu::GpuOptions::default(),
        threads: 0,
        precision: PrecisionOption::Auto,
        prompt: number(1, 2048)?,
        generate: number(2, 64)?,
        sessions: number(3, 8)?,
        rounds: 3,
    };
    let report = generate(&DecoderModel::open(path)?, options)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
