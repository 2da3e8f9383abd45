//! From a ranking to what is returned: not too much of one document, not the same thing twice.

use std::collections::BTreeMap;

use crate::index::Index;
use crate::search::{Found, SearchOptions};
use crate::{MAX_TOP_K, Vector};

impl Index {
    /// The first `k` of `ranking`, as [`SearchOptions`] wants them.
    pub(crate) fn select(&self, mut ranking: Vec<Found>, options: &SearchOptions) -> Vec<Found> {
        if let Some(most) = options.per_document {
            // Without diversity the first `k` decide; with it all those that may be chosen do.
            let wanted = if options.diversity.is_some() { usize::MAX } else { options.k };
            ranking = self.spread(ranking, most, wanted);
        }
        if let Some(lambda) = options.diversity {
            ranking.truncate(MAX_TOP_K.max(options.k));
            ranking = self.diversify(ranking, lambda, options.k);
        }
        ranking.truncate(options.k);
        ranking
    }

    /// At most `most` passages of each document, `wanted` of them in all.
    fn spread(&self, ranking: Vec<Found>, most: usize, wanted: usize) -> Vec<Found> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let within = |found: &Found| {
            let count = counts.entry(self.document_of(found.passage)).or_default();
            *count += 1;
            *count <= most
        };
        ranking.into_iter().filter(within).take(wanted).collect()
    }

    /// The `k` of `ranking` that maximal marginal relevance chooses, in its order.
    fn diversify(&self, ranking: Vec<Found>, lambda: f32, k: usize) -> Vec<Found> {
        struct Choice {
            found: Found,
            vector: Vector,
            /// The score, brought into 0 to 1.
            relevance: f32,
            /// The greatest cosine to what was chosen.
            redundancy: f32,
        }
        let (Some(first), Some(last)) = (ranking.first(), ranking.last()) else { return ranking };
        let (least, span) = (last.score, (first.score - last.score).max(f32::MIN_POSITIVE));
        let choices = ranking.iter().filter_map(|&found| {
            let vector = self.vector(found.passage)?;
            let relevance = (found.score - least) / span;
            Some(Choice { found, vector, relevance, redundancy: f32::NEG_INFINITY })
        });
        let mut choices: Vec<Choice> = choices.collect();
        let mut chosen = Vec::with_capacity(k.min(choices.len()));
        while chosen.len() < k && !choices.is_empty() {
            let worth = |choice: &Choice| match chosen.is_empty() {
                true => choice.relevance,
                false => lambda * choice.relevance - (1.0 - lambda) * choice.redundancy,
            };
            // Of equals the first: it ranks higher.
            let better =
                |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
            let worths = choices.iter().map(worth).enumerate();
            let best = worths.reduce(better).map_or(0, |(index, _)| index);
            let choice = choices.remove(best);
            for other in &mut choices {
                other.redundancy = other.redundancy.max(other.vector.cosine(&choice.vector));
            }
            chosen.push(choice.found);
        }
        chosen
    }
}
