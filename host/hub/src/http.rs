//! HTTP for large, known files: resumed where they were cut, tried again, never larger or other
//! than they should be.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::http::{Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Body, ResponseExt, Timeout};
use url::Url;

use crate::digest::hash_into;
use crate::{Digest, FetchError, Settings};

/// The longest page that is read into memory, in bytes.
const MAX_PAGE: u64 = 16 << 20;
/// A try that brought at least this many new bytes does not count as a failed one.
const PROGRESS: u64 = 1 << 20;
/// The longest that a server may ask to be left alone.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A file to fetch: where from, where to, and what it must turn out to be.
pub(crate) struct Wanted<'a> {
    pub url: &'a str,
    /// Holds what was fetched so far, and afterwards the whole file.
    pub part: &'a Path,
    pub size: u64,
    pub sha256: Digest,
}

/// A page of text.
pub(crate) struct Page {
    /// Where it was found, after redirects.
    pub url: String,
    /// Whether the server calls it JSON.
    pub json: bool,
    pub text: String,
}

/// A client with the system's certificates and, from HTTPS_PROXY and its like, the proxy.
#[derive(Clone)]
pub(crate) struct Http {
    agent: ureq::Agent,
    tries: u32,
    back_off: Duration,
}

impl Http {
    pub(crate) fn new(settings: &Settings) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .user_agent(concat!("trine/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_per_read(Some(settings.read_timeout))
            .build();
        Self {
            agent: ureq::Agent::new_with_config(config),
            tries: settings.tries.max(1),
            back_off: settings.back_off,
        }
    }

    /// Asks whether `url` is there, without fetching it.
    pub(crate) fn probe(&self, url: &str) -> Result<(), FetchError> {
        self.retrying(|| {
            let response = self.agent.head(url).call();
            expect_ok(url, &response.map_err(|error| unreachable(url, &error))?)
        })
    }

    /// Reads a page of text, asking for the media types `accept`.
    pub(crate) fn page(&self, url: &str, accept: &str) -> Result<Page, FetchError> {
        self.retrying(|| {
            let response = self.agent.get(url).header(header::ACCEPT, accept).call();
            let response = response.map_err(|error| unreachable(url, &error))?;
            expect_ok(url, &response)?;
            let kind = response.headers().get(header::CONTENT_TYPE);
            let json = kind.is_some_and(|kind| kind.to_str().is_ok_and(|k| k.contains("json")));
            let found_at = response.get_uri().to_string();
            let mut body = response.into_body();
            let text = body.with_config().limit(MAX_PAGE).read_to_string();
            Ok(Page { url: found_at, json, text: text.map_err(|error| unreachable(url, &error))? })
        })
    }

    /// Fetches a file into `wanted.part`, going on from what is there already. When this returns
    /// `Ok`, the part is on the disk and is the file wanted. After a wrong digest it is removed.
    pub(crate) fn download(
        &self,
        wanted: &Wanted,
        on_bytes: &dyn Fn(u64),
    ) -> Result<(), FetchError> {
        let mut part = Part::open(wanted)?;
        let resumed = part.length > 0;
        let (mut furthest, mut failures) = (part.length, 0);
        on_bytes(part.length);
        while part.length < wanted.size {
            let Err(error) = self.attempt(wanted, &mut part, on_bytes) else {
                break;
            };
            if part.length >= furthest.saturating_add(PROGRESS) {
                (furthest, failures) = (part.length, 0);
            }
            failures += 1;
            if !error.is_transient() || failures >= self.tries {
                return Err(error);
            }
            self.pause(failures, &error);
        }
        match part.finish(wanted) {
            // What was resumed may have been another file's beginning: once more, from nothing.
            Err(FetchError::Content { .. }) if resumed => self.download(wanted, on_bytes),
            other => other,
        }
    }

    /// One request; `part` keeps what it brought even when it fails.
    fn attempt(
        &self,
        wanted: &Wanted,
        part: &mut Part,
        on_bytes: &dyn Fn(u64),
    ) -> Result<(), FetchError> {
        let mut request = self.agent.get(wanted.url);
        if part.length > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.length));
        }
        let response = request.call();
        let response = response.map_err(|error| unreachable(wanted.url, &error))?;
        match response.status().as_u16() {
            206 if range_start(&response) == Some(part.length) => {}
            200 => part.restart()?,
            206 | 416 => {
                part.restart()?;
                return Err(part.cut(wanted));
            }
            _ => return Err(status(wanted.url, &response)),
        }
        if let Some(rest) = response.body().content_length()
            && part.length.checked_add(rest) != Some(wanted.size)
        {
            return Err(wrong_size(wanted, part.length.saturating_add(rest)));
        }
        part.append(response.into_body(), wanted, on_bytes)
    }

    fn retrying<T>(&self, attempt: impl Fn() -> Result<T, FetchError>) -> Result<T, FetchError> {
        let mut failures = 0;
        loop {
            match attempt() {
                Err(error) if error.is_transient() && failures + 1 < self.tries => {
                    failures += 1;
                    self.pause(failures, &error);
                }
                other => return other,
            }
        }
    }

    fn pause(&self, failures: u32, error: &FetchError) {
        let wait = match error {
            FetchError::Status { retry_after: Some(wait), .. } => *wait,
            _ => self.back_off.saturating_mul(1 << (failures - 1).min(10)),
        };
        tracing::debug!(%error, ?wait, "will try again");
        std::thread::sleep(wait.min(MAX_PAUSE));
    }
}

/// A file that is being fetched, with the digest of what is there.
struct Part<'a> {
    path: &'a Path,
    file: File,
    length: u64,
    hasher: Sha256,
}

impl<'a> Part<'a> {
    fn open(wanted: &Wanted<'a>) -> Result<Self, FetchError> {
        let path = wanted.part;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(FetchError::local(path))?;
        let mut hasher = Sha256::new();
        let length = hash_into(&mut hasher, &mut file).map_err(FetchError::local(path))?;
        let mut part = Self { path, file, length, hasher };
        if length > wanted.size {
            part.restart()?;
        }
        Ok(part)
    }

    fn restart(&mut self) -> Result<(), FetchError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(FetchError::local(self.path))?;
        self.length = 0;
        self.hasher = Sha256::new();
        Ok(())
    }

    fn append(
        &mut self,
        body: Body,
        wanted: &Wanted,
        on_bytes: &dyn Fn(u64),
    ) -> Result<(), FetchError> {
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 16];
        while self.length < wanted.size {
            let read = match reader.read(&mut buffer) {
                Ok(0) | Err(_) => return Err(self.cut(wanted)),
                Ok(read) => read,
            };
            if read as u64 > wanted.size - self.length {
                return Err(wrong_size(wanted, self.length + read as u64));
            }
            let written = self.file.write_all(&buffer[..read]);
            written.map_err(FetchError::local(self.path))?;
            self.hasher.update(&buffer[..read]);
            self.length += read as u64;
            on_bytes(self.length);
        }
        Ok(())
    }

    fn finish(self, wanted: &Wanted) -> Result<(), FetchError> {
        let found = Digest::of(self.hasher);
        if found != wanted.sha256 {
            std::fs::remove_file(self.path).map_err(FetchError::local(self.path))?;
            return Err(FetchError::Content {
                url: shown(wanted.url),
                found,
                expected: wanted.sha256,
            });
        }
        self.file.sync_all().map_err(FetchError::local(self.path))
    }

    fn cut(&self, wanted: &Wanted) -> FetchError {
        FetchError::Cut { url: shown(wanted.url), received: self.length, expected: wanted.size }
    }
}

/// The first byte of a partial answer: `Content-Range: bytes FIRST-LAST/SIZE`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?;
    let range = range.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

fn expect_ok(url: &str, response: &Response<Body>) -> Result<(), FetchError> {
    if response.status().is_success() {
        return Ok(());
    }
    Err(status(url, response))
}

fn status(url: &str, response: &Response<Body>) -> FetchError {
    let wait = response.headers().get(header::RETRY_AFTER);
    let wait = wait.and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
    FetchError::Status {
        url: shown(url),
        status: response.status().as_u16(),
        retry_after: wait.map(Duration::from_secs),
    }
}

fn wrong_size(wanted: &Wanted, found: u64) -> FetchError {
    FetchError::Size { url: shown(wanted.url), found, expected: wanted.size }
}

fn unreachable(url: &str, error: &ureq::Error) -> FetchError {
    use io::ErrorKind::*;
    let transient = match error {
        // A host that takes no connection now will not take one in a second either.
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => false,
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | TimedOut
        ),
        _ => false,
    };
    FetchError::Unreachable { url: shown(url), reason: error.to_string(), transient }
}

/// An address as it may be shown: without user name and password.
pub(crate) fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "(not an address)".into();
    };
    // Refused only by addresses that cannot hold either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}
