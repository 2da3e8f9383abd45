//! `trine inspect`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use trine_node::Node;
use trine_node::living::Living;

use crate::args::{Common, Inspect};

pub fn run(args: Inspect, common: &Common) -> Result<()> {
    let (about, reader) = Node::about(&args.bundle)?;
    if let Some(folder) = &args.extract {
        let model = match common.language_model() {
            Some(name) => Some(common.store()?.language_model(name)?),
            None => None,
        };
        let written = trine_node::extract(&reader, folder, model.as_ref())?;
        for path in written {
            out!("{}", path.display());
        }
        return Ok(());
    }
    // Reading a section checks its digest.
    for section in reader.sections() {
        reader.check(&section.name)?;
    }
    let living = Living::read(&reader)?;
    let (added, removed) = (living.delta_passages(), living.removed().len());
    let sections: Vec<_> = reader
        .sections()
        .iter()
        .map(|s| json!({ "name": s.name, "bytes": s.length, "sha256": s.sha256 }))
        .collect();
    if args.json {
        let all = json!({
            "digest": reader.digest(),
            "generation": reader.generation(),
            "about": about,
            "delta_passages": added,
            "removed_passages": removed,
            "dead_bytes": reader.dead_bytes(),
            "sections": sections,
        });
        out!("{all}");
        return Ok(());
    }
    out!("{}: {} bytes, every digest matches", args.bundle.display(), size(&args.bundle)?);
    out!("digest      {}", reader.digest());
    out!("generation  {}, {} bytes of earlier ones", reader.generation(), reader.dead_bytes());
    out!("built by    trine {}", about.trine);
    out!("documents   {}", about.documents);
    out!("passages    {} of {} dimensions", about.passages, about.dimensions);
    out!("delta       {added} passages added, {removed} of the index removed");
    out!("embedder    {}", about.embedder.name);
    out!("reranker    {} ({})", about.reranker.name, label(&json!(about.scoring)));
    out!("generator   {} (extractive)", about.generator.name);
    if let Some(reader) = &about.reader {
        out!("reader      {}", reader.name);
    }
    out!("sections");
    for section in reader.sections() {
        out!("  {:>12}  {}", section.length, section.name);
    }
    Ok(())
}

fn label(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("")
}

fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.len())
}
