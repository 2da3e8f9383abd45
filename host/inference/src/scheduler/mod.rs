//! One owner thread a device, a bounded line of work before it, and batches across callers.
//! Knows no device and no model. What goes next, `line` says.
//!
//! A batch is made when the device is free, of what waits then: nothing waits for others to come.
//! What another thread does on the device has [`Turns`] in the same line.

mod line;
mod metrics;
mod turns;

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::InferenceError;
pub(crate) use line::SLICE;
use line::{Line, Share};
pub(crate) use metrics::Metrics;
use metrics::Outcome;
use turns::Turn;
pub(crate) use turns::{Lease, Turns};

/// What can be done in pieces, such as texts, one after another.
pub(crate) trait Piecewise {
    /// Pieces of equal keys may be computed together.
    fn key(&self) -> usize;

    /// How many pieces it has.
    fn pieces(&self) -> usize;

    /// Tokens that some of its pieces are, computed in one batch.
    fn tokens(&self, pieces: Range<usize>) -> usize;
}

/// What a device's thread does for a caller.
pub(crate) trait Work: Piecewise + Send + 'static {
    /// What it gives.
    type Output: Send + 'static;

    /// What it gives, from all pieces' values in order.
    fn output(&self, values: Vec<f32>) -> Self::Output;
}

/// Some pieces of a piece of work.
#[derive(Clone, Debug)]
pub(crate) struct Slice<'a, W> {
    pub(crate) work: &'a W,
    pub(crate) pieces: Range<usize>,
}

/// What a device's thread does with a batch.
pub(crate) trait Compute<W: Work> {
    /// Tokens that a batch of this key may have at most.
    fn most(&self, key: usize) -> usize;

    /// The values of each slice's pieces. All slices are of one key.
    fn compute(&mut self, batch: &[Slice<W>]) -> Result<Vec<Vec<f32>>, InferenceError>;
}

/// A piece of work's result, once it is there. Dropping it withdraws the work.
pub(crate) type Pending<T> = oneshot::Receiver<Result<T, InferenceError>>;

/// The thread and the way to it. Dropping it lets the thread finish the batch under way, drop the
/// rest, and end.
pub(crate) struct Scheduler<W: Work> {
    depth: usize,
    /// One permit a piece of work: what bounds the channel and the line.
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    sender: Option<mpsc::UnboundedSender<Job<W>>>,
    thread: Option<JoinHandle<()>>,
    /// Keys that were given to [`Turns`], from the last one downwards.
    turns: AtomicUsize,
}

/// What is on its way, until it is done.
struct Job<W: Work> {
    task: Task<W>,
    arrived: Instant,
    deadline: Option<Instant>,
    /// Whether a piece of it has been computed.
    started: bool,
    /// Given back when the job is dropped. Turns need none: who has one asks for no other.
    _place: Option<OwnedSemaphorePermit>,
}

enum Task<W: Work> {
    Call { work: W, values: Vec<f32>, reply: oneshot::Sender<Result<W::Output, InferenceError>> },
    Turn(Turn),
}

impl<W: Work> Job<W> {
    fn new(task: Task<W>, deadline: Option<Instant>, place: Option<OwnedSemaphorePermit>) -> Self {
        Job { task, arrived: Instant::now(), deadline, started: false, _place: place }
    }

    /// Whether nobody waits for it any more.
    fn is_withdrawn(&self) -> bool {
        match &self.task {
            Task::Call { reply, .. } => reply.is_closed(),
            Task::Turn(turn) => turn.is_withdrawn(),
        }
    }

    fn fail(self, error: InferenceError) {
        if let Task::Call { reply, .. } = self.task {
            let _ = reply.send(Err(error));
        }
    }
}

impl<W: Work> Piecewise for Job<W> {
    fn key(&self) -> usize {
        match &self.task {
            Task::Call { work, .. } => work.key(),
            Task::Turn(turn) => turn.key,
        }
    }

    fn pieces(&self) -> usize {
        match &self.task {
            Task::Call { work, .. } => work.pieces(),
            Task::Turn(_) => 1,
        }
    }

    fn tokens(&self, pieces: Range<usize>) -> usize {
        match &self.task {
            Task::Call { work, .. } => work.tokens(pieces),
            Task::Turn(turn) => turn.tokens * pieces.len(),
        }
    }
}

impl<W: Work> Scheduler<W> {
    /// Starts a thread that owns what `setup` makes. At most `depth` pieces of work wait or are
    /// under way.
    pub(crate) fn start(
        depth: usize,
        metrics: Arc<Metrics>,
        setup: impl FnOnce() -> Result<Box<dyn Compute<W>>, InferenceError> + Send + 'static,
    ) -> Result<Scheduler<W>, InferenceError> {
        let depth = depth.clamp(1, Semaphore::MAX_PERMITS);
        let (sender, receiver) = mpsc::unbounded_channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let counted = metrics.clone();
        let thread = std::thread::Builder::new()
            .name("trine-device".to_owned())
            .spawn(move || match guarded(setup) {
                Ok(compute) => {
                    let _ = ready.send(Ok(()));
                    let (line, after, metrics) = (Line::new(), None, counted);
                    Worker { receiver, line, after, compute, metrics }.run();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .map_err(|e| InferenceError::Failed(format!("cannot start a thread: {e}")))?;
        started.recv().unwrap_or(Err(InferenceError::Stopped))?;
        let places = Arc::new(Semaphore::new(depth));
        let (sender, thread, turns) = (Some(sender), Some(thread), AtomicUsize::new(usize::MAX));
        Ok(Scheduler { depth, places, metrics, sender, thread, turns })
    }

    /// Lines work up; fails at once when the line is full. Work that cannot be done by its
    /// deadline is refused as soon as that is known.
    pub(crate) fn submit(
        &self,
        work: W,
        deadline: Option<Instant>,
    ) -> Result<Pending<W::Output>, InferenceError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            self.metrics.count(Outcome::Refused);
            InferenceError::Busy { waiting: self.depth }
        })?;
        let (reply, pending) = oneshot::channel();
        let sender = self.sender.as_ref().ok_or(InferenceError::Stopped)?;
        let job = Job::new(Task::Call { work, values: vec![], reply }, deadline, Some(place));
        sender.send(job).map_err(|_| InferenceError::Stopped)?;
        Ok(pending)
    }

    /// Turns at the device for a thread of the caller's; they keep no scheduler alive.
    pub(crate) fn turns(&self) -> Turns<W> {
        let key = self.turns.fetch_sub(1, Ordering::Relaxed);
        Turns::new(key, self.sender.as_ref().map(mpsc::UnboundedSender::downgrade))
    }
}

impl<W: Work> Drop for Scheduler<W> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // The worker catches what it runs; there is nobody to tell of anything else.
            let _ = thread.join();
        }
    }
}

struct Worker<W: Work> {
    receiver: mpsc::UnboundedReceiver<Job<W>>,
    line: Line<Job<W>>,
    /// The key of the turn that has just been: now others go first, so that neither long work nor a
    /// stream of turns stands in the other's way for longer than a slice.
    after: Option<usize>,
    compute: Box<dyn Compute<W>>,
    metrics: Arc<Metrics>,
}

impl<W: Work> Worker<W> {
    fn run(mut self) {
        // Once all senders are gone nobody waits for what is left.
        while !self.receiver.is_closed() || !self.receiver.is_empty() {
            if self.line.is_empty() {
                match self.receiver.blocking_recv() {
                    Some(job) => self.admit(job),
                    None => return,
                }
            }
            while let Ok(job) = self.receiver.try_recv() {
                self.admit(job);
            }
            self.clear(Instant::now());
            let most = |job: &Job<W>| match &job.task {
                Task::Call { work, .. } => self.compute.most(work.key()),
                Task::Turn(_) => usize::MAX,
            };
            let shares = self.line.next(most, self.after.take());
            if !shares.is_empty() {
                self.batch(&shares);
            }
        }
    }

    fn admit(&mut self, job: Job<W>) {
        match job.pieces() {
            0 => self.answer(job),
            _ => {
                self.metrics.lined_up(1);
                let arrived = job.arrived;
                self.line.push(job, arrived);
            }
        }
    }

    /// Lets go of what nobody waits for any more, and of what comes too late.
    fn clear(&mut self, now: Instant) {
        // An estimate that is wrong by half must not cost anybody an answer.
        let late = |job: &Job<W>, takes: Duration| {
            job.deadline.is_some_and(|deadline| now + takes / 2 > deadline)
        };
        for job in self.line.remove(|job, takes| job.is_withdrawn() || late(job, takes)) {
            self.metrics.lined_up(-1);
            self.metrics.count(match job.is_withdrawn() {
                true => Outcome::Withdrawn,
                false => Outcome::Late,
            });
            job.fail(InferenceError::Late);
        }
    }

    fn batch(&mut self, shares: &[Share]) {
        let now = Instant::now();
        for share in shares {
            let job = self.line.get_mut(share.at);
            if !std::mem::replace(&mut job.started, true) {
                self.metrics.waited(now - job.arrived);
            }
        }
        let tokens = |share: &Share| self.line.get(share.at).tokens(share.pieces.clone());
        let tokens = shares.iter().map(tokens).sum();
        let results = guarded(|| self.compute(shares));
        let taken = now.elapsed();
        match results {
            Ok(results) => {
                self.metrics.computed(tokens, taken);
                for (share, more) in shares.iter().zip(results) {
                    if let Task::Call { values, .. } = &mut self.line.get_mut(share.at).task {
                        match values.is_empty() {
                            true => *values = more,
                            false => values.extend(more),
                        }
                    }
                }
                for job in self.line.advance(shares, taken) {
                    self.metrics.lined_up(-1);
                    self.answer(job);
                }
            }
            Err(error) => {
                tracing::error!(%error, calls = shares.len(), "a batch failed");
                for job in self.line.fail(shares) {
                    self.metrics.lined_up(-1);
                    self.metrics.count(Outcome::Failed);
                    job.fail(error.clone());
                }
            }
        }
    }

    /// The values of each share. A turn, which is a batch of its own, has none.
    fn compute(&mut self, shares: &[Share]) -> Result<Vec<Vec<f32>>, InferenceError> {
        if let [Share { at, .. }] = shares
            && let Task::Turn(turn) = &mut self.line.get_mut(*at).task
        {
            self.after = Some(turn.key);
            turn.give();
            return Ok(vec![vec![]]);
        }
        let slice = |share: &Share| match &self.line.get(share.at).task {
            Task::Call { work, .. } => Some(Slice { work, pieces: share.pieces.clone() }),
            Task::Turn(_) => None,
        };
        let slices: Vec<Slice<W>> = shares.iter().filter_map(slice).collect();
        let results = self.compute.compute(&slices)?;
        if results.len() != shares.len() {
            let text = format!("{} results for {} slices", results.len(), shares.len());
            return Err(InferenceError::Failed(text));
        }
        Ok(results)
    }

    /// A caller that went away meanwhile needs no result.
    fn answer(&self, job: Job<W>) {
        self.metrics.count(Outcome::Done);
        if let Task::Call { work, values, reply } = job.task {
            let _ = reply.send(Ok(work.output(values)));
        }
    }
}

/// Runs `work`; a panic becomes an error. A model or kernel leaves nothing half-done behind that
/// a later batch reads, so going on is safe.
pub(crate) fn guarded<T>(
    work: impl FnOnce() -> Result<T, InferenceError>,
) -> Result<T, InferenceError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic: Box<dyn Any + Send>| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a message");
        Err(InferenceError::Failed(text.to_owned()))
    })
}

#[cfg(test)]
mod tests;
