//! Flags of `trine serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use trine_runtime::CacheOptions;

#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// The bundle; or several, each but one under a name of its own: POST /v1/NAME/answer.
    #[arg(required = true, value_name = "[NAME=]FILE.trine", value_parser = named_bundle)]
    pub bundles: Vec<(Option<String>, PathBuf)>,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", env = "TRINE_LISTEN", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Another address, for Prometheus: GET /metrics [default: none].
    #[arg(long, env = "TRINE_METRICS", value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// MiB of answers that are kept, to be given again until the bundle changes; 0 keeps none.
    #[arg(long, default_value_t = 16, value_name = "MIB", value_parser = clap::value_parser!(u64).range(0..=65_536))]
    pub answer_cache: u64,
    /// Seconds that an answer is given again.
    #[arg(long, default_value_t = 600, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub answer_ttl: u64,
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl Serve {
    /// Bounds on kept answers.
    pub fn answers(&self) -> Option<CacheOptions> {
        let time_to_live = Duration::from_secs(self.answer_ttl);
        let bytes = (self.answer_cache as usize) << 20;
        (bytes > 0).then_some(CacheOptions { time_to_live, bytes })
    }
}

/// A file, or a name and a file. A file whose own name has a `=` is written with its folder: `./a=b`.
fn named_bundle(text: &str) -> Result<(Option<String>, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.contains(['/', '\\']) => {
            if file.is_empty() {
                return Err("write it as NAME=FILE.trine".to_owned());
            }
            Ok((Some(name.to_owned()), file.into()))
        }
        _ => Ok((None, text.into())),
    }
}

/// Bounds on requests.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct LimitArgs {
    /// Requests that run at the same time.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub concurrency: u32,
    /// Requests that wait at the same time; further ones get 503.
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub waiting: u32,
    /// Seconds a request may take.
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// MiB that a request's components may allocate.
    #[arg(long, default_value_t = 256, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..=4096))]
    pub memory: u64,
    /// Tokens that a request may have a language model read and write.
    #[arg(long, default_value_t = 131_072, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub model_tokens: u32,
    /// Seconds that a request may wait for a language model, within its own [default: all of them].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub model_seconds: Option<u64>,
    /// KiB that a request's body may have.
    #[arg(long, default_value_t = 1024, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub body: u64,
}

impl From<LimitArgs> for trine_runtime::Limits {
    fn from(args: LimitArgs) -> Self {
        trine_runtime::Limits {
            concurrency: args.concurrency,
            waiting: args.waiting,
            timeout: Duration::from_secs(args.timeout),
            memory: (args.memory as usize) << 20,
            body: (args.body as usize) << 10,
            language_tokens: args.model_tokens as usize,
            language_time: Duration::from_secs(args.model_seconds.unwrap_or(args.timeout)),
            ..Self::default()
        }
    }
}
