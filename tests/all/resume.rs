//! A build that is killed goes on where it was, and ends as one that was not killed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use trine_bundle::Reader;

use crate::command::{Ended, run, trine_with_model};
use crate::fixture::model;
use crate::living::Random;

/// Enough to be embedded in several calls.
const RECORDS: usize = 400;
const KILLS: usize = 8;
/// Of an empty work file, and of the row of 384 numbers that follows it.
const HEADER: u64 = 48;
const RECORD: u64 = 32 + 4 * 384 + 32;

/// A corpus, and a folder for bundles of it.
struct Builds {
    folder: tempfile::TempDir,
    random: Random,
}

impl Builds {
    fn new(seed: u64) -> Builds {
        let folder = tempfile::tempdir().unwrap();
        let mut file = fs::File::create(folder.path().join("many.jsonl")).unwrap();
        for id in 0..RECORDS {
            let text = format!("Record {id} is about number {id}. ").repeat(9);
            writeln!(file, r#"{{"_id": "{id}", "title": "Record {id}", "text": "{text}"}}"#)
                .unwrap();
        }
        fs::create_dir(folder.path().join("out")).unwrap();
        Builds { folder, random: Random(seed) }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out").join("a.trine")
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("out").join("a.trine.work")
    }

    /// One thread connects vectors in one order.
    fn command(&self, more: &[&str]) -> std::process::Command {
        let documents = self.folder.path().join("many.jsonl");
        let mut command = trine_with_model(&[&"index", &documents, &"-o", &self.output()]);
        command.args(["--threads", "1", "--no-prepare"]).args(more);
        command
    }

    /// Lets it run to its end; the digest of the bundle, which is taken away.
    fn finish(&self, more: &[&str]) -> (String, Ended) {
        let ended = run(self.command(more));
        assert_eq!(ended.code, 0, "{ended:?}");
        let left: Vec<_> = fs::read_dir(self.output().parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        let digest = Reader::open(&self.output()).unwrap().digest();
        fs::remove_file(self.output()).unwrap();
        (digest, ended)
    }

    /// Kills it once it has kept so many rows, and up to `later` milliseconds after that.
    fn kill(&mut self, target: u64, later: usize) {
        let mut child =
            self.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while rows(&self.work()) < target && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(self.random.below(later) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        for left in fs::read_dir(self.output().parent().unwrap()).unwrap().flatten() {
            let known = [self.output(), self.work()].contains(&left.path());
            assert!(known, "{left:?}");
        }
        if self.output().exists() {
            assert!(Reader::open(&self.output()).is_ok());
            fs::remove_file(self.output()).unwrap();
        }
    }

    /// Kills it until there are rows that it can go on from; how many.
    fn kill_with_rows(&mut self) -> u64 {
        loop {
            self.kill(1, 20);
            match rows(&self.work()) {
                0 => {}
                rows => return rows,
            }
        }
    }
}

/// The whole rows of a work file.
fn rows(work: &Path) -> u64 {
    fs::metadata(work).map_or(0, |file| file.len().saturating_sub(HEADER) / RECORD)
}

/// How many passages a build says that it took over.
fn resumed(ended: &Ended) -> u64 {
    let mut said = ended.err.lines().filter_map(|line| line.strip_prefix("resumed: "));
    let said = said.next().map(|said| said.split(' ').next().unwrap().parse().unwrap());
    said.unwrap_or(0)
}

#[test]
fn a_build_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let Some(_) = model() else { return };
    let mut builds = Builds::new(21);
    let (expected, ended) = builds.finish(&[]);
    assert_eq!(resumed(&ended), 0);
    let (mut before, mut gained) = (0, 0);
    for kill in 0..KILLS {
        // At first while passages are embedded, then anywhere.
        let target = 1 + builds.random.below(RECORDS - 1) as u64;
        builds.kill(target, if kill < KILLS / 2 { 20 } else { 3000 });
        // A run that came to its end took its work file away.
        let now = rows(&builds.work());
        assert!(now >= before || now == 0, "{now} after {before}");
        gained += usize::from(now > before);
        before = now;
    }
    assert!(gained > 0, "no kill came while passages were embedded");
    let left = builds.kill_with_rows();
    let (digest, ended) = builds.finish(&[]);
    assert_eq!((digest, resumed(&ended)), (expected, left));
}

#[test]
fn damaged_work_and_work_of_other_settings_make_no_other_bundle() {
    let Some(_) = model() else { return };
    let mut builds = Builds::new(22);
    let (expected, _) = builds.finish(&[]);
    builds.kill_with_rows();
    let whole = fs::read(builds.work()).unwrap();
    let damage = |builds: &mut Builds, bytes: &mut Vec<u8>, cut: bool| {
        let at = HEADER as usize + builds.random.below(bytes.len() - HEADER as usize);
        if cut {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << (at % 8)
        }
        at as u64
    };
    for cut in [true, false] {
        let mut bytes = whole.clone();
        let at = damage(&mut builds, &mut bytes, cut);
        fs::write(builds.work(), &bytes).unwrap();
        let (digest, ended) = builds.finish(&[]);
        assert_eq!((digest, resumed(&ended)), (expected.clone(), (at - HEADER) / RECORD));
    }
    // What decides vectors takes over none; what does not takes over all that are the same.
    let all = (whole.len() as u64 - HEADER) / RECORD;
    let (int8, _) = builds.finish(&["--precision", "int8"]);
    let (k1, _) = builds.finish(&["--bm25-k1", "0.9"]);
    for (options, expected, taken) in [
        (&["--precision", "int8"][..], int8, 0),
        (&["--no-resume"], expected, 0),
        (&["--bm25-k1", "0.9"], k1, all),
    ] {
        fs::write(builds.work(), &whole).unwrap();
        let (digest, ended) = builds.finish(options);
        assert_eq!((digest, resumed(&ended)), (expected, taken), "{options:?}");
    }
}

#[test]
fn one_build_at_a_time_and_no_others_file_in_the_way() {
    let Some(_) = model() else { return };
    let builds = Builds::new(23);
    fs::write(builds.work(), "notes").unwrap();
    run(builds.command(&[])).failed(1, &["a.trine.work", "was not made by trine"]);
    fs::remove_file(builds.work()).unwrap();
    let work = fs::File::create(builds.work()).unwrap();
    work.lock().unwrap();
    run(builds.command(&[])).failed(1, &["a.trine.work", "another process"]);
}
