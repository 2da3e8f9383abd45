//! Units to passages: as many as aim at the target, preferably whole blocks.

use std::ops::Range;

use super::units::{Kind, Unit};

/// What passages have to keep to, in tokens.
pub(super) struct Packing<'a> {
    /// At most.
    pub room: usize,
    /// Preferably; at most `room`.
    pub target: usize,
    /// What two neighbours may share.
    pub overlap: usize,
    /// Whether the passage of these units fits the window: the tokens of units need not
    /// quite add up.
    pub fits: &'a dyn Fn(&[Unit]) -> bool,
}

/// Ranges of `units` that make up one passage each, and whether it fits; together they
/// hold every unit, and no two begin or end with the same.
pub(super) fn pack(units: &[Unit], packing: &Packing<'_>) -> Vec<(Range<usize>, bool)> {
    let packer = Packer::new(units, packing);
    let mut passages: Vec<(Range<usize>, bool)> = Vec::new();
    let mut fresh = 0;
    while fresh < units.len() {
        let previous = passages.last().map_or(0, |(range, _)| range.start);
        let mut start = packer.with_overlap(previous, fresh);
        let mut end = packer.end(start, fresh);
        let mut fits = (packing.fits)(&units[start..end]);
        while !fits && (end > fresh + 1 || start < fresh) {
            if end > fresh + 1 {
                end -= 1;
            } else {
                start = fresh;
            }
            fits = (packing.fits)(&units[start..end]);
        }
        passages.push((start..end, fits));
        fresh = end;
    }
    passages
}

struct Packer<'a> {
    units: &'a [Unit],
    packing: &'a Packing<'a>,
    /// Tokens of all units before each.
    before: Vec<usize>,
}

impl<'a> Packer<'a> {
    fn new(units: &'a [Unit], packing: &'a Packing<'a>) -> Self {
        let mut before = vec![0];
        for unit in units {
            before.push(before[before.len() - 1] + unit.tokens);
        }
        Packer { units, packing, before }
    }

    /// A passage of fewer tokens says too little to be found.
    fn tiny(&self) -> usize {
        self.packing.target / 5
    }

    fn tokens(&self, range: Range<usize>) -> usize {
        self.before[range.end] - self.before[range.start]
    }

    /// Where a passage begins whose first new unit is `fresh`: earlier by the whole
    /// sentences that it shares with the previous one, which begins at `previous`.
    fn with_overlap(&self, previous: usize, fresh: usize) -> usize {
        if !matches!(self.units[fresh].kind, Kind::Sentence | Kind::Code) {
            return fresh;
        }
        let mut start = fresh;
        while start > previous + 1
            && self.units[start - 1].kind == Kind::Sentence
            && self.tokens(start - 1..fresh) <= self.packing.overlap
            && self.tokens(start - 1..fresh + 1) <= self.packing.room
        {
            start -= 1;
        }
        start
    }

    /// Where the passage ends that begins at `start` and whose first new unit is `fresh`.
    fn end(&self, start: usize, fresh: usize) -> usize {
        let Packing { room, target, .. } = *self.packing;
        let tiny = self.tiny();
        let limit = self.limit(fresh);
        if self.tokens(start..limit) <= target {
            return limit;
        }
        let mut end = fresh + 1;
        while end < limit && self.tokens(start..end + 1) <= target {
            end += 1;
        }
        // Nothing tiny is left over, before or behind, where it can be helped.
        if end < limit && self.tokens(start..end) < tiny && self.tokens(start..end + 1) <= room {
            end += 1;
        }
        if self.tokens(end..limit) < tiny && self.tokens(start..limit) <= room {
            return limit;
        }
        self.at_block(start, fresh, end, limit)
    }

    /// The last place up to `end` where a block begins, unless the passage would be left
    /// half empty; then a sentence.
    fn at_block(&self, start: usize, fresh: usize, end: usize, limit: usize) -> usize {
        let tiny = self.tiny();
        let begins_block =
            |at: usize| at == limit || self.units[at].block != self.units[at - 1].block;
        let full_enough = |at: usize| 2 * self.tokens(start..at) >= self.packing.target;
        let candidates = (fresh + 1..=end).rev().take_while(|at| full_enough(*at));
        let mut end = candidates.into_iter().find(|at| begins_block(*at)).unwrap_or(end);
        while end > fresh + 1 && self.units[end - 1].kind == Kind::Heading {
            end -= 1;
        }
        while end > fresh + 1
            && self.tokens(end..limit) < tiny
            && self.tokens(start..end - 1) >= tiny
        {
            end -= 1;
        }
        end
    }

    /// As far as a passage from `fresh` may reach: what begins inside a code block ends
    /// with it, for its text is no Markdown.
    fn limit(&self, fresh: usize) -> usize {
        if self.units[fresh].kind != Kind::CodeRest {
            return self.units.len();
        }
        let rest = self.units[fresh..].iter().take_while(|unit| unit.kind == Kind::CodeRest);
        fresh + rest.count()
    }
}
