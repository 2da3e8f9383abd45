//! The `trine` command: flags to configuration to calls, nothing else.

#[macro_use]
mod out;

mod args;
mod ask;
mod bench;
mod devices;
mod eval;
mod generate;
mod heap;
mod index;
mod inspect;
mod keep;
mod models;
mod prepare;
mod progress;
mod search;
mod serve;
mod signals;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Args, Command};

/// Exit status of `ask` when nothing in the documents answers, and of `search` when nothing is found.
const NOTHING: u8 = 3;

fn main() -> ExitCode {
    quiet_drivers();
    heap::give_back();
    let args = Args::parse();
    log(args.verbose);
    if let Err(error) = args.check() {
        error.exit();
    }
    run(args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Index(index) => index::run(index, &args.common).map(|()| ExitCode::SUCCESS),
        Command::Add(add) => keep::add(&add, &args.common).map(|()| ExitCode::SUCCESS),
        Command::Remove(remove) => keep::remove(&remove, &args.common).map(|()| ExitCode::SUCCESS),
        Command::Update(update) => keep::update(&update, &args.common).map(|()| ExitCode::SUCCESS),
        Command::Watch(watch) => watch::run(watch, &args.common).map(|()| ExitCode::SUCCESS),
        Command::Compact(compact) => {
            keep::compact(&compact, &args.common).map(|()| ExitCode::SUCCESS)
        }
        Command::Ask(ask) => ask::run(ask, &args.common).map(found),
        Command::Search(search) => search::run(search, &args.common).map(found),
        Command::Generate(generate) => generate::run(generate, &args.common),
        Command::Serve(serve) => serve::run(serve, &args.common).map(|()| ExitCode::SUCCESS),
        Command::Inspect(inspect) => {
            inspect::run(inspect, &args.common).map(|()| ExitCode::SUCCESS)
        }
        Command::Models(models) => models::run(models, &args.common).map(|()| ExitCode::SUCCESS),
        Command::Devices(devices) => {
            devices::run(&devices, &args.common).map(|()| ExitCode::SUCCESS)
        }
        Command::Eval(eval) => eval::run(eval, &args.common).map(|()| ExitCode::SUCCESS),
        Command::Bench(bench) => bench::run(bench, &args.common).map(|()| ExitCode::SUCCESS),
    }
}

fn found(anything: bool) -> ExitCode {
    if anything { ExitCode::SUCCESS } else { ExitCode::from(NOTHING) }
}

/// Where no desktop is running, Mesa's device-selection layer complains of that on standard error
/// whenever adapters are listed. It chooses between displays, which is nothing to trine.
fn quiet_drivers() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the process has one thread yet: this is the first thing that `main` does.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Log lines go to standard error; `RUST_LOG` overrides the level that `-v` chooses.
fn log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
