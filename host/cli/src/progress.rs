//! What is going on, on standard error.

use std::cell::RefCell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use trine_hub::Event;
use trine_node::{Progress, Step};

/// Shows downloads.
pub fn download() -> Box<dyn Fn(Event)> {
    let bar: RefCell<Option<ProgressBar>> = RefCell::default();
    Box::new(move |event| match event {
        Event::Checking { file } => eprintln!("checking {file}"),
        Event::Waiting => eprintln!("another process is downloading this model; waiting"),
        Event::Fetching { source } => eprintln!("downloading from {source}"),
        Event::Bytes { done, total, .. } => {
            let mut bar = bar.borrow_mut();
            let shown = bar.get_or_insert_with(|| bytes_bar(total));
            shown.set_length(total);
            shown.set_position(done);
            if done >= total {
                shown.finish();
                *bar = None;
            }
        }
        Event::Failed { source, reason } => eprintln!("{source}: {reason}"),
        _ => {}
    })
}

fn bytes_bar(total: u64) -> ProgressBar {
    styled(total, "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")
}

fn styled(total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar of things that are done one by one; nothing where standard error is no terminal.
pub fn counting(what: String, total: usize) -> ProgressBar {
    styled(total as u64, "{msg} {bar:30} {pos}/{len}, {eta} left").with_message(what)
}

/// Shows a build: a bar where standard error is a terminal, a line a step where it is not.
pub struct Building {
    bar: ProgressBar,
    lines: bool,
    /// Tenths of the corpus that are done.
    tenths: u64,
    /// When the last of them was, and what had been embedded. What was taken over from an earlier run
    /// says nothing of the time that is left.
    mark: (f64, Progress),
    said: String,
}

impl Building {
    /// Shows nothing when `quiet`.
    pub fn new(quiet: bool) -> Building {
        use std::io::IsTerminal;
        let terminal = std::io::stderr().is_terminal();
        let bar = if quiet || !terminal {
            ProgressBar::hidden()
        } else {
            styled(0, "{msg} {bar:30} {bytes}/{total_bytes}, {eta} left")
        };
        let (lines, mark) = (!quiet && !terminal, Default::default());
        Building { bar, lines, tenths: 0, mark, said: String::new() }
    }

    /// Takes notice of a step.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Resuming { passages } => {
                self.say(format!("resuming: {passages} passages were embedded before"));
            }
            Step::Passages(now) => self.passages(now),
            Step::Graph { vectors, done: 0 } => self.say(format!("connecting {vectors} vectors")),
            Step::Graph { vectors, done } => {
                self.bar.set_message(format!("connecting vectors: {done} of {vectors}"));
            }
            Step::Snapshot { component } => self.say(format!("filling the {component}")),
            Step::Writing => self.say("writing the bundle".to_owned()),
        }
    }

    fn passages(&mut self, now: Progress) {
        let elapsed = self.bar.elapsed().as_secs_f64();
        let (then, before) = self.mark;
        let seconds = (elapsed - then).max(1e-3);
        let Progress { bytes, total_bytes, documents, passages } = now;
        let rate = (passages - before.passages) as f64 / seconds;
        self.bar.set_length(total_bytes);
        self.bar.set_position(bytes);
        self.bar.set_message(format!(
            "embedding: {documents} documents, {passages} passages, {rate:.0}/s"
        ));
        let tenths = (bytes * 10).checked_div(total_bytes).unwrap_or(10);
        if tenths <= self.tenths {
            return;
        }
        (self.tenths, self.mark) = (tenths, (elapsed, now));
        if self.lines {
            let a_byte = seconds / (bytes - before.bytes).max(1) as f64;
            let left = a_byte * total_bytes.saturating_sub(bytes) as f64;
            let left = Duration::from_secs_f64(left.clamp(0.0, 1e9)).as_secs();
            eprintln!(
                "embedding: {tenths}0 %, {documents} documents, {passages} passages, {rate:.0}/s, \
                 {left} s left"
            );
        }
    }

    fn say(&mut self, text: String) {
        self.bar.set_message(text.clone());
        if self.lines && text != self.said {
            eprintln!("{text}");
            self.said = text;
        }
    }

    /// Clears the bar.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}
