//! What `trine bench serve` takes.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use http::Uri;

use super::LimitArgs;

/// Puts a server under load: clients that ask, wait for the answer, and ask again.
#[derive(Debug, ClapArgs)]
pub struct BenchServe {
    /// The bundle to serve on a port of this machine.
    #[arg(value_name = "FILE.trine", required_unless_present = "url")]
    pub bundle: Option<PathBuf>,
    /// A server that runs already, trine or another: http://HOST:PORT.
    #[arg(long, value_name = "URL", conflicts_with = "bundle")]
    pub url: Option<Uri>,
    /// What is asked for; `{"query": ...}` is posted to it.
    #[arg(long, default_value = "/v1/answer", value_name = "PATH")]
    pub path: String,
    /// How many clients ask at the same time; each number is a step of its own.
    #[arg(long, default_value = "1,8,64,256", value_delimiter = ',', value_name = "N,N,...", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: Vec<u32>,
    /// Seconds in which a step's requests are begun.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds that a step then waits for the answers still due.
    #[arg(long, default_value_t = 120, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// Questions to ask, one a line [default: made up, no two alike].
    #[arg(long, value_name = "FILE")]
    pub questions: Option<PathBuf>,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub limits: LimitArgs,
}
