//! How fast is the lexical index? Built, opened and searched, on generated passages.
//!
//! ```console
//! $ cargo run --release -p trine-index --example lexical_speed -- PASSAGES
//! ```
//!
//! Words follow Zipf's law over a vocabulary of 200,000; a passage has 40 to 200 of them. Queries have
//! six words, drawn from the passages, so that common words are as common in them.

use std::time::Instant;

use trine_index::lexical::{Analysis, Bm25, Fields, Inverted, LexicalOptions, Weights};

/// Words that there are.
const VOCABULARY: f64 = 200_000.0;

const QUERIES: usize = 500;

/// A linear congruential generator (Knuth's MMIX) and Zipf's law by inversion.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn text(&mut self, words: usize) -> String {
        let word = |_| format!("w{}", VOCABULARY.powf(self.uniform()) as u32);
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let passages: usize = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let mut random = Random(1);
    let texts: Vec<String> = (0..passages)
        .map(|_| {
            let words = 40 + (random.uniform() * 160.0) as usize;
            random.text(words)
        })
        .collect();
    // Every word is kept: the most common stands in nearly all passages.
    let analysis = Analysis { language: None, stop_words: true, plain: false };
    let options = LexicalOptions { analysis, weights: Weights::default() };

    let start = Instant::now();
    let fields = texts.iter().map(|text| Fields { text, ..Fields::default() });
    let bytes = Inverted::build(fields, options)?.to_bytes()?;
    let text: usize = texts.iter().map(String::len).sum();
    println!("{passages} passages, {} MB: built in {:.1?}", text >> 20, start.elapsed());
    let start = Instant::now();
    let index = Inverted::from_bytes(&bytes)?;
    println!("{} MB of index opened in {:.1?}", bytes.len() >> 20, start.elapsed());

    let queries: Vec<String> = (0..QUERIES).map(|_| random.text(6)).collect();
    for k in [10, 200] {
        let mut times = Vec::new();
        let mut found = 0;
        for query in &queries {
            let start = Instant::now();
            found += index.query(query).search(k, Bm25::default(), |_| true).len();
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let (median, worst) = (times[QUERIES / 2], times[QUERIES * 99 / 100]);
        println!("top {k}: median {median:.0?}, 99th percentile {worst:.0?} ({found} found)");
    }
    Ok(())
}
