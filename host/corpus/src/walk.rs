//! Which files make up a corpus, and what each is called.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use trine_index::Date;

use crate::error::Error;
use crate::read::{Format, ReadOptions};
use crate::report::Report;

/// A file to be read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub path: PathBuf,
    /// What its document is called.
    pub name: String,
    pub format: Format,
    /// Bytes when the corpus was opened.
    pub size: u64,
    /// When it was last changed, to the second; `None` where the system does not say.
    pub modified: Option<Date>,
}

/// A file, and the names it can have: the later, the longer.
struct Found {
    path: PathBuf,
    names: [String; 3],
    format: Format,
    size: u64,
    modified: Option<Date>,
}

/// The files under `paths`, in a fixed order: as given, and by name within a folder.
///
/// What is left out is noted in `report`. Hidden files are no part of a corpus, nor is
/// what git ignores in a checkout; links out of a folder are not followed.
pub(crate) fn walk(
    paths: &[PathBuf],
    options: &ReadOptions,
    report: &mut Report,
) -> Result<Vec<Source>, Error> {
    let mut found = Vec::new();
    for path in paths {
        let open = |source| Error::Open { path: path.clone(), source };
        let metadata = std::fs::metadata(path).map_err(open)?;
        if metadata.is_dir() {
            let root = path.canonicalize().map_err(open)?;
            folder(path, &root, report, &mut found);
        } else {
            file(path, &metadata, &mut found);
        }
    }
    let mut seen = HashSet::new();
    found.retain(|file| {
        let is_new = file.path.canonicalize().map_or(true, |path| seen.insert(path));
        if !is_new {
            report.skip(slashed(&file.path), "was given twice");
        }
        is_new
    });
    found.retain(|file| {
        let fits = file.format.is_stream() || file.size <= options.max_file_bytes;
        if !fits {
            let limit = options.max_file_bytes;
            let reason = format!("has {} bytes, more than the limit of {limit}", file.size);
            report.skip(&file.names[0], reason);
        }
        fits
    });
    if found.is_empty() {
        return Err(Error::Empty(paths.to_vec()));
    }
    Ok(named(found))
}

fn folder(given: &Path, root: &Path, report: &mut Report, found: &mut Vec<Found>) {
    let walker = ignore::WalkBuilder::new(root).sort_by_file_name(|a, b| a.cmp(b)).build();
    let mut unread: BTreeMap<String, u64> = BTreeMap::new();
    for entry in walker {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                report.skip(slashed(given), error.to_string());
                continue;
            }
        };
        let relative = slashed(entry.path().strip_prefix(root).unwrap_or(entry.path()));
        let kind = entry.file_type();
        if kind.is_some_and(|kind| kind.is_symlink()) {
            report.skip(relative, "is a symbolic link, which is not followed");
        } else if kind.is_some_and(|kind| kind.is_file()) {
            let Some(format) = Format::of(&relative) else {
                *unread.entry(extension(&relative)).or_default() += 1;
                continue;
            };
            let metadata = entry.metadata().ok();
            let size = metadata.as_ref().map_or(0, Metadata::len);
            let modified = metadata.as_ref().and_then(modified);
            let root_name = root.file_name().map(|name| name.to_string_lossy().into_owned());
            let names = [
                relative.clone(),
                format!("{}/{relative}", root_name.unwrap_or_default()),
                slashed(&given.join(&relative)),
            ];
            found.push(Found { path: entry.into_path(), names, format, size, modified });
        }
    }
    for (extension, count) in unread {
        *report.unread_extensions.entry(extension).or_default() += count;
    }
}

/// A file that is named itself is read whatever its extension.
fn file(path: &Path, metadata: &Metadata, found: &mut Vec<Found>) {
    let full = slashed(path);
    let parts: Vec<&str> = full.rsplitn(3, '/').collect();
    let name = parts[0].to_owned();
    let with_folder = match parts.get(1) {
        Some(folder) => format!("{folder}/{name}"),
        None => name.clone(),
    };
    let format = Format::of(&name).unwrap_or(Format::Text);
    let names = [name, with_folder, full];
    let (size, modified) = (metadata.len(), modified(metadata));
    found.push(Found { path: path.to_owned(), names, format, size, modified });
}

fn modified(metadata: &Metadata) -> Option<Date> {
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Date(i64::try_from(since.as_secs()).ok()?.checked_mul(1000)?))
}

/// Gives every file the shortest kind of name by which no two are called the same.
fn named(found: Vec<Found>) -> Vec<Source> {
    let unique = |which: usize| {
        let mut seen = HashSet::new();
        found.iter().all(|file| seen.insert(file.names[which].as_str()))
    };
    let which = (0..2).find(|which| unique(*which)).unwrap_or(2);
    let source = |file: Found| {
        let [short, middle, long] = file.names;
        let name = [short, middle, long].into_iter().nth(which).unwrap_or_default();
        Source {
            path: file.path,
            name,
            format: file.format,
            size: file.size,
            modified: file.modified,
        }
    };
    found.into_iter().map(source).collect()
}

fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(String::new(), |(_, extension)| extension.to_lowercase())
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/").replace("//", "/")
}
