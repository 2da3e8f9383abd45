//! Prints the passages of files and folders: `cargo run --example passages -- docs`.
//!
//! With `TRINE_MODEL` set to a model's folder, its `tokenizer.json` counts the tokens,
//! else words are counted.

use std::path::PathBuf;
use std::time::Instant;

use trine_corpus::{Corpus, CutOptions, Cutter, Error, MediaType, ReadOptions};
use trine_text::passage_input;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let words = |text: &str| text.split_whitespace().count();
    let Some(model) = std::env::var_os("TRINE_MODEL") else {
        return print(&paths, &words);
    };
    let mut tokenizer =
        tokenizers::Tokenizer::from_file(PathBuf::from(model).join("tokenizer.json"))
            .map_err(|e| e.to_string())?;
    tokenizer.with_padding(None).with_truncation(None).map_err(|e| e.to_string())?;
    print(&paths, &|text| tokenizer.encode(text, false).map_or(0, |encoded| encoded.len()))
}

fn print(
    paths: &[PathBuf],
    count: &(dyn Fn(&str) -> usize + Sync),
) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let cutter = Cutter::new(count, CutOptions::default());
    let corpus = Corpus::open(paths, ReadOptions::default())?;
    let report = corpus.passages(&cutter, &|_| {}, &mut |passages| {
        for passage in passages {
            let markdown = passage.media_type == MediaType::Markdown;
            let input = passage_input(&passage.title, &passage.headings, &passage.text, markdown);
            let place = format!("{} {}..{}", passage.source, passage.start, passage.end);
            println!(
                "=== {place} ({} tokens) {} > {}",
                count(&input),
                passage.title,
                passage.headings.join(" > ")
            );
            println!("{}", passage.text);
        }
        Ok::<(), Error>(())
    })?;
    eprintln!("{report:#?}\n{:?}", begun.elapsed());
    Ok(())
}
