//! `trine models`.

use anyhow::Result;
use serde_json::json;
use trine_hub::{Kind, Manifest};

use crate::args::{Common, Models, ModelsCommand};

pub fn run(args: Models, common: &Common) -> Result<()> {
    let cache = common.cache()?;
    match args.command {
        ModelsCommand::Pull { name } => {
            let folder = common.store()?.folder(&name)?;
            out!("{name}: {}", folder.display());
        }
        ModelsCommand::Add { name, source, licence } => {
            let manifest = common.store()?.add(&name, &source, licence)?;
            let megabytes = manifest.size() as f64 / 1e6;
            let Manifest { kind, licence, description, .. } = manifest;
            out!("{name}: {kind}, {megabytes:.0} MB, {licence}, {description}");
        }
        ModelsCommand::List { json: true } => {
            let store = common.store()?;
            let all = trine_hub::list(&cache)?.into_iter().map(|l| {
                let decoder = (l.cached && l.manifest.kind == Kind::Generator)
                    .then(|| store.decoder(&l.folder.to_string_lossy()).ok())
                    .flatten();
                json!({
                    "name": l.manifest.name,
                    "kind": l.manifest.kind.to_string(),
                    "description": l.manifest.description,
                    "licence": l.manifest.licence,
                    "bytes": l.manifest.size(),
                    "cached": l.cached,
                    "folder": l.folder,
                    "architecture": decoder.as_ref().map(|d| &d.config().architecture),
                    "weights": decoder.as_ref().map(|d| d.weights()),
                    "context": decoder.as_ref().map(|d| d.config().context),
                })
            });
            out!("{}", serde_json::Value::from(all.collect::<Vec<_>>()));
        }
        ModelsCommand::List { json: false } => {
            for l in trine_hub::list(&cache)? {
                let m = &l.manifest;
                let place = match l.cached {
                    true => l.folder.display().to_string(),
                    false => "not downloaded".to_owned(),
                };
                let megabytes = m.size() as f64 / 1e6;
                let what = match m.kind {
                    Kind::Generator => format!("{} ({})", m.kind, m.description),
                    kind => kind.to_string(),
                };
                out!("{}  {what}  {megabytes:.0} MB  {}  {place}", m.name, m.licence);
            }
        }
    }
    Ok(())
}
