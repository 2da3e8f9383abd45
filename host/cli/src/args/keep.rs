//! Flags of the commands that change a bundle in place.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// Takes in what is new or different.
#[derive(Debug, ClapArgs)]
pub struct Add {
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Takes documents out.
#[derive(Debug, ClapArgs)]
pub struct Remove {
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Documents, called as answers call them; a glob such as `drafts/**` takes out all that it
    /// matches.
    #[arg(required = true, value_name = "SOURCE|GLOB")]
    pub sources: Vec<String>,
}

/// Takes in what is new or different, and takes out what is gone.
#[derive(Debug, ClapArgs)]
pub struct Update {
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Files and folders, from now on [default: those that the bundle was made from].
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// What changes of a bundle have in common.
#[derive(Debug, ClapArgs)]
pub struct ChangeArgs {
    /// The bundle.
    #[arg(value_name = "FILE.trine")]
    pub bundle: PathBuf,
    /// Says what would be done, and does nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Leaves it to the next opening to fill what this machine opens a new index with: for bundles
    /// that are opened elsewhere.
    #[arg(long)]
    pub no_prepare: bool,
    /// Shows no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Compact {
    /// The bundle.
    #[arg(value_name = "FILE.trine")]
    pub bundle: PathBuf,
    /// Leaves it to the next opening to fill what this machine opens a new index with: for bundles
    /// that are opened elsewhere.
    #[arg(long)]
    pub no_prepare: bool,
    /// Shows no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Watch {
    /// The bundle.
    #[arg(value_name = "FILE.trine")]
    pub bundle: PathBuf,
    /// Files and folders, from now on [default: those that the bundle was made from].
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Seconds between two looks at them; a change is taken in when the next look finds no other.
    #[arg(long, default_value_t = 1, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
}
