//! Passages, vectors and queries that are made up, the same at every run.

use std::collections::BTreeMap;

use trine_index::{MediaType, Passage, Value, Vector};
use trine_node::living::{Document, Entry};

/// Floats a vector, as MiniLM gives them.
const DIMENSIONS: usize = 384;
/// Directions in which the vectors of a cluster differ much.
const DIRECTIONS: usize = 32;
/// Words that there are.
const VOCABULARY: f64 = 200_000.0;
/// Words of a passage.
const WORDS: std::ops::Range<u64> = 30..91;
/// Passages of a document.
const PASSAGES: std::ops::Range<u64> = 1..16;
/// Queries.
pub const QUERIES: usize = 500;
/// True neighbours that are looked for.
pub const K: usize = 10;

/// What is asked for.
pub struct Query {
    pub vector: Vector,
    pub words: String,
}

/// SplitMix64 (Steele, Lea & Flood, 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn range(&mut self, range: &std::ops::Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    /// From 0 to 1, without 0.
    fn share(&mut self) -> f64 {
        ((self.draw() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Normally distributed numbers (Box & Muller, 1958).
    fn normal(&mut self, numbers: &mut [f32]) {
        for pair in numbers.chunks_mut(2) {
            let (radius, angle) =
                ((-2.0 * self.share().ln()).sqrt(), std::f64::consts::TAU * self.share());
            for (to, number) in pair.iter_mut().zip([angle.cos(), angle.sin()]) {
                *to = (radius * number) as f32;
            }
        }
    }

    /// A word by Zipf's law: the r-th is r times as rare as the first.
    fn word(&mut self, text: &mut String) {
        let mut rank = VOCABULARY.powf(self.share()) as usize;
        while rank > 0 {
            let letter = |text: &mut String, of: &str, at| text.extend(of.chars().nth(at));
            letter(text, "tnsrlhdcmpbgfvkz", rank % 16);
            letter(text, "aeiou", rank / 16 % 5);
            letter(text, "nrs", rank / 80 % 4);
            rank /= 320;
        }
    }

    fn sentence(&mut self, words: u64, text: &mut String) {
        for word in 0..words {
            if word > 0 {
                text.push_str(if word % 12 == 0 { ". " } else { " " });
            }
            self.word(text);
        }
    }
}

/// Clusters of vectors, as in embeddings of real texts: a hundred vectors a cluster, which differ much
/// in a few directions and little in all.
pub struct Clusters {
    centres: Vec<Vec<f32>>,
    directions: Vec<Vector>,
}

impl Clusters {
    pub fn new(passages: usize) -> Clusters {
        let mut random = Random::new(1);
        let mut row = || {
            let mut row = vec![0.0; DIMENSIONS];
            random.normal(&mut row);
            row
        };
        let mut directions: Vec<Vector> = vec![];
        while directions.len() < DIRECTIONS {
            // Orthogonal to those before (Gram & Schmidt).
            let mut new = row();
            for direction in &directions {
                let along: f32 = new.iter().zip(direction.as_slice()).map(|(a, b)| a * b).sum();
                new.iter_mut().zip(direction.as_slice()).for_each(|(x, d)| *x -= along * d);
            }
            directions.push(Vector::normalized(new));
        }
        let centre = |_| Vector::normalized(row()).as_slice().to_vec();
        let centres = (0..(passages / 100).max(500)).map(centre).collect();
        Clusters { centres, directions }
    }

    fn vector(&self, random: &mut Random) -> Vector {
        let centre = &self.centres[random.draw() as usize % self.centres.len()];
        let (mut along, mut vector) = ([0f32; DIRECTIONS], vec![0f32; DIMENSIONS]);
        random.normal(&mut along);
        random.normal(&mut vector);
        vector.iter_mut().zip(centre).for_each(|(x, centre)| *x = centre + 0.025 * *x);
        for (along, direction) in along.iter().zip(&self.directions) {
            let scaled = 0.18 * along;
            vector.iter_mut().zip(direction.as_slice()).for_each(|(x, d)| *x += scaled * d);
        }
        Vector::normalized(vector)
    }

    /// The vectors of so many passages.
    pub fn vectors(&self, passages: usize, threads: usize) -> Vec<Vector> {
        let mut vectors = vec![Vector::default(); passages];
        let share = passages.div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for (part, some) in vectors.chunks_mut(share).enumerate() {
                scope.spawn(move || {
                    for (at, vector) in some.iter_mut().enumerate() {
                        *vector =
                            self.vector(&mut Random::new(1 << 40 | (part * share + at) as u64));
                    }
                });
            }
        });
        vectors
    }

    /// The queries: of the same clusters, with a few words.
    pub fn queries(&self) -> Vec<Query> {
        let query = |number| {
            let mut random = Random::new(1 << 41 | number as u64);
            let mut words = String::new();
            random.sentence(6, &mut words);
            Query { vector: self.vector(&mut random), words }
        };
        (0..QUERIES).map(query).collect()
    }
}

/// The numbers of the `K` vectors nearest to each query, found by comparing all.
pub fn truth(vectors: &[Vector], queries: &[Query], threads: usize) -> Vec<[u32; K]> {
    let mut truth = vec![[0; K]; queries.len()];
    let share = queries.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (queries, truth) in queries.chunks(share).zip(truth.chunks_mut(share)) {
            scope.spawn(move || {
                let mut best = vec![vec![]; queries.len()];
                // Few vectors at a time, for all queries: they stay in the cache.
                for (part, some) in vectors.chunks(256).enumerate() {
                    for (query, best) in queries.iter().zip(&mut best) {
                        nearer(&query.vector, part * 256, some, best);
                    }
                }
                for (best, truth) in best.iter().zip(truth) {
                    truth.iter_mut().zip(best).for_each(|(to, &(_, number))| *to = number);
                }
            });
        }
    });
    truth
}

fn nearer(query: &Vector, first: usize, vectors: &[Vector], best: &mut Vec<(f32, u32)>) {
    for (vector, number) in vectors.iter().zip(first as u32..) {
        let score = query.cosine(vector);
        if best.len() < K || best.last().is_some_and(|worst| score > worst.0) {
            let place = best.partition_point(|other| other.0 >= score);
            best.insert(place, (score, number));
            best.truncate(K);
        }
    }
}

/// Documents of these vectors' passages.
pub fn documents(vectors: Vec<Vector>) -> Vec<Document> {
    let mut random = Random::new(2);
    let (mut left, mut vectors) = (vectors.len(), vectors.into_iter());
    let mut documents = vec![];
    while left > 0 {
        let count = (random.range(&PASSAGES) as usize).min(left);
        left -= count;
        documents.push(document(documents.len(), vectors.by_ref().take(count), &mut random));
    }
    documents
}

fn document(number: usize, vectors: impl Iterator<Item = Vector>, random: &mut Random) -> Document {
    let source = format!("folder-{}/document-{number}.txt", number / 100);
    let mut title = String::new();
    random.sentence(5, &mut title);
    let vectors: Vec<Vector> = vectors.collect();
    let mut start = 0;
    let passage = |_| {
        let mut text = String::new();
        let words = random.range(&WORDS);
        random.sentence(words, &mut text);
        let end = start + text.len() as u64;
        let passage = Passage {
            source: source.clone(),
            title: title.clone(),
            headings: vec![],
            text,
            media_type: MediaType::Plain,
            start,
            end,
        };
        start = end + 1;
        passage
    };
    let passages: Vec<Passage> = (0..vectors.len()).map(passage).collect();
    let fields = BTreeMap::from([("source".to_owned(), vec![Value::Text(source.clone())])]);
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let entry = Entry { source, digest, fields: 0, passages: passages.len() as u32 };
    Document { entry, passages, vectors, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_makes_the_same_and_the_truth_is_what_is_nearest() {
        let clusters = Clusters::new(300);
        let vectors = clusters.vectors(300, 3);
        assert_eq!(vectors, Clusters::new(300).vectors(300, 1));
        let queries = &clusters.queries()[..5];
        for (query, truth) in queries.iter().zip(truth(&vectors, queries, 2)) {
            assert_eq!(query.words.split_whitespace().count(), 6);
            let score = |number: u32| query.vector.cosine(&vectors[number as usize]);
            let worst = score(truth[K - 1]);
            assert!(truth.is_sorted_by(|&a, &b| score(a) >= score(b)));
            let as_near = (0..300).filter(|&number| score(number) >= worst).count();
            assert_eq!(as_near, K);
        }
        let documents = documents(vectors);
        let passages: Vec<_> = documents.iter().flat_map(|document| &document.passages).collect();
        assert_eq!(passages.len(), 300);
        let words = passages.iter().map(|passage| passage.text.split_whitespace().count());
        assert!(words.clone().all(|words| WORDS.contains(&(words as u64))));
        let bytes = passages.iter().map(|passage| passage.text.len()).sum::<usize>();
        let letters = bytes as f64 / words.sum::<usize>() as f64;
        assert!((5.0..7.0).contains(&letters), "{letters} bytes a word");
    }
}
