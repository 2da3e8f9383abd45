//! `trine watch`: a bundle kept up to date.
//!
//! Documents are looked at again and again rather than waited for: that works on every file
//! system, loses no event, and costs a look at each file's entry.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use trine_node::{Change, Folding, Keeper, Node, stamp};

use crate::args::{Common, Watch};
use crate::keep::{folded, options, shown};

/// How soon Ctrl-C is noticed.
const BREATH: Duration = Duration::from_millis(50);

pub fn run(args: Watch, common: &Common) -> Result<()> {
    let stop = crate::signals::interrupted()?;
    let (store, options) = (common.store()?, options(common, false)?);
    let (folding, compiled) = (options.folding, common.compiled()?);
    let keeper = Keeper::new(&store, options);
    let mut paths: Vec<PathBuf> = args.paths.clone();
    if paths.is_empty() {
        paths = Node::about(&args.bundle)?.0.paths;
    }
    let (mut taken, mut last, mut told) = (None, None, String::new());
    let mut compacting: Option<JoinHandle<()>> = None;
    out!(
        "watching {}",
        paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    while !stop.load(Ordering::Relaxed) {
        let now = stamp(&paths).map_err(anyhow::Error::from);
        // What is still being written is taken in when that is over.
        let settled = now.as_ref().ok().filter(|now| Some(**now) == last && last != taken).copied();
        last = now.as_ref().ok().copied();
        let outcome = match (now, settled) {
            (Err(error), _) => Err(error),
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(now)) => {
                let change = Change::Update(&args.paths);
                shown(&keeper, &args.bundle, change, true, &stop).map(|committed| {
                    taken = Some(now);
                    let Some(made) = committed.filter(|made| made.wants_folding || made.folded)
                    else {
                        return;
                    };
                    if compacting.as_ref().is_none_or(JoinHandle::is_finished) {
                        let (bundle, compiled) = (args.bundle.clone(), compiled.clone());
                        let folding = made.wants_folding.then_some(folding);
                        compacting = Some(compact(bundle, folding, compiled, stop.clone()));
                    }
                })
            }
        };
        match outcome {
            Ok(()) => told.clear(),
            Err(_) if stop.load(Ordering::Relaxed) => {}
            // Not at every look.
            Err(error) if format!("{error:#}") != told => {
                told = format!("{error:#}");
                eprintln!("the bundle stays as it is: {told}");
            }
            Err(_) => {}
        }
        pause(Duration::from_secs(args.interval), &stop);
    }
    if let Some(compacting) = compacting {
        let _ = compacting.join();
    }
    eprintln!("stopped");
    Ok(())
}

/// Compacts, if it is told how, beside the watching: what changes meanwhile is taken in as ever. The
/// new index is made ready for those who open it.
fn compact(
    bundle: PathBuf,
    folding: Option<Folding>,
    compiled: PathBuf,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let compacted = folding.map(|folding| folded(&bundle, &folding, true, &stop));
        match compacted.transpose() {
            Ok(_) => crate::prepare::ahead(&bundle, compiled, true),
            Err(_) if stop.load(Ordering::Relaxed) => {}
            Err(error) => eprintln!("the bundle is not compacted: {error:#}"),
        }
    })
}

fn pause(long: Duration, stop: &AtomicBool) {
    let started = Instant::now();
    while started.elapsed() < long && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(BREATH);
    }
}
