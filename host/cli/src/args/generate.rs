//! Flags of `trine generate` and `trine bench generate`.

use clap::Args as ClapArgs;
use trine_inference::Sampling;

/// Names the model with `--model`. Exit status 0 at an end, 130 where Ctrl-C ended it.
#[derive(Debug, ClapArgs)]
pub struct Generate {
    /// What to answer, or to write on from with --raw [default: standard input].
    #[arg(value_name = "PROMPT")]
    pub prompt: Option<String>,
    /// Gives the model the prompt as it is, without its chat template.
    #[arg(long, conflicts_with = "system")]
    pub raw: bool,
    /// What the model is told before the prompt.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Prints one JSON object at the end instead of text as it comes.
    #[arg(long)]
    pub json: bool,
}

/// How tokens are chosen, and when an answer ends.
#[derive(Debug, ClapArgs)]
pub struct SamplingArgs {
    /// Tokens of the answer at most [default: 512, or what the model's context leaves].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub max_tokens: Option<u32>,
    /// What logits are divided by; 0 takes the likeliest token always.
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    pub temperature: f32,
    /// Chooses among so many of the likeliest tokens only; 0 among all.
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub top_k: u32,
    /// Chooses among the likeliest tokens that make up this share.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub top_p: f32,
    /// Leaves out tokens less likely than this part of the likeliest.
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    pub min_p: f32,
    /// What the logits of tokens that are there already are divided by; 1 for none.
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    pub repetition_penalty: f32,
    /// The same seed chooses the same tokens.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Ends the answer before this text. May be repeated.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl SamplingArgs {
    /// How tokens are chosen.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k as usize,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            ..Sampling::default()
        }
    }
}

/// Times a language model: reading a prompt, writing one text, writing several side by side. Tokens
/// are random.
#[derive(Debug, ClapArgs)]
pub struct BenchGenerate {
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 2048, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub prompt: u32,
    /// Tokens written.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub generate: u32,
    /// Texts written side by side.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub sessions: u16,
    /// How often each is timed; the median counts.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}
