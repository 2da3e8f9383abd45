//! Pulls a model by name into the user's cache: `cargo run --example pull -- all-MiniLM-L6-v2`.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;

use trine_hub::{Error, Event, default_cache_dir, find, pull};

fn main() -> ExitCode {
    let name = std::env::args().nth(1);
    match pull_by_name(name.as_deref().unwrap_or("all-MiniLM-L6-v2")) {
        Ok(folder) => {
            println!("{}", folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn pull_by_name(name: &str) -> Result<PathBuf, Error> {
    let cache = default_cache_dir()?;
    let manifest = find(name, &cache)?;
    let shown = Cell::new(u64::MAX);
    pull(&manifest, &cache, &|event| match event {
        Event::Bytes { file, done, total } => {
            let tenth = done * 10 / total.max(1);
            if shown.replace(tenth) != tenth {
                eprintln!("{file}: {done} of {total} bytes");
            }
        }
        Event::Fetching { source } => eprintln!("{source} answered"),
        Event::Failed { source, reason } => eprintln!("{source}: {reason}"),
        Event::Checking { file } => eprintln!("checking {file}"),
        _ => eprintln!("waiting for another process"),
    })
}
