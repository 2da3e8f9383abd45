//! What waits for a device, and what of it goes next. Knows no thread and reads no clock.
//!
//! Work goes in the order of a virtual deadline: its arrival plus [`AGEING`] times what it is
//! thought to take. So the short goes ahead of the long, and nothing waits for ever: what takes a
//! second is overtaken only by what comes within [`AGEING`] seconds of it. Work that is longer
//! than a slice goes a slice at a time, and gives way between two of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::Piecewise;

/// How many times its own duration a piece of work lets later, shorter work go first.
const AGEING: f64 = 4.0;

/// How long a slice is to take: what short work waits at most for long work under way.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// Tokens of the shortest slice, however slow the device: a forward pass reads all weights.
const LEAST: usize = 256;

/// Tokens of a slice, and tokens a second, until a device has shown what it can do.
const FIRST_SLICE: usize = 1024;
const FIRST_PACE: f64 = 10_000.0;

/// Waiting and unfinished work, the next first.
pub(super) struct Line<T: Piecewise> {
    jobs: Vec<Queued<T>>,
    /// Of each key.
    paces: BTreeMap<usize, Pace>,
}

/// A job and how far it has come.
struct Queued<T> {
    job: T,
    /// Arrival plus ageing.
    due: Instant,
    /// Its next piece.
    next: usize,
}

/// Some pieces of one of the line's jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// The job's place in the line.
    pub(super) at: usize,
    pub(super) pieces: Range<usize>,
}

/// How fast a device is at one model: recent batches count most, and large ones more.
#[derive(Default)]
struct Pace {
    seconds: f64,
    tokens: f64,
}

impl Pace {
    fn add(&mut self, tokens: usize, taken: Duration) {
        const KEPT: f64 = 0.9;
        self.seconds = self.seconds * KEPT + taken.as_secs_f64();
        self.tokens = self.tokens * KEPT + tokens as f64;
    }

    /// Tokens a second; `None` before anything was measured.
    fn tokens_per_second(&self) -> Option<f64> {
        (self.tokens > 0.0 && self.seconds > 0.0).then(|| self.tokens / self.seconds)
    }
}

impl<T: Piecewise> Line<T> {
    pub(super) fn new() -> Line<T> {
        Line { jobs: Vec::new(), paces: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn get(&self, at: usize) -> &T {
        &self.jobs[at].job
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        &mut self.jobs[at].job
    }

    /// Lines a job up that arrived at `now`.
    pub(super) fn push(&mut self, job: T, now: Instant) {
        let takes = self.takes(job.key(), job.tokens(0..job.pieces()));
        let due = now + takes.mul_f64(AGEING);
        let at = self.jobs.partition_point(|queued| queued.due <= due);
        self.jobs.insert(at, Queued { job, due, next: 0 });
    }

    /// Takes out what `gone` says of each job and the time it still needs.
    pub(super) fn remove(&mut self, gone: impl Fn(&T, Duration) -> bool) -> Vec<T> {
        let takes: Vec<Duration> = self.jobs.iter().map(|queued| self.left(queued)).collect();
        let mut takes = takes.into_iter();
        let leaves = |queued: &mut Queued<T>| gone(&queued.job, takes.next().unwrap_or_default());
        self.jobs.extract_if(.., leaves).map(|queued| queued.job).collect()
    }

    /// The next batch: pieces of work of one key, a slice of it and at most `most(key)` tokens.
    ///
    /// The first in line always goes, if only with one piece. Others join it where they fit whole;
    /// and what is left by one that has to be cut is filled with cuttings of the next, since who
    /// is cut waits for more than this batch anyway. Work of the key `after` goes only where no
    /// other waits.
    pub(super) fn next(&self, most: impl Fn(&T) -> usize, after: Option<usize>) -> Vec<Share> {
        let other = |queued: &Queued<T>| Some(queued.job.key()) != after;
        let first = self.jobs.iter().position(other).unwrap_or(0);
        let Some(Queued { job, .. }) = self.jobs.get(first) else {
            return vec![];
        };
        let key = job.key();
        let mut room = self.slice(key).min(most(job));
        let (mut shares, mut cut) = (Vec::new(), false);
        for (at, Queued { job, next, .. }) in self.jobs.iter().enumerate().skip(first) {
            if job.key() != key {
                continue;
            }
            let mut end = fitting(job, *next, room);
            if at == first {
                end = even(job, *next, end.max(next + 1).min(job.pieces()), room);
                cut = end < job.pieces();
            }
            if end > *next && (at == first || cut || end == job.pieces()) {
                room = room.saturating_sub(job.tokens(*next..end));
                shares.push(Share { at, pieces: *next..end });
            }
        }
        shares
    }

    /// Takes note of a batch that was computed, and takes out the jobs it ended.
    pub(super) fn advance(&mut self, shares: &[Share], taken: Duration) -> Vec<T> {
        let mut tokens = 0;
        let mut key = None;
        for Share { at, pieces } in shares {
            let queued = &mut self.jobs[*at];
            tokens += queued.job.tokens(pieces.clone());
            key = Some(queued.job.key());
            queued.next = pieces.end;
        }
        if let Some(key) = key {
            self.paces.entry(key).or_default().add(tokens, taken);
        }
        let ended = |queued: &mut Queued<T>| queued.next >= queued.job.pieces();
        self.jobs.extract_if(.., ended).map(|queued| queued.job).collect()
    }

    /// Takes out the jobs of a batch that failed.
    pub(super) fn fail(&mut self, shares: &[Share]) -> Vec<T> {
        let mut at = 0..;
        let failed = |_: &mut Queued<T>| {
            let at = at.next();
            shares.iter().any(|share| Some(share.at) == at)
        };
        self.jobs.extract_if(.., failed).map(|queued| queued.job).collect()
    }

    /// Tokens that a slice of a model's work has.
    fn slice(&self, key: usize) -> usize {
        match self.paces.get(&key).and_then(Pace::tokens_per_second) {
            Some(pace) => ((pace * SLICE.as_secs_f64()) as usize).max(LEAST),
            None => FIRST_SLICE,
        }
    }

    /// What is left of a job, in time; nothing where no pace is known.
    fn left(&self, queued: &Queued<T>) -> Duration {
        let Queued { job, next, .. } = queued;
        match self.paces.contains_key(&job.key()) {
            true => self.takes(job.key(), job.tokens(*next..job.pieces())),
            false => Duration::ZERO,
        }
    }

    /// What tokens of a model take.
    fn takes(&self, key: usize, tokens: usize) -> Duration {
        let pace = self.paces.get(&key).and_then(Pace::tokens_per_second);
        Duration::try_from_secs_f64(tokens as f64 / pace.unwrap_or(FIRST_PACE))
            .unwrap_or(Duration::MAX)
    }
}

/// The end of the pieces from `next` that fit into `room` tokens together.
fn fitting<W: Piecewise>(work: &W, next: usize, room: usize) -> usize {
    let fits = |end: &usize| work.tokens(next..*end) <= room;
    (next + 1..=work.pieces()).take_while(fits).last().unwrap_or(next)
}

/// Where to cut a piece of work that fits as far as `end`, so that no slice of it is much shorter
/// than the others: a short pass keeps fewer threads busy.
fn even<W: Piecewise>(work: &W, next: usize, end: usize, room: usize) -> usize {
    let left = work.tokens(next..work.pieces());
    let share = left.div_ceil(left.div_ceil(room.max(1)).max(1));
    (next + 1..end).find(|&cut| work.tokens(next..cut) >= share).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Piecework;
    use super::*;

    /// A line in which a model takes a millisecond for `per_ms` tokens: a slice is 100 of them.
    fn at_pace(per_ms: usize) -> (Line<Piecework>, Instant) {
        let mut line = Line::new();
        for key in [1, 2] {
            line.paces.entry(key).or_default().add(per_ms * 1000, Duration::from_secs(1));
        }
        (line, Instant::now())
    }

    /// Names of the next batch's jobs and their pieces, which are then taken as computed.
    fn go(line: &mut Line<Piecework>) -> Vec<(&'static str, Range<usize>)> {
        let shares = line.next(|_| usize::MAX, None);
        let named = shares.iter().map(|s| (line.jobs[s.at].job.name, s.pieces.clone())).collect();
        let work = |share: &Share| line.jobs[share.at].job.tokens(share.pieces.clone());
        let tokens: usize = shares.iter().map(work).sum();
        let taken = line.takes(line.jobs[0].job.key(), tokens);
        line.advance(&shares, taken);
        named
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn long_work_is_cut_and_short_work_goes_between() {
        let (mut line, now) = at_pace(10); // slices of 1000
        line.push(Piecework::new("long", 1, &[100; 25]), now);
        assert_eq!(go(&mut line), [("long", 0..9)]);
        line.push(Piecework::new("short", 1, &[10]), now + ms(50));
        line.push(Piecework::new("brief", 1, &[20]), now + ms(50));
        // Alone: what has to be cut would make them wait for a whole slice.
        assert_eq!(go(&mut line), [("short", 0..1), ("brief", 0..1)]);
        assert_eq!(go(&mut line), [("long", 9..17)]);
        assert_eq!(go(&mut line), [("long", 17..25)]);
        assert!(line.is_empty() && line.next(|_| 1, None).is_empty());
    }

    #[test]
    fn long_work_ages() {
        let (mut line, now) = at_pace(10);
        // 200 ms of work: overtaken by what is due within 800.
        line.push(Piecework::new("long", 1, &[1000; 2]), now);
        line.push(Piecework::new("early", 1, &[1000]), now + ms(390));
        line.push(Piecework::new("late", 1, &[1000]), now + ms(410));
        assert_eq!(go(&mut line), [("early", 0..1)]);
        assert_eq!(go(&mut line), [("long", 0..1)]);
        assert_eq!(go(&mut line), [("long", 1..2)]);
        assert_eq!(go(&mut line), [("late", 0..1)]);
    }

    #[test]
    fn equals_go_in_order_of_arrival_and_fill_each_others_slices() {
        let (mut line, now) = at_pace(10);
        for name in ["a", "b", "c"] {
            line.push(Piecework::new(name, 1, &[300; 4]), now);
        }
        assert_eq!(go(&mut line), [("a", 0..2), ("b", 0..1)]);
        // What is left of "a" fits, and so would "b" in part; but "a" is not cut any more.
        assert_eq!(go(&mut line), [("a", 2..4)]);
        line.push(Piecework::new("small", 1, &[50]), now + ms(500));
        assert_eq!(go(&mut line), [("b", 1..4), ("small", 0..1)]);
    }

    #[test]
    fn models_do_not_mix_and_a_device_bounds_its_batches() {
        let (mut line, now) = at_pace(10);
        line.push(Piecework::new("one", 1, &[10]), now);
        line.push(Piecework::new("two", 2, &[10]), now);
        line.push(Piecework::new("other one", 1, &[10]), now);
        assert_eq!(line.next(|_| 15, None), [Share { at: 0, pieces: 0..1 }]);
        assert_eq!(go(&mut line), [("one", 0..1), ("other one", 0..1)]);
        assert_eq!(go(&mut line), [("two", 0..1)]);
    }

    #[test]
    fn what_has_just_been_gives_way_to_what_waits() {
        let (mut line, now) = at_pace(10);
        line.push(Piecework::new("again", 1, &[10]), now);
        let first = |line: &Line<Piecework>| line.next(|_| usize::MAX, Some(1))[0].at;
        assert_eq!(first(&line), 0, "nothing else waits");
        line.push(Piecework::new("long", 2, &[1000; 9]), now);
        line.push(Piecework::new("other", 2, &[1]), now + ms(900));
        assert_eq!(first(&line), 1);
        assert_eq!(go(&mut line), [("again", 0..1)]);
    }

    #[test]
    fn a_piece_beyond_every_bound_goes_alone() {
        let (mut line, now) = at_pace(10);
        line.push(Piecework::new("giant", 1, &[5000, 10]), now);
        assert_eq!(go(&mut line), [("giant", 0..1)]);
        assert_eq!(go(&mut line), [("giant", 1..2)]);
    }

    #[test]
    fn slices_follow_the_pace() {
        let (line, _) = at_pace(10);
        assert_eq!((line.slice(1), line.slice(3)), (1000, FIRST_SLICE));
        let (slow, _) = at_pace(1);
        assert_eq!(slow.slice(1), LEAST);
        let mut pace = Pace::default();
        pace.add(100, ms(1000));
        (0..50).for_each(|_| pace.add(1000, ms(100)));
        let now = pace.tokens_per_second().unwrap();
        assert!((9_900.0..10_000.0).contains(&now), "{now}: the first is forgotten");
    }

    #[test]
    fn what_leaves_is_known_by_the_time_it_still_needs() {
        let (mut line, now) = at_pace(10);
        line.push(Piecework::new("a", 1, &[1000; 3]), now);
        line.push(Piecework::new("b", 2, &[1000]), now);
        let left = line.remove(|_, takes| takes > ms(100));
        assert_eq!(left.iter().map(|job| job.name).collect::<Vec<_>>(), ["a"]);
        line.push(Piecework::new("c", 3, &[1_000_000]), now);
        assert!(line.remove(|_, takes| takes > ms(100)).is_empty(), "no pace, no judgement");
        let shares = line.next(|_| usize::MAX, None);
        assert_eq!(line.fail(&shares).len(), 1);
        assert_eq!(line.jobs.len(), 1);
    }

    /// Whatever comes when: every piece is computed once, in order, and no batch is too large.
    #[test]
    fn nothing_is_lost_and_nothing_is_done_twice() {
        let (mut line, now) = at_pace(10);
        let mut random = 1u64;
        let mut draw = move |below: usize| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) as usize % below
        };
        let (mut pushed, mut done) = (BTreeMap::new(), BTreeMap::<usize, usize>::new());
        for step in 0..2000 {
            if draw(3) == 0 || line.is_empty() {
                let sizes: Vec<usize> = (0..1 + draw(30)).map(|_| 1 + draw(400)).collect();
                pushed.insert(step, sizes.len());
                let mut job = Piecework::new("any", 1 + draw(2), &sizes);
                job.number = step;
                job.overhead = draw(50);
                line.push(job, now + ms(step as u64));
            }
            let shares = line.next(|_| 700, None);
            let work = |share: &Share| line.jobs[share.at].job.tokens(share.pieces.clone());
            let tokens: usize = shares.iter().map(work).sum();
            let pieces: usize = shares.iter().map(|share| share.pieces.len()).sum();
            assert!(!shares.is_empty() && (tokens <= 700 || pieces == 1), "{shares:?}");
            for Share { at, pieces } in &shares {
                let so_far = done.entry(line.jobs[*at].job.number).or_default();
                assert_eq!(*so_far, pieces.start);
                *so_far = pieces.end;
            }
            for job in line.advance(&shares, ms(30)) {
                assert_eq!(done[&job.number], pushed[&job.number]);
            }
        }
        for queued in &line.jobs {
            assert_eq!(done.get(&queued.job.number).copied().unwrap_or(0), queued.next);
        }
    }
}
