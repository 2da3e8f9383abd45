//! `trine index`.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use trine_node::{BuildOptions, Built, Input, NodeError, Precision, Report, build, work_path};

use crate::args::{Build, Common, Index};
use crate::progress::Building;

/// Skipped files and warnings that are printed; the rest is counted.
const SHOWN: usize = 20;

pub fn run(args: Index, common: &Common) -> Result<()> {
    let started = Instant::now();
    let input = Input { paths: &args.paths, output: &args.output };
    let built = shown(&input, &args.build, common, args.quiet)?;
    notes(&built.report, built.truncated);
    let size = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    out!(
        "{}: {} documents, {} passages, {:.1} MB, {:.1} s",
        args.output.display(),
        built.about.documents,
        built.about.passages,
        size as f64 / 1e6,
        started.elapsed().as_secs_f64()
    );
    if !args.no_prepare {
        crate::prepare::at_last(&args.output, common.compiled()?, args.quiet);
    }
    out!("ask it:   trine ask {} \"your question\"", args.output.display());
    out!("serve it: trine serve {}", args.output.display());
    Ok(())
}

/// Builds a bundle with its progress on standard error; Ctrl-C leaves what was embedded until then.
pub fn shown(input: &Input, args: &Build, common: &Common, quiet: bool) -> Result<Built> {
    let options = BuildOptions {
        embedder: args.embedder.clone(),
        reranker: args.reranker.clone(),
        reader: (args.reader != "none").then(|| args.reader.clone()),
        chunking: args.chunking.into(),
        overlap: args.overlap.into(),
        lexical: args.words.lexical(),
        bm25: args.words.bm25(),
        vectors: args.vectors.map(Precision::from),
        engine: common.engine()?,
        app: args.app.clone(),
        resume: !args.no_resume,
    };
    let stop = crate::signals::interrupted()?;
    let building = RefCell::new(Building::new(quiet));
    let built = build(input, &options, &common.store()?, &|step| {
        building.borrow_mut().step(step);
        if stop.load(Ordering::Relaxed) { Err(NodeError::Cancelled) } else { Ok(()) }
    });
    building.borrow().done();
    let work = work_path(input.output);
    if built.is_err() && work.exists() {
        let work = work.display();
        eprintln!("{work} keeps what was embedded: the same command goes on from there");
    }
    let built = built?;
    if built.resumed > 0 {
        let (resumed, passages) = (built.resumed, built.about.passages);
        eprintln!("resumed: {resumed} of {passages} passages were embedded before");
    }
    Ok(built)
}

/// Tells what was not read, or not as it stands, and `truncated`: how many passages were cut
/// short, and by how many tokens.
pub fn notes(report: &Report, truncated: (u64, u64)) {
    let notes = report
        .skipped
        .iter()
        .map(|s| format!("skipped {}: {}", s.path, s.reason))
        .chain(report.warnings.iter().map(|w| format!("warning: {w}")));
    for note in notes.take(SHOWN) {
        eprintln!("{note}");
    }
    let more = (report.skipped.len() + report.warnings.len()).saturating_sub(SHOWN) as u64;
    if more + report.unlisted > 0 {
        eprintln!("... and {} more notes", more + report.unlisted);
    }
    for (extension, files) in &report.unread_extensions {
        let kind = if extension.is_empty() { "without extension" } else { extension.as_str() };
        eprintln!("not read: {files} files {kind}");
    }
    let (passages, tokens) = truncated;
    if passages > 0 {
        eprintln!(
            "{passages} passages exceed the embedder's window: {tokens} of their tokens were not \
             read"
        );
    }
}
