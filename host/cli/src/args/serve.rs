//! Flags of `trine serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;

#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// The bundle.
    #[arg(value_name = "FILE.trine")]
    pub bundle: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", env = "TRINE_LISTEN", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Another address, for Prometheus: GET /metrics [default: none].
    #[arg(long, env = "TRINE_METRICS", value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    #[command(flatten)]
    pub limits: LimitArgs,
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
    /// KiB that a request's body may have.
    #[arg(long, default_value_t = 1024, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub body: u64,
}

impl From<LimitArgs> for trine_runtime::Limits {
    fn from(args: LimitArgs) -> Self {
        trine_runtime::Limits {
            concurrency: args.concurrency,
            waiting: args.waiting,
            timeout: std::time::Duration::from_secs(args.timeout),
            memory: (args.memory as usize) << 20,
            body: (args.body as usize) << 10,
            ..Self::default()
        }
    }
}
