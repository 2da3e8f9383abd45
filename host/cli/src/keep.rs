//! `trine add`, `remove`, `update` and `compact`: a bundle changed in place.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use trine_node::{
    Change, Changed, Committed, Folding, Keeper, KeeperOptions, NodeError, Step, fold,
};

use crate::args::{Add, ChangeArgs, Common, Compact, Remove, Update};
use crate::progress::Building;

/// Names that are printed; the rest is counted.
const SHOWN: usize = 50;

pub fn add(args: &Add, common: &Common) -> Result<()> {
    run(&args.change, Change::Add(&args.paths), common)
}

pub fn remove(args: &Remove, common: &Common) -> Result<()> {
    run(&args.change, Change::Remove(&args.sources), common)
}

pub fn update(args: &Update, common: &Common) -> Result<()> {
    run(&args.change, Change::Update(&args.paths), common)
}

fn run(args: &ChangeArgs, change: Change, common: &Common) -> Result<()> {
    let stop = crate::signals::interrupted()?;
    let (store, options) = (common.store()?, options(common, args.dry_run)?);
    let folding = options.folding;
    let keeper = Keeper::new(&store, options);
    let committed = shown(&keeper, &args.bundle, change, args.quiet, &stop)?;
    let wants_folding = committed.as_ref().is_some_and(|committed| committed.wants_folding);
    if wants_folding {
        folded(&args.bundle, &folding, args.quiet, &stop)?;
    }
    let has_new_base = wants_folding || committed.is_some_and(|committed| committed.folded);
    if has_new_base && !args.no_prepare {
        crate::prepare::at_last(&args.bundle, common.compiled()?, args.quiet);
    }
    Ok(())
}

pub fn compact(args: &Compact, common: &Common) -> Result<()> {
    let stop = crate::signals::interrupted()?;
    folded(&args.bundle, &options(common, false)?.folding, args.quiet, &stop)?;
    if !args.no_prepare {
        crate::prepare::at_last(&args.bundle, common.compiled()?, args.quiet);
    }
    Ok(())
}

/// How a bundle is changed.
pub fn options(common: &Common, dry_run: bool) -> Result<KeeperOptions> {
    let folding = Folding { threads: common.threads(), ..Folding::default() };
    Ok(KeeperOptions { engine: common.engine()?, folding, dry_run })
}

/// Makes a change and prints what it was.
pub fn shown(
    keeper: &Keeper,
    bundle: &Path,
    change: Change,
    quiet: bool,
    stop: &AtomicBool,
) -> Result<Option<Committed>> {
    let started = Instant::now();
    let waiting = || eprintln!("another process is changing {}; waiting", bundle.display());
    let changed = with_progress(quiet, stop, |progress| {
        keeper.change(bundle, change, &waiting, progress) //
    })?;
    crate::index::notes(&changed.report, changed.truncated);
    print(bundle, &changed, started);
    Ok(changed.committed)
}

fn print(bundle: &Path, changed: &Changed, started: Instant) {
    let Changed { added, changed: different, removed, unchanged, .. } = changed;
    let names = |verb: &'static str, names: &[String]| {
        names.iter().map(|name| format!("{verb} {name}")).collect::<Vec<_>>()
    };
    let lines = [names("added", added), names("changed", different), names("removed", removed)];
    let lines = lines.concat();
    for line in lines.iter().take(SHOWN) {
        out!("{line}");
    }
    if lines.len() > SHOWN {
        out!("... and {} more", lines.len() - SHOWN);
    }
    out!(
        "{}: {} added, {} changed, {} removed, {unchanged} unchanged, {:.1} s",
        bundle.display(),
        added.len(),
        different.len(),
        removed.len(),
        started.elapsed().as_secs_f64()
    );
}

/// Makes a new base and says so.
pub fn folded(bundle: &Path, folding: &Folding, quiet: bool, stop: &AtomicBool) -> Result<()> {
    let started = Instant::now();
    let folded = with_progress(quiet, stop, |progress| fold(bundle, folding, progress))?;
    match folded {
        None => out!("{}: there is nothing to compact", bundle.display()),
        Some(_) => {
            let size = std::fs::metadata(bundle).map_or(0, |file| file.len());
            let (mb, seconds) = (size as f64 / 1e6, started.elapsed().as_secs_f64());
            out!("{}: compacted, {mb:.1} MB, {seconds:.1} s", bundle.display());
        }
    }
    Ok(())
}

/// Shows progress on standard error; stops when it is told to.
fn with_progress<T>(
    quiet: bool,
    stop: &AtomicBool,
    run: impl FnOnce(&dyn Fn(Step) -> Result<(), NodeError>) -> Result<T, NodeError>,
) -> Result<T> {
    // Changes are small: there is no log of them but what they print in the end.
    let building = RefCell::new(Building::new(quiet || !std::io::stderr().is_terminal()));
    let done = run(&|step| {
        building.borrow_mut().step(step);
        if stop.load(Ordering::Relaxed) { Err(NodeError::Cancelled) } else { Ok(()) }
    });
    building.borrow().done();
    Ok(done?)
}
