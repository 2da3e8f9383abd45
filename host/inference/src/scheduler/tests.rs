//! The scheduler with a device that waits until it is told to go on.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Work that is nothing but sizes, by name.
#[derive(Clone, Debug)]
pub(super) struct Piecework {
    pub(super) name: &'static str,
    pub(super) number: usize,
    pub(super) key: usize,
    pub(super) sizes: Vec<usize>,
    /// Tokens that every batch with pieces of it computes again.
    pub(super) overhead: usize,
}

impl Piecework {
    pub(super) fn new(name: &'static str, key: usize, sizes: &[usize]) -> Piecework {
        Piecework { name, number: 0, key, sizes: sizes.to_vec(), overhead: 0 }
    }
}

impl Piecewise for Piecework {
    fn key(&self) -> usize {
        self.key
    }

    fn pieces(&self) -> usize {
        self.sizes.len()
    }

    fn tokens(&self, pieces: Range<usize>) -> usize {
        match pieces.is_empty() {
            true => 0,
            false => self.overhead + self.sizes[pieces].iter().sum::<usize>(),
        }
    }
}

impl Work for Piecework {
    type Output = Vec<f32>;

    fn output(&self, values: Vec<f32>) -> Vec<f32> {
        values
    }
}

type Told = Vec<(&'static str, Range<usize>)>;

/// A device that says what it was given, and goes on when it is told to. Each piece gives its
/// size.
struct Gated {
    tell: Sender<Told>,
    gate: Receiver<()>,
}

impl Compute<Piecework> for Gated {
    fn most(&self, _key: usize) -> usize {
        10
    }

    fn compute(&mut self, batch: &[Slice<Piecework>]) -> Result<Vec<Vec<f32>>, InferenceError> {
        let told = batch.iter().map(|slice| (slice.work.name, slice.pieces.clone())).collect();
        self.tell.send(told).unwrap();
        self.gate.recv().unwrap();
        assert!(!batch.iter().any(|slice| slice.work.name == "panic"), "as asked");
        let values = |slice: &Slice<Piecework>| {
            slice.work.sizes[slice.pieces.clone()].iter().map(|&size| size as f32).collect()
        };
        Ok(batch.iter().map(values).collect())
    }
}

fn gated(depth: usize) -> (Scheduler<Piecework>, Receiver<Told>, Sender<()>) {
    let (tell, told) = channel();
    let (go, gate) = channel();
    let setup = move || Ok(Box::new(Gated { tell, gate }) as Box<dyn Compute<_>>);
    (Scheduler::start(depth, Arc::new(Metrics::new()), setup).unwrap(), told, go)
}

fn piece(name: &'static str, size: usize) -> Piecework {
    Piecework::new(name, 1, &[size])
}

#[test]
fn what_waits_is_computed_together_and_in_slices() {
    let (scheduler, told, go) = gated(100);
    let submit = |work| scheduler.submit(work, None).unwrap();
    let first = submit(piece("first", 1));
    assert_eq!(told.recv().unwrap(), [("first", 0..1)]);
    // While the device is busy: a long one, and two short ones after it.
    let long = submit(Piecework::new("long", 1, &[6, 4, 7]));
    let short = [submit(piece("a", 2)), submit(piece("b", 3))];
    for batch in [&[("a", 0..1), ("b", 0..1)][..], &[("long", 0..2)], &[("long", 2..3)]] {
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), batch);
    }
    go.send(()).unwrap();
    assert_eq!(long.blocking_recv().unwrap().unwrap(), [6.0, 4.0, 7.0]);
    assert_eq!(first.blocking_recv().unwrap().unwrap(), [1.0]);
    let short = short.map(|pending| pending.blocking_recv().unwrap().unwrap());
    assert_eq!(short, [[2.0], [3.0]]);
}

#[test]
fn a_full_line_refuses_at_once_and_recovers() {
    let (scheduler, told, go) = gated(2);
    let submit = |name| scheduler.submit(piece(name, 10), None);
    let waiting = [submit("a").unwrap(), submit("b").unwrap()];
    assert_eq!(submit("c").unwrap_err(), InferenceError::Busy { waiting: 2 });
    go.send(()).unwrap();
    assert_eq!(told.recv().unwrap(), [("a", 0..1)]);
    assert_eq!(told.recv().unwrap(), [("b", 0..1)], "the first is answered, its place free");
    let last = submit("d").unwrap();
    go.send(()).unwrap();
    go.send(()).unwrap();
    for pending in waiting.into_iter().chain([last]) {
        assert_eq!(pending.blocking_recv().unwrap().unwrap(), [10.0]);
    }
}

#[test]
fn what_nobody_waits_for_is_not_computed_or_not_to_its_end() {
    let (scheduler, told, go) = gated(4);
    let first = scheduler.submit(Piecework::new("first", 1, &[10, 10]), None).unwrap();
    assert_eq!(told.recv().unwrap(), [("first", 0..1)]);
    drop(scheduler.submit(piece("gone", 1), None).unwrap());
    drop(first);
    let last = scheduler.submit(piece("last", 1), None).unwrap();
    go.send(()).unwrap();
    assert_eq!(told.recv().unwrap(), [("last", 0..1)]);
    go.send(()).unwrap();
    assert!(last.blocking_recv().unwrap().is_ok());
}

#[test]
fn what_comes_too_late_is_refused_before_it_is_computed() {
    let (scheduler, told, go) = gated(3);
    let first = scheduler.submit(piece("first", 1), None).unwrap();
    told.recv().unwrap();
    let past = scheduler.submit(piece("past", 1), Some(Instant::now())).unwrap();
    let hour = Instant::now() + Duration::from_secs(3600);
    let last = scheduler.submit(piece("last", 1), Some(hour)).unwrap();
    go.send(()).unwrap();
    assert_eq!(told.recv().unwrap(), [("last", 0..1)]);
    assert_eq!(past.blocking_recv().unwrap(), Err(InferenceError::Late));
    go.send(()).unwrap();
    assert!(first.blocking_recv().unwrap().is_ok() && last.blocking_recv().unwrap().is_ok());
}

#[test]
fn a_panic_is_an_error_and_the_device_goes_on() {
    let (scheduler, told, go) = gated(3);
    let bad = scheduler.submit(piece("panic", 1), None).unwrap();
    told.recv().unwrap();
    go.send(()).unwrap();
    assert!(matches!(
        bad.blocking_recv().unwrap(),
        Err(InferenceError::Failed(text)) if text.contains("as asked")
    ));
    go.send(()).unwrap();
    let good = scheduler.submit(piece("good", 1), None).unwrap();
    assert_eq!(good.blocking_recv().unwrap().unwrap(), [1.0]);
}

#[test]
fn turns_alternate_with_slices_of_long_work() {
    let (scheduler, told, go) = gated(1);
    let turns = scheduler.turns();
    let ask = || turns.ask(0).unwrap();
    // Minutes, as far as is known.
    let long = scheduler.submit(Piecework::new("long", 1, &[400_000; 3]), None).unwrap();
    assert_eq!(told.recv().unwrap(), [("long", 0..1)]);
    let mut turn = ask();
    for piece in 1..4 {
        assert!(turn.try_recv().is_err(), "the device is busy");
        drop(ask());
        go.send(()).unwrap();
        let lease = turn.blocking_recv().unwrap();
        // It is due before the long work, which goes next nevertheless.
        turn = ask();
        assert!(told.try_recv().is_err(), "the device is not its thread's");
        drop(lease);
        if piece < 3 {
            assert_eq!(told.recv().unwrap(), [("long", piece..piece + 1)]);
        }
    }
    assert_eq!(long.blocking_recv().unwrap().unwrap(), [400_000.0; 3]);
    drop(turn.blocking_recv().unwrap());
    drop(scheduler);
    assert!(turns.ask(0).is_none(), "it keeps nothing alive");
}

#[test]
fn nothing_to_do_is_done_at_once() {
    let (scheduler, _told, _go) = gated(1);
    let pending = scheduler.submit(Piecework::new("empty", 1, &[]), None).unwrap();
    assert!(pending.blocking_recv().unwrap().unwrap().is_empty());
}

#[test]
fn a_device_that_cannot_start_is_an_error() {
    type Setup = Result<Box<dyn Compute<Piecework>>, InferenceError>;
    let broken =
        |setup: fn() -> Setup| Scheduler::start(1, Arc::new(Metrics::new()), setup).err().unwrap();
    assert_eq!(broken(|| Err(InferenceError::Stopped)), InferenceError::Stopped);
    assert_eq!(broken(|| panic!("no device")), InferenceError::Failed("no device".to_owned()));
}

#[test]
fn the_last_drop_ends_the_thread() {
    let (scheduler, told, go) = gated(3);
    let pending = scheduler.submit(piece("only", 1), None).unwrap();
    told.recv().unwrap();
    go.send(()).unwrap();
    drop(scheduler);
    assert_eq!(pending.blocking_recv().unwrap().unwrap(), [1.0]);
    assert!(told.recv().is_err(), "the thread and all that it owned are gone");
}
