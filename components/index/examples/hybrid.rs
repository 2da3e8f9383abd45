//! How good are BM25, dense search and both together? NDCG@10 and hit@5 on test collections.
//!
//! ```console
//! $ cargo run --release -p trine-index --example hybrid -- VECTORS COLLECTION...
//! ```
//!
//! A collection is a BEIR folder. For one called NAME, `VECTORS/NAME.d.f32` holds a unit vector for
//! each document and `VECTORS/NAME.q.f32` one for each judged query, in the files' order:
//! little-endian f32, row after row. `QUERIES=n` stops after n queries. Dense search is exact.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use trine_index::fusion::{Candidate, RECIPROCAL_RANK_K, fuse, reciprocal_ranks};
use trine_index::lexical::{Bm25, Fields, Inverted, LexicalOptions, Query};

/// Candidates from each of the two searches.
const DEPTH: usize = 200;

const METHODS: [&str; 4] = ["bm25", "dense", "rrf", "hybrid"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A document's id and how relevant it is: more than 0.
type Judgements = HashMap<String, f64>;

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

struct Vectors {
    dimensions: usize,
    values: Vec<f32>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let vectors = arguments.next().ok_or("usage: hybrid VECTORS COLLECTION...")?;
    let most = std::env::var("QUERIES").ok().map_or(Ok(usize::MAX), |n| n.parse())?;
    for argument in arguments {
        let folder = Path::new(&argument);
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let documents: Vec<Record> = records(&folder.join("corpus.jsonl.gz"))?;
        let judgements = judgements(&folder.join("qrels/test.tsv"))?;
        let mut queries: Vec<Record> = records(&folder.join("queries.jsonl.gz"))?;
        queries.retain(|query| judgements.contains_key(&query.id));
        queries.truncate(most);
        let of_documents = Vectors::read(&vectors, &format!("{name}.d.f32"), documents.len())?;
        let of_queries = Vectors::read(&vectors, &format!("{name}.q.f32"), queries.len())?;
        let index = Inverted::build(documents.iter().map(fields), LexicalOptions::default())?;
        let (mut ndcg, mut hits) = ([0.0; 4], [0.0; 4]);
        for (number, query) in queries.iter().enumerate() {
            let cosines = of_documents.products(of_queries.row(number));
            for (method, ranking) in rank(&index.query(&query.text), &cosines).iter().enumerate() {
                let ids = ranking.iter().map(|&passage| documents[passage as usize].id.as_str());
                let ids: Vec<&str> = ids.collect();
                let relevant = &judgements[&query.id];
                ndcg[method] += ndcg_at_10(relevant, &ids) / queries.len() as f64;
                let hit = ids.iter().take(5).any(|&id| relevant.contains_key(id));
                hits[method] += f64::from(u8::from(hit)) / queries.len() as f64;
            }
        }
        for (method, name_of) in METHODS.iter().enumerate() {
            let (ndcg, hits) = (ndcg[method], hits[method]);
            println!("{name:24} {name_of:7} NDCG@10 {ndcg:.4}  hit@5 {hits:.3}");
        }
    }
    Ok(())
}

/// The passages by each of [`METHODS`], the best first.
fn rank(query: &Query, cosines: &[f32]) -> [Vec<u32>; 4] {
    let candidates = candidates(query, cosines);
    let bm25 = query.scores(&candidates, Bm25::default());
    let scored: Vec<Candidate> = candidates
        .iter()
        .zip(bm25)
        .map(|(&passage, bm25)| Candidate { passage, cosine: cosines[passage as usize], bm25 })
        .collect();
    let bm25_or_nothing = |c: &Candidate| if c.bm25 > 0.0 { c.bm25 } else { f32::NEG_INFINITY };
    let scores: [Vec<f32>; 4] = [
        scored.iter().map(bm25_or_nothing).collect(),
        scored.iter().map(|c| c.cosine).collect(),
        reciprocal_ranks(&scored, RECIPROCAL_RANK_K),
        fuse(query.stats(), &scored),
    ];
    scores.map(|scores| {
        let mut ranking: Vec<(u32, f32)> = candidates.iter().copied().zip(scores).collect();
        ranking.retain(|(_, score)| score.is_finite());
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranking.into_iter().map(|(passage, _)| passage).collect()
    })
}

/// Gain over the logarithm of the rank (Järvelin and Kekäläinen, 2002), as trec_eval has it.
fn ndcg_at_10(relevant: &Judgements, ranking: &[&str]) -> f64 {
    let discounted = |gains: &mut dyn Iterator<Item = f64>| -> f64 {
        gains.take(10).zip(2..).map(|(gain, rank)| gain / f64::from(rank).log2()).sum()
    };
    let mut ideal: Vec<f64> = relevant.values().copied().collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let gain = |id: &&str| relevant.get(*id).copied().unwrap_or_default();
    discounted(&mut ranking.iter().map(gain)) / discounted(&mut ideal.into_iter())
}

fn fields(document: &Record) -> Fields<'_> {
    Fields { title: &document.title, headings: &[], text: &document.text }
}

/// A JSON value a line.
fn records<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let mut text = String::new();
    GzDecoder::new(File::open(path)?).read_to_string(&mut text)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// What is relevant to each query: `query <tab> document <tab> grade` under a header line.
fn judgements(path: &Path) -> Result<HashMap<String, Judgements>> {
    let mut judgements: HashMap<String, Judgements> = HashMap::new();
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        let mut columns = line.split('\t');
        let mut column = || columns.next().ok_or(format!("three columns, not {line:?}"));
        let (query, document, grade) = (column()?, column()?, column()?.trim().parse()?);
        if grade > 0.0 {
            judgements.entry(query.to_owned()).or_default().insert(document.to_owned(), grade);
        }
    }
    Ok(judgements)
}

/// The best of both searches, by number.
fn candidates(query: &Query, cosines: &[f32]) -> Vec<u32> {
    let mut nearest: Vec<u32> = (0..cosines.len() as u32).collect();
    nearest.sort_by(|&a, &b| cosines[b as usize].total_cmp(&cosines[a as usize]));
    nearest.truncate(DEPTH);
    let matches = query.search(DEPTH, Bm25::default(), |_| true);
    nearest.extend(matches.iter().map(|found| found.passage));
    nearest.sort_unstable();
    nearest.dedup();
    nearest
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
