//! Models that the user names: `models/<name>.toml` in the cache, a manifest like any other.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cache::digest;
use crate::{Error, Kind, Local, Manifest, ModelFile, Source, builtin, pull};

/// What the file of a model in GGUF is called in its folder.
pub const GGUF: &str = "model.gguf";

/// Files of a folder that a model may have, beside its weights.
const FILES: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    crate::ADAPTER,
];

/// What is said of a model when it is registered.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The name to ask for it by.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// SPDX identifier of the weights' licence.
    pub licence: String,
    /// One line about it.
    pub description: String,
}

/// Registers a GGUF file, or a folder with a model's files, under a name: the files are linked into
/// the cache, or copied where they lie on another disk, and their digests are written down. A name
/// that was registered before means the new files from then on; maps of the old ones stay whole.
///
/// # Errors
/// [`Error::Taken`] for a name that trine itself uses, [`Error::Manifest`] for one that is no file
/// name, [`Error::Io`] where a file cannot be read or kept.
pub fn register(
    registration: Registration,
    source: &Path,
    cache_dir: &Path,
) -> Result<Manifest, Error> {
    let Registration { name, kind, licence, description } = registration;
    if builtin()?.iter().any(|known| known.name == name) {
        return Err(Error::Taken { name });
    }
    let source = source.canonicalize().map_err(Error::io(source))?;
    let files = files(&source)?.into_iter().map(|path| {
        let sources = Local { path: source.clone() };
        let place = sources.place(&path);
        let size = fs::metadata(&place).map_err(Error::io(&place))?.len();
        let sha256 = digest(&place).map_err(Error::io(&place))?;
        Ok(ModelFile { path, size, sha256 })
    });
    let manifest = Manifest {
        name,
        kind,
        licence,
        description,
        base: None,
        files: files.collect::<Result<_, Error>>()?,
        sources: vec![Source::Local(Local { path: source })],
    };
    let text = manifest.to_toml();
    let manifest = Manifest::parse(&text, &format!("{}.toml", manifest.name))?;
    pull(&manifest, cache_dir, &|_| {})?;
    write(&place(&manifest.name, cache_dir), &text)?;
    Ok(manifest)
}

/// The manifests of registered models, by name.
///
/// # Errors
/// [`Error::Manifest`]: one of them was edited and is wrong.
pub fn registered(cache_dir: &Path) -> Result<Vec<Manifest>, Error> {
    let folder = cache_dir.join("models");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(&folder)(error)),
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    paths.sort();
    let parse = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        Manifest::parse(&text, &path.display().to_string())
    };
    paths.into_iter().map(parse).collect()
}

fn place(name: &str, cache_dir: &Path) -> PathBuf {
    cache_dir.join("models").join(format!("{name}.toml"))
}

/// The model's files by their paths in its folder.
fn files(source: &Path) -> Result<Vec<String>, Error> {
    if source.is_file() {
        return Ok(vec![GGUF.to_owned()]);
    }
    let weights = fs::read_dir(source).map_err(Error::io(source))?;
    let weights = weights.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut weights: Vec<String> =
        weights.filter(|name| name.ends_with(".safetensors") && name != crate::ADAPTER).collect();
    weights.sort();
    let other = FILES.iter().filter(|file| source.join(file).is_file());
    Ok(other.map(|file| (*file).to_owned()).chain(weights).collect())
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(Error::io(path))
}
