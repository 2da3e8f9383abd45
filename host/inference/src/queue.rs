//! One owner thread, a bounded queue before it, and batches across callers. Knows no device.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::InferenceError;

/// What the queue must know of a piece of work.
pub(crate) trait Work: Send + 'static {
    /// What it gives.
    type Output: Send + 'static;

    /// Work of equal keys may be computed together.
    fn key(&self) -> usize;

    /// What it takes of a batch's budget.
    fn size(&self) -> usize;
}

/// A piece of work's result, once it is there. Dropping it withdraws the work.
pub(crate) type Pending<T> = oneshot::Receiver<Result<T, InferenceError>>;

/// The thread and the way to it. Dropping it lets the thread finish what it computes, drop the
/// rest, and end.
pub(crate) struct Queue<W: Work> {
    depth: usize,
    /// One permit a waiting piece of work: what bounds the channel.
    places: Arc<Semaphore>,
    sender: Option<mpsc::UnboundedSender<Job<W>>>,
    thread: Option<JoinHandle<()>>,
}

struct Job<W: Work> {
    work: W,
    reply: oneshot::Sender<Result<W::Output, InferenceError>>,
    place: OwnedSemaphorePermit,
}

impl<W: Work> Queue<W> {
    /// Starts a thread that owns what `setup` makes: a function from a batch to one result for
    /// each of its pieces. At most `depth` pieces wait; a batch is filled up to `budget`, and a
    /// larger piece is computed alone.
    pub(crate) fn start<F>(
        depth: usize,
        budget: usize,
        setup: impl FnOnce() -> Result<F, InferenceError> + Send + 'static,
    ) -> Result<Queue<W>, InferenceError>
    where
        F: FnMut(&[W]) -> Result<Vec<W::Output>, InferenceError>,
    {
        let depth = depth.clamp(1, Semaphore::MAX_PERMITS);
        let (sender, receiver) = mpsc::unbounded_channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("trine-device".to_owned())
            .spawn(move || match guarded(setup) {
                Ok(compute) => {
                    let _ = ready.send(Ok(()));
                    Worker { receiver, waiting: VecDeque::new(), budget, compute }.run();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .map_err(|e| InferenceError::Failed(format!("cannot start a thread: {e}")))?;
        started.recv().unwrap_or(Err(InferenceError::Stopped))?;
        let places = Arc::new(Semaphore::new(depth));
        Ok(Queue { depth, places, sender: Some(sender), thread: Some(thread) })
    }

    /// Puts work into the queue; fails at once when that is full.
    pub(crate) fn submit(&self, work: W) -> Result<Pending<W::Output>, InferenceError> {
        let place = self
            .places
            .clone()
            .try_acquire_owned()
            .map_err(|_| InferenceError::Busy { waiting: self.depth })?;
        let (reply, pending) = oneshot::channel();
        let sender = self.sender.as_ref().ok_or(InferenceError::Stopped)?;
        sender.send(Job { work, reply, place }).map_err(|_| InferenceError::Stopped)?;
        Ok(pending)
    }
}

impl<W: Work> Drop for Queue<W> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // The worker catches what it runs; there is nobody to tell of anything else.
            let _ = thread.join();
        }
    }
}

struct Worker<W: Work, F> {
    receiver: mpsc::UnboundedReceiver<Job<W>>,
    /// Taken out of the channel, so that a batch can pick; still holding their places.
    waiting: VecDeque<Job<W>>,
    budget: usize,
    compute: F,
}

impl<W: Work, F: FnMut(&[W]) -> Result<Vec<W::Output>, InferenceError>> Worker<W, F> {
    fn run(mut self) {
        // Once all senders are gone nobody waits for what is left.
        while !self.receiver.is_closed() || !self.receiver.is_empty() {
            if self.waiting.is_empty() {
                match self.receiver.blocking_recv() {
                    Some(job) => self.waiting.push_back(job),
                    None => return,
                }
            }
            while let Ok(job) = self.receiver.try_recv() {
                self.waiting.push_back(job);
            }
            let batch = self.next_batch();
            if !batch.is_empty() {
                self.compute(batch);
            }
        }
    }

    /// The oldest piece of work and whatever fits with it, in order of arrival. The oldest always
    /// goes, so nothing waits for ever; what nobody waits for any more is dropped.
    fn next_batch(&mut self) -> Vec<Job<W>> {
        let mut batch: Vec<Job<W>> = Vec::new();
        let mut size = 0;
        let mut left = VecDeque::new();
        for job in self.waiting.drain(..).filter(|job| !job.reply.is_closed()) {
            let fits = match batch.first() {
                None => true,
                Some(first) => {
                    first.work.key() == job.work.key() && size + job.work.size() <= self.budget
                }
            };
            if fits {
                size += job.work.size();
                batch.push(job);
            } else {
                left.push_back(job);
            }
        }
        self.waiting = left;
        batch
    }

    fn compute(&mut self, batch: Vec<Job<W>>) {
        let (mut works, mut replies) = (Vec::new(), Vec::new());
        for Job { work, reply, place } in batch {
            works.push(work);
            replies.push(reply);
            drop(place); // computing is not waiting
        }
        let results = guarded(|| {
            let results = (self.compute)(&works)?;
            if results.len() != works.len() {
                let text = format!("{} results for {} calls", results.len(), works.len());
                return Err(InferenceError::Failed(text));
            }
            Ok(results)
        });
        match results {
            // A caller that went away meanwhile needs no result.
            Ok(results) => replies.into_iter().zip(results).for_each(|(reply, result)| {
                let _ = reply.send(Ok(result));
            }),
            Err(error) => {
                tracing::error!(%error, calls = works.len(), "a batch failed");
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Runs `work`; a panic becomes an error. A model or kernel leaves nothing half-done behind that
/// a later batch reads, so going on is safe.
fn guarded<T>(work: impl FnOnce() -> Result<T, InferenceError>) -> Result<T, InferenceError> {
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
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Key, size, and what to do.
    struct Piece(usize, usize, &'static str);

    impl Work for Piece {
        type Output = usize;
        fn key(&self) -> usize {
            self.0
        }
        fn size(&self) -> usize {
            self.1
        }
    }

    /// A queue whose thread says what it was given, and goes on when it is told to.
    fn gated(depth: usize) -> (Queue<Piece>, Receiver<Vec<&'static str>>, Sender<()>) {
        let (tell, told) = channel();
        let (go, gate) = channel();
        let setup = move || {
            Ok(move |batch: &[Piece]| {
                tell.send(batch.iter().map(|piece| piece.2).collect::<Vec<_>>()).unwrap();
                gate.recv().unwrap();
                assert!(!batch.iter().any(|piece| piece.2 == "panic"), "as asked");
                Ok(batch.iter().map(|piece| piece.1).collect())
            })
        };
        (Queue::start(depth, 10, setup).unwrap(), told, go)
    }

    #[test]
    fn what_fits_together_is_computed_together() {
        let (queue, told, go) = gated(100);
        let submit = |key, size, name| queue.submit(Piece(key, size, name)).unwrap();
        let first = submit(1, 1, "first");
        assert_eq!(told.recv().unwrap(), ["first"]);
        // While the thread is busy: two keys, one too large to join, one larger than any batch.
        let rest = [
            submit(1, 4, "a"),
            submit(2, 4, "b"),
            submit(1, 7, "large"),
            submit(1, 6, "c"),
            submit(2, 20, "giant"),
        ];
        for batch in [&["a", "c"][..], &["b"], &["large"], &["giant"]] {
            go.send(()).unwrap();
            assert_eq!(told.recv().unwrap(), batch);
        }
        go.send(()).unwrap();
        assert_eq!(first.blocking_recv().unwrap(), Ok(1));
        let sizes = rest.map(|pending| pending.blocking_recv().unwrap().unwrap());
        assert_eq!(sizes, [4, 4, 7, 6, 20]);
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_recovers() {
        let (queue, told, go) = gated(2);
        let submit = |name| queue.submit(Piece(1, 10, name));
        let computing = submit("computing").unwrap();
        told.recv().unwrap();
        let waiting = [submit("a").unwrap(), submit("b").unwrap()];
        assert_eq!(submit("c").unwrap_err(), InferenceError::Busy { waiting: 2 });
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), ["a"]);
        let last = submit("d").unwrap();
        go.send(()).unwrap();
        go.send(()).unwrap();
        go.send(()).unwrap();
        for pending in waiting.into_iter().chain([computing, last]) {
            assert_eq!(pending.blocking_recv().unwrap(), Ok(10));
        }
    }

    #[test]
    fn what_nobody_waits_for_is_not_computed() {
        let (queue, told, go) = gated(3);
        let submit = |name| queue.submit(Piece(1, 1, name)).unwrap();
        let first = submit("first");
        told.recv().unwrap();
        drop(submit("gone"));
        let last = submit("last");
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), ["last"]);
        go.send(()).unwrap();
        assert!(first.blocking_recv().unwrap().is_ok() && last.blocking_recv().unwrap().is_ok());
    }

    #[test]
    fn a_panic_is_an_error_and_the_queue_goes_on() {
        let (queue, told, go) = gated(3);
        let submit = |name| queue.submit(Piece(1, 1, name)).unwrap();
        let bad = submit("panic");
        told.recv().unwrap();
        go.send(()).unwrap();
        assert!(matches!(
            bad.blocking_recv().unwrap(),
            Err(InferenceError::Failed(text)) if text.contains("as asked")
        ));
        go.send(()).unwrap();
        assert_eq!(submit("good").blocking_recv().unwrap(), Ok(1));
    }

    #[test]
    fn a_device_that_cannot_start_is_an_error() {
        type Setup = Result<fn(&[Piece]) -> Result<Vec<usize>, InferenceError>, InferenceError>;
        let broken = |setup: fn() -> Setup| Queue::start(1, 1, setup).err().unwrap();
        assert_eq!(broken(|| Err(InferenceError::Stopped)), InferenceError::Stopped);
        assert_eq!(broken(|| panic!("no device")), InferenceError::Failed("no device".to_owned()));
    }

    #[test]
    fn the_last_drop_ends_the_thread() {
        let (queue, told, go) = gated(3);
        let pending = queue.submit(Piece(1, 1, "only")).unwrap();
        told.recv().unwrap();
        go.send(()).unwrap();
        drop(queue);
        assert_eq!(pending.blocking_recv().unwrap(), Ok(1));
        assert!(told.recv().is_err(), "the thread and all that it owned are gone");
    }
}
