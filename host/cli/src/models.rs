//! `trine models`.

use anyhow::Result;
use serde_json::json;

use crate::args::{Common, Models, ModelsCommand};

pub fn run(args: Models, common: &Common) -> Result<()> {
    let cache = common.cache()?;
    match args.command {
        ModelsCommand::Pull { name } => {
            let folder = common.store()?.folder(&name)?;
            out!("{name}: {}", folder.display());
        }
        ModelsCommand::List { json: true } => {
            let all: Vec<_> = trine_hub::list(&cache)?
                .into_iter()
                .map(|l| {
                    json!({
                        "name": l.manifest.name,
                        "kind": l.manifest.kind.to_string(),
                        "licence": l.manifest.licence,
                        "bytes": l.manifest.size(),
                        "cached": l.cached,
                        "folder": l.folder,
                    })
                })
                .collect();
            out!("{}", serde_json::Value::from(all));
        }
        ModelsCommand::List { json: false } => {
            for l in trine_hub::list(&cache)? {
                let m = &l.manifest;
                let place = match l.cached {
                    true => l.folder.display().to_string(),
                    false => "not downloaded".to_owned(),
                };
                let megabytes = m.size() as f64 / 1e6;
                out!("{}  {}  {megabytes:.0} MB  {}  {place}", m.name, m.kind, m.licence);
            }
        }
    }
    Ok(())
}
