//! A bundle's sections, as the runtime takes them.

use sha2::{Digest, Sha256};
use trine_bundle::{Reader, Section};
use trine_index::setup;
use trine_runtime::manifest::Manifest;
use trine_runtime::snapshot::Part;
use trine_runtime::{Contents, Source};

use crate::NodeError;
use crate::about::{RETRIEVER_SETUP, TOKENIZER, component_section};
use crate::application::Role;
use crate::living::{BASE, DELTA, DOCUMENTS};

/// What a manifest calls the writer, which no bundle holds: the same language models serve all bundles.
pub(crate) const WRITER: &str = "built-in/writer.wasm";

/// The component in `file`, and what it is to be filled with: the base, where it is the retriever.
pub(crate) fn source<'a>(
    reader: &'a Reader,
    manifest: &Manifest,
    file: &str,
) -> Result<Source<'a, NodeError>, NodeError> {
    if file == WRITER {
        return Ok(Source::bytes(trine_components::WRITER.bytes.to_vec()));
    }
    let component = component_section(file);
    let key = digest(&[&reader.section(&component)?.sha256]);
    let contents = match Role::of(manifest, file) {
        Some(Role::Retriever) => Some(contents(reader)?),
        _ => None,
    };
    Ok(Source { key, bytes: Box::new(move || Ok(reader.read(&component)?)), contents })
}

/// What the retriever is filled with.
pub(crate) fn contents(reader: &Reader) -> Result<Contents<'_, NodeError>, NodeError> {
    let parts = retriever_parts(reader)?;
    let named = parts.iter().flat_map(|(name, section)| [*name, "\0", &section.sha256]);
    let key = digest(&named.collect::<Vec<_>>());
    let length = parts.iter().map(|(_, section)| section.length).sum();
    // Piece by piece: parts may be larger than what else a start needs.
    let pieces = |(name, section): (_, &Section)| {
        let pieces = reader.pieces(&section.name).into_iter().flatten();
        pieces.map(move |piece| Ok(Part::bytes(name, piece?)))
    };
    Ok(Contents { key, length, parts: Box::new(parts.into_iter().flat_map(pieces)) })
}

fn digest(parts: &[&str]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
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
