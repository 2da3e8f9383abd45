//! A bundle's sections, as the runtime takes them.

use sha2::{Digest, Sha256};
use trine_bundle::{Reader, Section};
use trine_index::setup;
use trine_runtime::Source;
use trine_runtime::manifest::Manifest;
use trine_runtime::snapshot::{Part, filled};

use crate::NodeError;
use crate::about::{RETRIEVER_SETUP, TOKENIZER, component_section};
use crate::application::Role;
use crate::living::{BASE, DELTA, DOCUMENTS};

/// What a manifest calls the writer, which no bundle holds: the same language models serve all bundles.
pub(crate) const WRITER: &str = "built-in/writer.wasm";

/// The component in `file`; the retriever filled with the base, should it be asked for.
pub(crate) fn source<'a>(
    reader: &'a Reader,
    manifest: &Manifest,
    file: &str,
) -> Result<Source<'a, NodeError>, NodeError> {
    if file == WRITER {
        return Ok(Source::bytes(trine_components::WRITER.bytes.to_vec()));
    }
    let component = component_section(file);
    let parts = match Role::of(manifest, file) {
        Some(Role::Retriever) => retriever_parts(reader)?,
        _ => vec![],
    };
    let mut key = Sha256::new();
    key.update(&reader.section(&component)?.sha256);
    for (name, section) in &parts {
        key.update([name.as_bytes(), b"\0", section.sha256.as_bytes()].concat());
    }
    let bytes = move || {
        let component = reader.read(&component)?;
        if parts.is_empty() {
            return Ok(component);
        }
        // Piece by piece: parts may be larger than what else a start needs.
        let pieces = |(name, section): (&'a str, &Section)| {
            let pieces = reader.pieces(&section.name).into_iter().flatten();
            pieces.map(move |piece| Ok::<_, NodeError>(Part::bytes(name, piece?)))
        };
        let mut parts = parts.into_iter().flat_map(pieces);
        filled(Role::Retriever.name(), &component, &mut parts)
    };
    Ok(Source { key: key.finalize().into(), bytes: Box::new(bytes) })
}

/// What the retriever is filled with, by the names that it knows.
fn retriever_parts(reader: &Reader) -> Result<Vec<(&str, &Section)>, NodeError> {
    let mut parts = vec![
        (setup::SETUP, reader.section(RETRIEVER_SETUP)?),
        (setup::TOKENIZER, reader.section(TOKENIZER)?),
    ];
    let base = reader.sections().iter();
    let base = base.filter_map(|section| Some((section.name.strip_prefix(BASE)?, section)));
    parts.extend(base.filter(|(name, _)| *name != DOCUMENTS));
    Ok(parts)
}

/// What each instance of the retriever is given beside the base.
pub(crate) fn additions(reader: &Reader) -> Result<Vec<(String, Vec<u8>)>, NodeError> {
    let delta = reader
        .sections()
        .iter()
        .filter(|section| section.name.strip_prefix(DELTA).is_some_and(|name| name != DOCUMENTS));
    delta.map(|section| Ok((section.name.clone(), reader.read(&section.name)?))).collect()
}
