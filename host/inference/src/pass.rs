//! What a forward pass holds: slices of jobs to texts to packed tokens.

use trine_kernels::Sequences;

use crate::InferenceError;
use crate::bert::Batch;
use crate::job::Job;
use crate::scheduler::{Piecewise, Slice};

/// A text of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    /// Which slice it belongs to.
    pub(crate) slice: usize,
    pub(crate) job: &'a Job,
    /// Its number in its job.
    pub(crate) text: usize,
}

/// A part of a batch: slices, each with the number of the slice that it is of.
pub(crate) type Part<'a> = Vec<(usize, Slice<'a, Job>)>;

/// Cuts a batch into at most `lanes` parts of about as many tokens, between pieces.
pub(crate) fn lanes<'a>(slices: &[Slice<'a, Job>], lanes: usize) -> Vec<Part<'a>> {
    let pieces = || {
        slices.iter().enumerate().flat_map(|(number, &Slice { work, ref pieces })| {
            let size = move |piece: usize| work.tokens(piece..piece + 1);
            pieces.clone().map(move |piece| (number, work, piece, size(piece)))
        })
    };
    let lane = pieces().map(|(.., size)| size).sum::<usize>().div_ceil(lanes.max(1));
    let (mut parts, mut part, mut taken) = (Vec::new(), Part::new(), 0);
    for (number, work, piece, size) in pieces() {
        // A piece goes where most of it belongs.
        if taken + size / 2 >= lane && parts.len() + 1 < lanes {
            parts.push(std::mem::take(&mut part));
            taken = 0;
        }
        taken += size;
        match part.last_mut() {
            Some((of, slice)) if *of == number => slice.pieces.end = piece + 1,
            _ => part.push((number, Slice { work, pieces: piece..piece + 1 })),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}

/// All texts that the slices need.
pub(crate) fn texts<'a>(slices: &[Slice<'a, Job>]) -> Vec<Text<'a>> {
    let of_slice = |(slice, Slice { work: job, pieces }): (usize, &Slice<'a, Job>)| {
        let job = *job;
        job.texts(pieces.clone()).map(move |text| Text { slice, job, text })
    };
    slices.iter().enumerate().flat_map(of_slice).collect()
}

/// The texts' tokens, one text after another.
pub(crate) fn pack(texts: &[Text]) -> Result<Batch, InferenceError> {
    let (mut words, mut types, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for Text { job, text, .. } in texts {
        let tokens = job.text(*text);
        words.extend(&job.request.words[tokens.clone()]);
        types.extend(&job.request.types[tokens]);
        lengths.push(job.request.lengths[*text]);
    }
    Ok(Batch { words, types, sequences: Sequences::from_lengths(&lengths)? })
}

/// Each slice's first text with each of its others, by number in the pass.
pub(crate) fn pairs(texts: &[Text]) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let mut query = 0;
    for (index, Text { job, text, .. }) in (0..).zip(texts) {
        match (job.compares(), text) {
            (false, _) => {}
            (true, 0) => query = index,
            (true, _) => pairs.push((query, index)),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::Model;
    use crate::request::{Request, Wanted};

    fn job(wanted: Wanted, lengths: &[u32]) -> Job {
        let tokens = lengths.iter().sum::<u32>() as usize;
        let (words, types) = (vec![1; tokens], vec![0; tokens]);
        let request = Request { words, types, lengths: lengths.to_vec(), wanted };
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-cross-encoder");
        Job::new(0, Model::open(folder).unwrap().info(), request)
    }

    #[test]
    fn a_query_goes_with_each_slice_of_its_passages() {
        let scores = job(Wanted::Scores, &[4, 6, 7, 8]);
        let other = job(Wanted::Embeddings, &[2, 3]);
        assert_eq!((scores.pieces(), other.pieces()), (3, 2));
        assert_eq!((scores.tokens(1..3), scores.tokens(0..0), other.tokens(0..2)), (19, 0, 5));
        let slices = [
            Slice { work: &scores, pieces: 1..3 },
            Slice { work: &other, pieces: 1..2 },
            Slice { work: &scores, pieces: 0..1 },
        ];
        let texts = texts(&slices);
        let found: Vec<_> = texts.iter().map(|t| (t.slice, t.text)).collect();
        assert_eq!(found, [(0, 0), (0, 2), (0, 3), (1, 1), (2, 0), (2, 1)]);
        assert_eq!(pairs(&texts), [(0, 1), (0, 2), (4, 5)]);
        let lengths = pack(&texts).unwrap().sequences.ranges().map(|r| r.len()).collect::<Vec<_>>();
        assert_eq!(lengths, [4, 7, 8, 3, 4, 6]);
    }

    #[test]
    fn lanes_share_a_batch_and_lose_nothing() {
        let scores = job(Wanted::Scores, &[4, 6, 7, 8]);
        let other = job(Wanted::Embeddings, &[20, 3]);
        let slices = [&scores, &other].map(|work| Slice { work, pieces: 0..work.pieces() });
        let cut = |count| -> Vec<Vec<(usize, Range<usize>)>> {
            let parts = lanes(&slices, count).into_iter();
            parts.map(|part| part.into_iter().map(|(of, s)| (of, s.pieces)).collect()).collect()
        };
        assert_eq!(cut(1), [vec![(0, 0..3), (1, 0..2)]]);
        assert_eq!(cut(2), [vec![(0, 0..3)], vec![(1, 0..2)]]);
        assert_eq!(cut(3), [vec![(0, 0..2)], vec![(0, 2..3)], vec![(1, 0..2)]]);
        assert_eq!(cut(100).concat().len(), 5, "a lane has whole pieces");
        assert!(lanes(&[], 4).is_empty());
    }
}
