//! Search: candidates by meaning, by words or by both, as one ranking.

use std::collections::BTreeMap;

use crate::fusion::{self, fuse, reciprocal_ranks};
use crate::index::{Admitted, Index, Part};
use crate::lexical::{Bm25, Inverted, Query};
use crate::{Hit, Vector};

/// How far down a search looks when more than its best is needed.
const DEPTH: usize = 200;

/// What passages are compared with.
#[derive(Clone, Copy)]
pub enum Likeness<'a> {
    /// A query's vector.
    Dense(&'a Vector),
    /// Its words.
    Lexical(&'a str),
    /// Both.
    Hybrid(&'a Vector, &'a str, Fusion),
}

/// How two rankings become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fusion {
    /// By their scores: see [`fusion::fuse`].
    Weighted,
    /// By their ranks: see [`fusion::reciprocal_ranks`].
    ReciprocalRank(f32),
}

/// How passages are searched for.
#[derive(Clone)]
pub struct SearchOptions<'a> {
    /// How many to return.
    pub k: usize,
    /// Compare with every vector instead of walking the graph.
    pub exact: bool,
    /// How words are weighed.
    pub bm25: Bm25,
    /// Which passages may be found.
    pub admitted: Admitted<'a>,
    /// How many passages of one document to return at most.
    pub per_document: Option<usize>,
    /// Maximal marginal relevance, from 0 to 1; see [`Index::search`].
    pub diversity: Option<f32>,
}

/// A passage that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Its number.
    pub passage: u32,
    /// What it ranks by, the greater the better. Compares within one search only.
    pub score: f32,
    /// The cosine of its vector and the query's, where vectors were compared.
    pub cosine: Option<f32>,
    /// Its BM25 score, where words were; 0 if it has none of the query's.
    pub bm25: Option<f32>,
}

impl Index {
    /// The `k` passages that are most like the query, best first; of equals the first. A query of
    /// several `parts` finds what each of them finds: passages rank by their best rank for a part,
    /// and score its reciprocal.
    ///
    /// With `diversity` λ the order is that of maximal marginal relevance (Carbonell and Goldstein,
    /// 1998): each next passage has the greatest `λ score - (1 - λ) cosine`, where the score is
    /// brought into 0 to 1 and the cosine is that of the passage's and the most like one before it.
    pub fn search(&self, parts: &[Likeness], options: &SearchOptions) -> Vec<Found> {
        let plain = options.per_document.is_none() && options.diversity.is_none();
        let mut depth = match parts {
            [Likeness::Dense(_) | Likeness::Lexical(_)] if plain => options.k,
            _ => options.k.max(DEPTH),
        };
        loop {
            let rankings = parts.iter().map(|part| self.rank(part, depth, options)).collect();
            let found = self.select(merge(rankings), options);
            // A document may have so many passages that none of another was looked at.
            let few = options.per_document.is_some() && found.len() < options.k;
            if !few || depth >= self.end() as usize {
                return found;
            }
            depth = depth.saturating_mul(4);
        }
    }

    /// The best `depth` passages of each search, and their scores in both, best first.
    fn rank(&self, likeness: &Likeness, depth: usize, options: &SearchOptions) -> Vec<Found> {
        let parts = self.parts(&options.admitted);
        match *likeness {
            Likeness::Dense(vector) => {
                let hits = nearest(&parts, vector, depth, options.exact);
                hits.into_iter()
                    .map(|hit| Found { cosine: Some(hit.score), ..found(hit) })
                    .collect()
            }
            Likeness::Lexical(text) => {
                let hits = matches(&parts, &queries(&parts, text), depth, options.bm25);
                hits.into_iter().map(|hit| Found { bm25: Some(hit.score), ..found(hit) }).collect()
            }
            Likeness::Hybrid(vector, text, fusion) => {
                let queries = queries(&parts, text);
                let near = nearest(&parts, vector, depth, options.exact);
                let matches = matches(&parts, &queries, depth, options.bm25);
                let candidates = compare(&parts, &queries, vector, [near, matches], options.bm25);
                fused(&candidates, queries.first(), fusion)
            }
        }
    }
}

fn queries<'a>(parts: &[Part<'a>], text: &str) -> Vec<Query<'a>> {
    let indexes: Vec<&Inverted> = parts.iter().map(|part| &part.segment.lexical).collect();
    Query::over(indexes, text)
}

/// The `depth` nearest of all parts, best first.
fn nearest(parts: &[Part], vector: &Vector, depth: usize, exact: bool) -> Vec<Hit> {
    best(parts, depth, |_, part| match exact {
        true => part.segment.graph.scan(vector, depth, part.admitted),
        false => part.segment.graph.search(vector, depth, part.admitted),
    })
}

/// The `depth` best by words of all parts, best first.
fn matches(parts: &[Part], queries: &[Query], depth: usize, bm25: Bm25) -> Vec<Hit> {
    best(parts, depth, |index, part| {
        let accept = |passage| part.admitted.is_none_or(|admitted| admitted.contains(passage));
        let matches = queries[index].search(depth, bm25, accept);
        matches.iter().map(|m| Hit { passage: m.passage, score: m.score }).collect()
    })
}

/// What `search` finds in each part, by the numbers of the whole.
fn best(parts: &[Part], depth: usize, search: impl Fn(usize, &Part) -> Vec<Hit>) -> Vec<Hit> {
    let hits = parts.iter().enumerate().flat_map(|(index, part)| {
        let global = |hit: Hit| Hit { passage: part.first + hit.passage, ..hit };
        search(index, part).into_iter().map(global)
    });
    let mut hits: Vec<Hit> = hits.collect();
    // Each part's are in order already, and a stable sort keeps the order of equals.
    hits.sort_by(|a, b| b.score.total_cmp(&a.score));
    hits.truncate(depth);
    hits
}

/// Both scores of what is near and of what matches, by rising numbers.
fn compare(
    parts: &[Part],
    queries: &[Query],
    vector: &Vector,
    found: [Vec<Hit>; 2],
    bm25: Bm25,
) -> Vec<fusion::Candidate> {
    // The cosine and the BM25 score of each; what a search found has one of them already.
    let mut scores: BTreeMap<u32, [Option<f32>; 2]> = BTreeMap::new();
    for (kind, hits) in found.iter().enumerate() {
        for hit in hits {
            scores.entry(hit.passage).or_default()[kind] = Some(hit.score);
        }
    }
    for (part, query) in parts.iter().zip(queries) {
        let end = part.first + part.segment.len() as u32;
        let own: Vec<_> = scores.range_mut(part.first..end).collect();
        let without = |kind: usize| {
            let missing = own.iter().filter(|(_, scores)| scores[kind].is_none());
            missing.map(|(passage, _)| **passage - part.first).collect()
        };
        let [far, unlike]: [Vec<u32>; 2] = [0, 1].map(without);
        let cosines = part.segment.graph.cosines(vector, &far).into_iter();
        let bm25 = query.scores(&unlike, bm25).into_iter();
        let mut missing: [&mut dyn Iterator<Item = f32>; 2] = [&mut { cosines }, &mut { bm25 }];
        for (_, scores) in own {
            for (score, missing) in scores.iter_mut().zip(&mut missing) {
                *score = score.or_else(|| missing.next());
            }
        }
    }
    let candidate = |(passage, scores): (u32, [Option<f32>; 2])| {
        let [cosine, bm25] = scores.map(Option::unwrap_or_default);
        fusion::Candidate { passage, cosine, bm25 }
    };
    scores.into_iter().map(candidate).collect()
}

/// The candidates in the order of their fused scores.
fn fused(candidates: &[fusion::Candidate], query: Option<&Query>, fusion: Fusion) -> Vec<Found> {
    let scores = match fusion {
        Fusion::Weighted => fuse(query.map(Query::stats).unwrap_or_default(), candidates),
        Fusion::ReciprocalRank(k) => reciprocal_ranks(candidates, k),
    };
    let found = candidates.iter().zip(scores).map(|(candidate, score)| Found {
        passage: candidate.passage,
        score,
        cosine: Some(candidate.cosine),
        bm25: Some(candidate.bm25),
    });
    let mut found: Vec<Found> = found.collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

fn found(hit: Hit) -> Found {
    Found { passage: hit.passage, score: hit.score, cosine: None, bm25: None }
}

/// One ranking of the parts': by the best rank for a part, of equals the earlier part's. Sums of
/// reciprocal ranks would prefer what is middling for all parts to what is best for one.
fn merge(mut rankings: Vec<Vec<Found>>) -> Vec<Found> {
    if rankings.len() == 1 {
        return rankings.remove(0);
    }
    let ranked = rankings.iter().flat_map(|ranking| {
        ranking
            .iter()
            .zip(1..)
            .map(|(found, rank)| (rank, Found { score: 1.0 / rank as f32, ..*found }))
    });
    let mut ranked: Vec<(u32, Found)> = ranked.collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut seen = std::collections::BTreeSet::new();
    ranked.retain(|(_, found)| seen.insert(found.passage));
    ranked.into_iter().map(|(_, found)| found).collect()
}
