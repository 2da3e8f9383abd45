//! A file on its way to its place, of which a killed process leaves nothing.
//!
//! Where the system can, it has no name until it is whole, and then for a moment one beside its
//! place: the system itself forgets what has no name. Elsewhere it has that name from the start. A
//! name that a killed process left is taken away by the next one to write into the folder; what a
//! living process writes is locked.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::{Builder, NamedTempFile, TempPath};

use crate::appender::is_at;

/// What names begin and end with, and how many letters are drawn between.
const PREFIX: &str = ".trine-";
const SUFFIX: &str = ".tmp";
const DRAWN: usize = 12;

/// A file that is not in its place yet. Dropping it leaves nothing.
pub(crate) struct Temporary {
    pub(crate) file: File,
    /// None where it needs no name.
    name: Option<TempPath>,
}

impl Temporary {
    /// An empty file in `folder`.
    pub(crate) fn create(folder: &Path) -> io::Result<Temporary> {
        clear(folder);
        match unnamed(folder) {
            Some(file) => Ok(Temporary { file, name: None }),
            None => Temporary::named(folder),
        }
    }

    fn named(folder: &Path) -> io::Result<Temporary> {
        loop {
            let (file, name) = names().tempfile_in(folder)?.into_parts();
            // Where files cannot be locked nobody clears any.
            let _ = file.try_lock();
            // Before that somebody may have taken it for a dead one's.
            if is_at(&file, &name)? {
                return Ok(Temporary { file, name: Some(name) });
            }
        }
    }

    /// Puts it in its place, over what lies there.
    pub(crate) fn persist(self, path: &Path) -> io::Result<()> {
        let name = match self.name {
            Some(name) => name,
            None => link(&self.file, folder_of(path))?,
        };
        Ok(name.persist(path)?)
    }
}

/// The folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn names() -> Builder<'static, 'static> {
    let mut names = Builder::new();
    names.prefix(PREFIX).suffix(SUFFIX).rand_bytes(DRAWN);
    names
}

/// A file without a name that can be given one.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(open(folder, flags, Mode::RUSR | Mode::WUSR).ok()?);
    let _ = file.try_lock();
    opened(&file).exists().then_some(file)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_folder: &Path) -> Option<File> {
    None
}

/// Gives an unnamed file a name: nothing can be linked over what there is, only renamed.
#[cfg(target_os = "linux")]
fn link(file: &File, folder: &Path) -> io::Result<TempPath> {
    use rustix::fs::{AtFlags, CWD, linkat};
    let from = opened(file);
    let link = |name: &Path| Ok(linkat(CWD, &from, CWD, name, AtFlags::SYMLINK_FOLLOW)?);
    names().make_in(folder, link).map(NamedTempFile::into_temp_path)
}

#[cfg(not(target_os = "linux"))]
fn link(_file: &File, _folder: &Path) -> io::Result<TempPath> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where the system shows an open file.
#[cfg(target_os = "linux")]
fn opened(file: &File) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Takes away what killed processes left in `folder`. What cannot be stays.
fn clear(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_name(&entry.file_name().to_string_lossy())) {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn is_name(name: &str) -> bool {
    let drawn = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    drawn.is_some_and(|drawn| {
        drawn.len() == DRAWN && drawn.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_comes_to_its_place_with_and_without_a_name_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for create in [Temporary::create, Temporary::named] {
            for contents in ["one", "two"] {
                let mut temporary = create(folder.path()).unwrap();
                temporary.file.write_all(contents.as_bytes()).unwrap();
                temporary.persist(&path).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), contents);
                assert_eq!(names_in(folder.path()), ["a"]);
            }
            drop(create(folder.path()).unwrap());
            assert_eq!(names_in(folder.path()), ["a"]);
        }
    }

    #[test]
    fn what_was_left_is_cleared_unless_it_is_written_or_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let living = Temporary::named(folder.path()).unwrap();
        let mut expected = names_in(folder.path());
        let others = [".trine-config", ".trine-a2345678901.tmp", "trine-a23456789012.tmp"];
        for other in others {
            fs::write(folder.path().join(other), "mine").unwrap();
            expected.push(other.to_owned());
        }
        let dead = folder.path().join(".trine-a23456789012.tmp");
        fs::write(&dead, "half").unwrap();
        drop(Temporary::create(folder.path()).unwrap());
        let mut found = names_in(folder.path());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        drop(living);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_without_a_name_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let Some(file) = unnamed(folder.path()) else {
            println!("skipped: the file system has no unnamed files");
            return;
        };
        assert_eq!(names_in(folder.path()), [""; 0]);
        drop(file);
    }
}
