//! `trine eval`: a test collection through the real components.

mod answers;
mod print;
mod rankings;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use trine_eval::{Collection, Study};
use trine_node::Input;

use crate::args::{Build, ChunkingArg, Common, Eval, Stage};

pub fn run(args: Eval, common: &Common) -> Result<()> {
    check(&args)?;
    let collection = Collection::open(&args.collection)?;
    let scratch = tempfile::tempdir()?;
    let bundle = match &args.bundle {
        Some(path) => path.clone(),
        None => scratch.path().join("collection.trine"),
    };
    if !bundle.exists() {
        index(&args, &bundle, common)?;
    }
    let runtime = crate::ask::runtime()?;
    let node = crate::ask::open(&bundle, common)?;
    let mut study = Study {
        collection: collection.name(),
        settings: settings::of(&node, &args, common),
        ..Study::default()
    };
    let mut reports = vec![];
    if ranks(&args) {
        let (comparison, ranked) =
            runtime.block_on(rankings::measure(&node, &collection, &args))?;
        study.rankings = Some(comparison);
        reports = ranked;
    }
    let mut answers = None;
    if args.stages.contains(&Stage::Answer) {
        let answered = runtime.block_on(answers::measure(&node, &collection, &args))?;
        answers = Some(answers::report(&study.collection, &answered)?);
        study.answers = Some(answered);
    }
    show(&args, &study, &reports, answers.as_ref());
    save(&args, &study)
}

fn ranks(args: &Eval) -> bool {
    args.ablate.is_some() || args.stages.iter().any(|stage| *stage != Stage::Answer)
}

fn check(args: &Eval) -> Result<()> {
    let several = args.stages.len() > 1;
    ensure!(!several || args.run.is_none(), "--run writes one ranking; give one --stage");
    let answers = args.stages.contains(&Stage::Answer);
    ensure!(answers || !args.gold_passage, "--gold-passage is for --stage answer");
    ensure!(ranks(args) || args.run.is_none(), "--run writes a ranking, which answers are not");
    for stage in &args.stages {
        if let (Some(named), Some(mode)) = (stage.mode(), args.mode)
            && named != mode
        {
            bail!("--stage {} and --mode {} exclude each other", stage.name(), mode.name());
        }
    }
    Ok(())
}

fn show(args: &Eval, study: &Study, reports: &[Value], answers: Option<&Value>) {
    if matches!(args.json, Some(None)) {
        reports.iter().chain(answers).for_each(|report| out!("{report}"));
        return;
    }
    match (reports, &study.rankings) {
        (_, Some(comparison)) if args.ablate.is_some() => print::ablation(comparison),
        ([report], _) => print::one(report),
        (reports, _) if !reports.is_empty() => print::table(reports),
        _ => {}
    }
    answers.into_iter().for_each(print::one);
}

fn save(args: &Eval, study: &Study) -> Result<()> {
    if let Some(Some(path)) = &args.json {
        let json = serde_json::to_string(study)?;
        fs::write(path, json + "\n").with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.html {
        fs::write(path, study.to_html()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Test collections judge whole documents, so a document is a passage.
fn index(args: &Eval, bundle: &Path, common: &Common) -> Result<()> {
    let corpus = ["corpus.jsonl", "corpus.jsonl.gz"]
        .iter()
        .map(|name| args.collection.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{} holds no corpus.jsonl[.gz]", args.collection.display()))?;
    let build = Build {
        embedder: args.embedder.clone(),
        reranker: args.reranker.clone(),
        reader: args.reader.clone(),
        chunking: ChunkingArg::Whole,
        overlap: 0,
        words: args.words.clone(),
        vectors: args.vectors,
        app: None,
        no_resume: false,
    };
    let paths: [PathBuf; 1] = [corpus];
    crate::index::shown(&Input { paths: &paths, output: bundle }, &build, common, false)?;
    Ok(())
}
