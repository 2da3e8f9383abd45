//! The index: a base, and what changed since it was built.
//!
//! ```text
//! numbers   0 .. n            the base's passages; those of removed documents are never found
//!           n .. n + m        the delta's
//! ```
//! The base is as large as it may be and never changes. The delta is small: it is read anew by every
//! instance, and its vectors are compared one by one.

use std::borrow::Cow;
use std::ops::Range;

use crate::lexical::Highlighter;
use crate::{Bitmap, Filter, FilterError, IndexError, Passage, Segment, Vector};

/// Everything that can be found.
pub struct Index {
    base: Segment,
    delta: Option<Delta>,
}

/// What changed since the base was built.
struct Delta {
    segment: Segment,
    /// The base's passages that still are; none where all are.
    live: Option<Bitmap>,
    removed: Vec<u32>,
}

/// Which passages may be found, of each segment; all of a segment that has no bitmap.
#[derive(Clone, Default)]
pub struct Admitted<'a> {
    pub(crate) base: Option<Cow<'a, Bitmap>>,
    pub(crate) delta: Option<Cow<'a, Bitmap>>,
}

/// A segment in its place.
pub(crate) struct Part<'a> {
    pub(crate) segment: &'a Segment,
    /// What its passages' numbers are counted from.
    pub(crate) first: u32,
    pub(crate) admitted: Option<&'a Bitmap>,
}

/// What belongs to a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// So many passages before and after it, of the same document.
    Neighbours(u32),
    /// The passages under the same headings, next to each other, up to so many.
    Section(u32),
}

impl Index {
    /// An index of one segment.
    pub fn new(base: Segment) -> Index {
        Index { base, delta: None }
    }

    /// Lays a delta over the base, in the place of the one before. `removed` are numbers of the
    /// base, rising.
    ///
    /// # Errors
    /// [`IndexError::Delta`], when it does not belong to this base.
    pub fn lay_over(&mut self, segment: Segment, removed: Vec<u32>) -> Result<(), IndexError> {
        let rising = removed.is_sorted_by(|a, b| a < b);
        let vectors = !segment.is_empty() && !self.base.is_empty();
        let wrong = if vectors && segment.dimensions() != self.base.dimensions() {
            Some("its vectors have another length")
        } else if segment.lexical.options() != self.base.lexical.options() {
            Some("its words were read otherwise")
        } else if self.base.len() + segment.len() > u32::MAX as usize {
            Some("it has too many passages")
        } else if !rising || removed.last().is_some_and(|&last| last as usize >= self.base.len()) {
            Some("it removes what there is not")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Err(IndexError::Delta(wrong));
        }
        let live = || {
            let mut live = Bitmap::all(self.base.len());
            removed.iter().for_each(|&passage| live.remove(passage));
            live
        };
        let live = (!removed.is_empty()).then(live);
        self.delta = Some(Delta { segment, live, removed });
        Ok(())
    }

    /// Number of passages that can be found.
    pub fn len(&self) -> usize {
        self.end() as usize - self.delta.as_ref().map_or(0, |delta| delta.removed.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many documents the delta adds, and how many it takes from the base.
    pub fn documents_changed(&self) -> (u32, u32) {
        let Some(Delta { segment, removed, .. }) = &self.delta else { return (0, 0) };
        let mut documents: Vec<u32> =
            removed.iter().map(|&passage| self.base.metadata.document_of(passage)).collect();
        documents.dedup();
        (segment.metadata.documents(), documents.len() as u32)
    }

    /// Length of each vector; 0 when there are none.
    pub fn dimensions(&self) -> usize {
        let delta = || self.delta.as_ref().map_or(0, |delta| delta.segment.dimensions());
        if self.base.is_empty() { delta() } else { self.base.dimensions() }
    }

    /// The passage of this number, unless it was removed.
    pub fn passage(&self, number: u32) -> Option<Passage> {
        let (segment, number) = self.place(number)?;
        segment.passages.get(number)
    }

    /// The vector of a passage, unless it was removed.
    pub fn vector(&self, number: u32) -> Option<Vector> {
        let (segment, number) = self.place(number)?;
        segment.graph.vector(number)
    }

    /// The passages around one, in the document's order, it among them; none where there is no
    /// such passage.
    pub fn around(&self, number: u32, surroundings: Surroundings) -> Vec<(u32, Passage)> {
        let Some((segment, local)) = self.place(number) else { return vec![] };
        let document = segment.metadata.passages_of(segment.metadata.document_of(local));
        let range = match surroundings {
            Surroundings::Neighbours(most) => {
                let end = local.saturating_add(most).saturating_add(1);
                local.saturating_sub(most).max(document.start)..end.min(document.end)
            }
            Surroundings::Section(most) => section(segment, local, document, most.max(1)),
        };
        let first = number - local;
        let passages = range.map(|local| Some((first + local, segment.passages.get(local)?)));
        passages.flatten().collect()
    }

    /// What finds a query's words in passages.
    pub fn highlighter(&self, query: &str) -> Highlighter<'_> {
        self.base.lexical.highlighter(query)
    }

    /// The passages that `filter` admits, without those that were removed.
    ///
    /// # Errors
    /// When it asks for what no document has.
    pub fn admitted(&self, filter: Option<&Filter>) -> Result<Admitted<'_>, FilterError> {
        let live = self.delta.as_ref().and_then(|delta| delta.live.as_ref());
        let Some(filter) = filter else {
            return Ok(Admitted { base: live.map(Cow::Borrowed), delta: None });
        };
        let delta = self.delta.as_ref().map(|delta| &delta.segment.metadata);
        let segments: Vec<_> = [&self.base.metadata].into_iter().chain(delta).collect();
        filter.check(&segments)?;
        let mut base = filter.admitted(&self.base.metadata);
        if let Some(live) = live {
            base.intersect(live);
        }
        let delta = delta.map(|metadata| filter.admitted(metadata));
        Ok(Admitted { base: Some(Cow::Owned(base)), delta: delta.map(Cow::Owned) })
    }

    /// What is the same number for all passages of one document.
    pub(crate) fn document_of(&self, number: u32) -> u32 {
        let document = |(segment, local): (&Segment, u32)| segment.metadata.document_of(local);
        let before =
            if (number as usize) < self.base.len() { 0 } else { self.base.metadata.documents() };
        before + self.place(number).map_or(0, document)
    }

    /// The segments, and which of their passages may be found.
    pub(crate) fn parts<'a>(&'a self, admitted: &'a Admitted) -> Vec<Part<'a>> {
        let base = Part { segment: &self.base, first: 0, admitted: admitted.base.as_deref() };
        let delta = self.delta.as_ref().map(|delta| Part {
            segment: &delta.segment,
            first: self.base.len() as u32,
            admitted: admitted.delta.as_deref(),
        });
        [base].into_iter().chain(delta).collect()
    }

    /// One more than the greatest number.
    pub(crate) fn end(&self) -> u32 {
        (self.base.len() + self.delta.as_ref().map_or(0, |delta| delta.segment.len())) as u32
    }

    /// The segment of a passage that was not removed, and its number there.
    fn place(&self, number: u32) -> Option<(&Segment, u32)> {
        let first = self.base.len() as u32;
        match number.checked_sub(first) {
            Some(number) => Some((&self.delta.as_ref()?.segment, number)),
            None => {
                let live = self.delta.as_ref().and_then(|delta| delta.live.as_ref());
                live.is_none_or(|live| live.contains(number)).then_some((&self.base, number))
            }
        }
    }
}

/// The passages of `document` around `passage` that stand under the same headings, up to `most`,
/// `passage` in the middle as far as they go.
fn section(segment: &Segment, passage: u32, document: Range<u32>, most: u32) -> Range<u32> {
    let headings = |number| segment.passages.headings(number);
    let own = headings(passage);
    let belongs = |&number: &u32| headings(number) == own;
    let reach = most as usize - 1;
    let before = (document.start..passage).rev().take(reach).take_while(belongs).count() as u32;
    let after = (passage + 1..document.end).take(reach).take_while(belongs).count() as u32;
    let end = passage + after + 1;
    let middle = passage.saturating_sub(most / 2).min(end.saturating_sub(most));
    let start = middle.max(passage - before);
    start..end.min(start.saturating_add(most))
}
