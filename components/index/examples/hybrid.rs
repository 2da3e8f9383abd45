//! How good are BM25, dense search and both together? NDCG@10 and hit@5 on test collections.
//!
//! ```console
//! $ cargo run --release -p trine-index --example hybrid -- VECTORS COLLECTION...
//! ```
//!
//! A collection is a BEIR folder. For one called NAME, `VECTORS/NAME.d.f32` holds a unit vector for
//! each document and `VECTORS/NAME.q.f32` one for each judged query, in the files' order:
//! little-endian f32, row after row. `QUERIES=n` stops after n queries. Dense search is exact.

use std::error::Error;
use std::path::Path;

use trine_eval::{Collection, Document, Metrics, Qrels, Query, Run, evaluate};
use trine_index::fusion::{Candidate, RECIPROCAL_RANK_K, fuse, reciprocal_ranks};
use trine_index::lexical::{Bm25, Fields, Inverted, LexicalOptions};

/// Candidates from each of the two searches.
const DEPTH: usize = 200;

const METHODS: [&str; 4] = ["bm25", "dense", "rrf", "hybrid"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Vectors {
    dimensions: usize,
    values: Vec<f32>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: hybrid VECTORS COLLECTION...")?;
    let most = std::env::var("QUERIES").ok().map_or(Ok(usize::MAX), |n| n.parse())?;
    for argument in arguments {
        let collection = Collection::open(&argument)?;
        let name = collection.name();
        let documents = collection.documents()?.collect::<trine_eval::Result<Vec<_>>>()?;
        let qrels = collection.qrels()?;
        let judged =
            collection.queries()?.into_iter().filter(|query| qrels.get(&query.id).is_some());
        let queries: Vec<Query> = judged.take(most).collect();
        let of_documents = Vectors::read(&folder, &format!("{name}.d.f32"), documents.len())?;
        let of_queries = Vectors::read(&folder, &format!("{name}.q.f32"), queries.len())?;
        report(&name, &rank(&documents, &queries, &of_documents, &of_queries)?, &queries, &qrels)?;
    }
    Ok(())
}

/// A run of each of [`METHODS`].
fn rank(
    documents: &[Document],
    queries: &[Query],
    of_documents: &Vectors,
    of_queries: &Vectors,
) -> Result<[Run; 4]> {
    let index = Inverted::build(documents.iter().map(fields), LexicalOptions::default())?;
    let mut runs: [Run; 4] = Default::default();
    for (number, query) in queries.iter().enumerate() {
        let cosines = of_documents.products(of_queries.row(number));
        let lexical = index.query(&query.text);
        let candidates: Vec<u32> = candidates(&lexical, &cosines);
        let bm25 = lexical.scores(&candidates, Bm25::default());
        let scored: Vec<Candidate> = candidates
            .iter()
            .zip(bm25)
            .map(|(&passage, bm25)| Candidate { passage, cosine: cosines[passage as usize], bm25 })
            .collect();
        let scores = [
            scored.iter().map(|c| if c.bm25 > 0.0 { c.bm25 } else { f32::NEG_INFINITY }).collect(),
            scored.iter().map(|c| c.cosine).collect(),
            reciprocal_ranks(&scored, RECIPROCAL_RANK_K),
            fuse(lexical.stats(), &scored),
        ];
        for (run, scores) in runs.iter_mut().zip(scores) {
            let mut ranking: Vec<(u32, f32)> = candidates.iter().copied().zip(scores).collect();
            ranking.retain(|(_, score)| score.is_finite());
            ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
            let named = |(passage, score)| (documents[passage as usize].id.clone(), score);
            run.insert(&query.id, ranking.into_iter().take(DEPTH).map(named))?;
        }
    }
    Ok(runs)
}

fn fields(document: &Document) -> Fields<'_> {
    Fields { title: &document.title, headings: &[], text: &document.text }
}

/// The best of both searches, by number.
fn candidates(query: &trine_index::lexical::Query, cosines: &[f32]) -> Vec<u32> {
    let mut nearest: Vec<u32> = (0..cosines.len() as u32).collect();
    nearest.sort_by(|&a, &b| cosines[b as usize].total_cmp(&cosines[a as usize]));
    nearest.truncate(DEPTH);
    let matches = query.search(DEPTH, Bm25::default(), |_| true);
    nearest.extend(matches.iter().map(|found| found.passage));
    nearest.sort_unstable();
    nearest.dedup();
    nearest
}

fn report(name: &str, runs: &[Run; 4], queries: &[Query], qrels: &Qrels) -> Result<()> {
    let qrels = qrels.only(queries.iter().map(|query| query.id.as_str()));
    for (method, run) in METHODS.iter().zip(runs) {
        let evaluation = evaluate(&qrels, run)?;
        let hit = |metrics: &Metrics| f64::from(u8::from(metrics.recall_at_5 > 0.0));
        let hits: f64 = evaluation.per_query.values().map(hit).sum();
        let (ndcg, hit) = (evaluation.mean.ndcg_at_10, hits / evaluation.per_query.len() as f64);
        println!("{name:24} {method:7} NDCG@10 {ndcg:.4}  hit@5 {hit:.3}");
    }
    Ok(())
}

impl Vectors {
    /// Reads `count` rows.
    fn read(folder: &str, file: &str, count: usize) -> Result<Vectors> {
        let bytes = std::fs::read(Path::new(folder).join(file))?;
        let (words, rest) = bytes.as_chunks::<4>();
        if count == 0 || !rest.is_empty() || words.len() % count != 0 {
            return Err(format!("{file}: {} bytes are not {count} vectors", bytes.len()).into());
        }
        let values = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        Ok(Vectors { dimensions: words.len() / count, values })
    }

    fn row(&self, number: usize) -> &[f32] {
        &self.values[number * self.dimensions..][..self.dimensions]
    }

    /// The scalar product of each row with `vector`.
    fn products(&self, vector: &[f32]) -> Vec<f32> {
        let product = |row: &[f32]| row.iter().zip(vector).map(|(a, b)| a * b).sum();
        self.values.chunks_exact(self.dimensions).map(product).collect()
    }
}
