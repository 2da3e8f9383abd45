//! The way from files to passages: one thread reads ahead, all of them cut, the caller's
//! thread receives in order.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;
use trine_index::{Date, Passage};

use crate::cut::{Cut, Cutter};
use crate::document::Document;
use crate::error::Error;
use crate::read::{self, ReadOptions, Reading, records};
use crate::report::{Progress, Report};
use crate::walk::{self, Source};

/// The files of a corpus, found but not read.
#[derive(Debug)]
pub struct Corpus {
    sources: Vec<Source>,
    options: ReadOptions,
    /// What was left out when looking for files.
    found: Report,
}

impl Corpus {
    /// Finds the files under `paths`, which are files or folders.
    ///
    /// Errors: a path that is not there, or no file of a kind that is read among them.
    /// Everything else that is left out is in the [`Report`] of a pass.
    pub fn open(paths: &[PathBuf], options: ReadOptions) -> Result<Corpus, Error> {
        let mut found = Report::default();
        let sources = walk::walk(paths, &options, &mut found)?;
        Ok(Corpus { sources, options, found })
    }

    /// A number that is another one when files were added, removed, or written to: of their
    /// names, sizes and times of modification.
    pub fn stamp(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for source in &self.sources {
            let modified = std::fs::metadata(&source.path).and_then(|file| file.modified());
            (&source.path, &source.name, source.size, modified.ok()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.sources.len()
    }

    /// Bytes of all files, as they are stored.
    pub fn total_bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.size).sum()
    }

    /// Reads and cuts every document. `sink` receives the passages of one document at a
    /// time, never none, in the order of the files; `progress` is told after each.
    ///
    /// Errors: those of `sink`, which end the pass, and a corpus without any text.
    pub fn passages<E: From<Error>>(
        &self,
        cutter: &Cutter<'_>,
        progress: &dyn Fn(Progress),
        sink: &mut dyn FnMut(Vec<Passage>) -> Result<(), E>,
    ) -> Result<Report, E> {
        let mut receive = |cut: Cut, report: &mut Report| {
            let source = cut.passages.first().map_or("", |passage| passage.source.as_str());
            if cut.over_window > 0 {
                let passages = cut.over_window;
                report.warn(source, format_args!("has so long a title that {passages} of its passages exceed the model's window; shorten it"));
            }
            report.passages += cut.passages.len() as u64;
            sink(cut.passages)
        };
        self.pass(
            &|document| Some(cutter.cut(&document)).filter(|c| !c.passages.is_empty()),
            progress,
            &mut receive,
        )
    }

    /// Reads every document, as [`Corpus::passages`] does, and cuts none.
    pub fn documents<E: From<Error>>(
        &self,
        progress: &dyn Fn(Progress),
        sink: &mut dyn FnMut(Document) -> Result<(), E>,
    ) -> Result<Report, E> {
        self.pass(&Some, progress, &mut |document, _| sink(document))
    }

    /// One pass: `map` runs on all threads, `receive` on this one and in order.
    fn pass<T: Send, E: From<Error>>(
        &self,
        map: &(dyn Fn(Document) -> Option<T> + Sync),
        progress: &dyn Fn(Progress),
        receive: &mut dyn FnMut(T, &mut Report) -> Result<(), E>,
    ) -> Result<Report, E> {
        let report = std::thread::scope(|scope| {
            // One group is received while the next is made.
            let (sender, receiver) = sync_channel(1);
            scope.spawn(move || {
                let mut producer = Producer { options: self.options, map, sender };
                producer.run(&self.sources)
            });
            self.receive(receiver, progress, receive)
        })?;
        if report.documents == 0 {
            let reasons = report.skipped.iter().take(5);
            let reasons: Vec<_> = reasons.map(|s| format!("{} {}", s.path, s.reason)).collect();
            let (files, reasons) = (self.files(), reasons.join("; "));
            return Err(Error::NothingRead { files, reasons }.into());
        }
        Ok(report)
    }

    fn receive<T, E>(
        &self,
        groups: Receiver<Vec<Outcome<T>>>,
        progress: &dyn Fn(Progress),
        receive: &mut dyn FnMut(T, &mut Report) -> Result<(), E>,
    ) -> Result<Report, E> {
        let mut report = self.found.clone();
        let mut names = HashSet::new();
        let total_bytes = self.total_bytes();
        for outcome in groups.into_iter().flatten() {
            report.bytes += outcome.bytes;
            match outcome.result {
                Err(reason) => report.skip(outcome.path, reason),
                Ok(read) if !names.insert(read.source.clone()) => {
                    let reason = format!("has the name of an earlier document, {}", read.source);
                    report.skip(outcome.path, reason);
                }
                Ok(read) => {
                    for warning in read.warnings {
                        report.warn(&outcome.path, warning);
                    }
                    report.documents += 1;
                    receive(read.value, &mut report)?;
                }
            }
            let Report { bytes, documents, passages, .. } = report;
            progress(Progress { bytes, total_bytes, documents, passages });
        }
        Ok(report)
    }
}

/// One file or record to be read.
enum Job<'a> {
    File(&'a Source),
    Record { path: String, line: Result<Vec<u8>, String>, bytes: u64, modified: Option<Date> },
}

/// What became of a [`Job`].
struct Outcome<T> {
    /// Of the file, or file and line.
    path: String,
    /// Bytes of the file that it took.
    bytes: u64,
    result: Result<Read<T>, String>,
}

struct Read<T> {
    source: String,
    warnings: Vec<String>,
    value: T,
}

/// Reads ahead, a group at a time.
struct Producer<'a, T> {
    options: ReadOptions,
    map: &'a (dyn Fn(Document) -> Option<T> + Sync),
    sender: SyncSender<Vec<Outcome<T>>>,
}

/// A group is as many jobs as keep all threads busy, but no more bytes than are held
/// easily; one large file is a group as well.
const GROUP_BYTES: u64 = 8 << 20;
const GROUP_JOBS: usize = 1024;

impl<T: Send> Producer<'_, T> {
    /// Stops early when nobody receives any more.
    fn run(&mut self, sources: &[Source]) {
        let mut jobs = Vec::new();
        let mut weight = 0;
        for job in sources.iter().flat_map(|source| self.jobs(source)) {
            weight += job.weight();
            jobs.push(job);
            if weight >= GROUP_BYTES || jobs.len() >= GROUP_JOBS {
                if !self.send(std::mem::take(&mut jobs)) {
                    return;
                }
                weight = 0;
            }
        }
        self.send(jobs);
    }

    fn jobs<'s>(&self, source: &'s Source) -> Box<dyn Iterator<Item = Job<'s>> + 's> {
        if !source.format.is_stream() {
            return Box::new(std::iter::once(Job::File(source)));
        }
        let mut lines = match records::Lines::open(source, self.options.max_record_bytes) {
            Ok(lines) => lines,
            Err(error) => {
                let line = Err(format!("cannot be read: {error}"));
                let job = Job::Record { path: source.name.clone(), line, bytes: 0, modified: None };
                return Box::new(std::iter::once(job));
            }
        };
        let mut taken = 0;
        Box::new(std::iter::from_fn(move || {
            let line = lines.next()?;
            let bytes = lines.bytes_taken() - taken;
            taken += bytes;
            let path = records::line_name(source, line.number);
            Some(Job::Record { path, line: line.bytes, bytes, modified: source.modified })
        }))
    }

    fn send(&self, jobs: Vec<Job<'_>>) -> bool {
        let map = self.map;
        let options = &self.options;
        let outcomes = jobs.into_par_iter().map(|job| job.run(options, map)).collect();
        self.sender.send(outcomes).is_ok()
    }
}

impl Job<'_> {
    fn weight(&self) -> u64 {
        match self {
            Job::File(source) => source.size,
            Job::Record { line, .. } => line.as_ref().map_or(0, |line| line.len() as u64),
        }
    }

    fn run<T>(
        self,
        options: &ReadOptions,
        map: &(dyn Fn(Document) -> Option<T> + Sync),
    ) -> Outcome<T> {
        let (path, bytes, reading) = match self {
            Job::File(source) => (source.name.clone(), source.size, read::file(source, options)),
            Job::Record { path, line, bytes, modified } => {
                (path, bytes, line.and_then(|line| records::record(&line, modified)))
            }
        };
        let result = reading.and_then(|Reading { document, warnings }| {
            let source = document.source.clone();
            let value = map(document).ok_or("has no text but its title")?;
            Ok(Read { source, warnings, value })
        });
        Outcome { path, bytes, result }
    }
}
