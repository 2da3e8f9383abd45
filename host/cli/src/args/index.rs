//! Flags of `trine index`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use trine_node::{Bm25, Chunking, Language, LexicalOptions, Precision};

/// Markdown, HTML, plain text, reStructuredText, PDF and JSONL ({_id, title, text}, plain or .gz).
#[derive(Debug, ClapArgs)]
pub struct Index {
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The bundle to write.
    #[arg(short, long, value_name = "FILE.trine")]
    pub output: PathBuf,
    #[command(flatten)]
    pub build: Build,
    /// Leaves it to the first opening to compile and fill what this machine opens bundles with: for
    /// bundles that are opened elsewhere.
    #[arg(long)]
    pub no_prepare: bool,
    /// Shows no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

/// How a bundle is built.
#[derive(Debug, Clone, ClapArgs)]
pub struct Build {
    /// Model that embeds: a name, or a Hugging Face folder.
    #[arg(long, default_value = "all-MiniLM-L6-v2", value_name = "NAME|DIR")]
    pub embedder: String,
    /// Model that reranks: a cross-encoder, or an encoder, which scores by late interaction.
    #[arg(long, default_value = "trine-reranker", value_name = "NAME|DIR")]
    pub reranker: String,
    /// Model that reads the answer out of passages (question answering), or `none`: then whole
    /// sentences are chosen.
    #[arg(long, default_value = "trine-reader", value_name = "NAME|DIR|none")]
    pub reader: String,
    /// Where documents are cut.
    #[arg(long, value_enum, default_value = "sections")]
    pub chunking: ChunkingArg,
    /// Tokens that neighbouring passages share at most.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=128))]
    pub overlap: u16,
    #[command(flatten)]
    pub words: WordArgs,
    /// How exactly vectors are kept [default: f32 up to 200,000 passages; beyond, f16, or int8
    /// where f16 does not fit].
    #[arg(long, value_enum)]
    pub vectors: Option<VectorsArg>,
    /// Another application than the built-in one: a spin.toml with its components beside it.
    #[arg(long, value_name = "spin.toml")]
    pub app: Option<PathBuf>,
    /// Embeds everything anew instead of going on where a run that did not end was.
    #[arg(long)]
    pub no_resume: bool,
}

/// How words are read and weighed.
#[derive(Debug, Clone, ClapArgs)]
pub struct WordArgs {
    /// Whose inflections do not count when words are compared: a language, or `none`. Of English,
    /// stop words do not count either.
    #[arg(long, default_value = "english", value_name = "LANGUAGE|none", value_parser = language)]
    pub language: LanguageArg,
    /// Plain BM25, to compare with other engines': titles count no more than text, and no code,
    /// compound or phrase counts beside its words.
    #[arg(long)]
    pub plain_bm25: bool,
    /// BM25's k1: how soon more occurrences of a word stop to matter, from 0.
    #[arg(long, default_value_t = 1.2, value_name = "K1", value_parser = |text: &str| number(text, 100.0))]
    pub bm25_k1: f32,
    /// BM25's b: how much a passage's length matters, from 0 to 1.
    #[arg(long, default_value_t = 0.75, value_name = "B", value_parser = |text: &str| number(text, 1.0))]
    pub bm25_b: f32,
}

/// A language, or none.
#[derive(Clone, Copy, Debug)]
pub struct LanguageArg(Option<Language>);

impl WordArgs {
    /// How words are read.
    pub fn lexical(&self) -> LexicalOptions {
        let LanguageArg(language) = self.language;
        match self.plain_bm25 {
            true => LexicalOptions::plain(language),
            false => LexicalOptions::of(language),
        }
    }

    /// How they are weighed.
    pub fn bm25(&self) -> Bm25 {
        Bm25 { k1: self.bm25_k1, b: self.bm25_b }
    }
}

fn language(name: &str) -> Result<LanguageArg, String> {
    if name == "none" {
        return Ok(LanguageArg(None));
    }
    let found = Language::ALL.iter().find(|language| language.name() == name);
    let names = || Language::ALL.iter().map(|language| language.name()).collect::<Vec<_>>();
    let unknown = || format!("it may be none, {}", names().join(", "));
    found.map(|&language| LanguageArg(Some(language))).ok_or_else(unknown)
}

/// Where documents are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ChunkingArg {
    /// At headings, paragraphs and sentences, to fit the embedder's window.
    Sections,
    /// Nowhere: a document is a passage, and what exceeds the window is not read.
    Whole,
}

impl From<ChunkingArg> for Chunking {
    fn from(chunking: ChunkingArg) -> Chunking {
        match chunking {
            ChunkingArg::Sections => Chunking::Sections,
            ChunkingArg::Whole => Chunking::Whole,
        }
    }
}

/// How exactly vectors are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VectorsArg {
    /// 24 bits a number: scores as exact as those of 32-bit floats.
    F32,
    /// 16 bits: scores off by some 0.00001.
    F16,
    /// 8 bits: scores off by some 0.0005.
    Int8,
}

impl From<VectorsArg> for Precision {
    fn from(vectors: VectorsArg) -> Precision {
        match vectors {
            VectorsArg::F32 => Precision::F32,
            VectorsArg::F16 => Precision::F16,
            VectorsArg::Int8 => Precision::Int8,
        }
    }
}

/// A number from 0 to `most`.
fn number(text: &str, most: f32) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=most).contains(&number) { Ok(number) } else { Err(format!("it may be 0 to {most}")) }
}
