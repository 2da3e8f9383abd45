//! A device that encoders compute on too.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use trine_kernels::PAGE;

use crate::job::Job;
use crate::scheduler::{Lease, SLICE, Turns};

/// The line of the device, where there is one: an engine's, which answers may begin without.
#[derive(Default)]
pub(super) struct SharedDevice(Mutex<Option<Turns<Job>>>);

impl SharedDevice {
    pub(super) fn line_up_with(&self, turns: Option<Turns<Job>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = turns;
    }

    /// Waits for a turn of about so many tokens; `None` where nobody shares the device.
    pub(super) fn turn(&self, tokens: usize) -> Option<Lease> {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        turns?.ask(tokens)?.blocking_recv().ok()
    }
}

/// How many tokens of prompts a step reads, so that others wait for it no longer than for a slice of
/// any other work. Tokens that are read together cost less each, so there are not too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part(pub(super) usize);

impl Part {
    pub(super) const FIRST: Part = Part(128);

    /// After a step that read so many.
    pub(super) fn after(self, tokens: usize, taken: Duration) -> Part {
        match tokens {
            _ if taken > SLICE => Part((self.0 / 2).max(PAGE)),
            _ if tokens >= self.0 && taken < SLICE / 2 => Part(self.0.saturating_mul(2)),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_takes_about_as_long_as_a_slice() {
        // A device that reads so many tokens in 100 ms comes to rest between half of them and all.
        for pace in [50, 1000, 100_000] {
            let mut part = Part::FIRST;
            for _ in 0..30 {
                part = part.after(part.0, SLICE.mul_f64(part.0 as f64 / f64::from(pace)));
            }
            let pace = pace as usize;
            assert!((pace / 2..=pace).contains(&part.0), "{part:?} at {pace}");
        }
        let (long, none) = (SLICE * 9, Duration::ZERO);
        assert_eq!(Part(PAGE).after(PAGE, long), Part(PAGE), "never fewer");
        assert_eq!(Part(64).after(63, none), Part(64), "there was no more to read");
        assert_eq!(Part(usize::MAX).after(usize::MAX, none), Part(usize::MAX));
    }
}
