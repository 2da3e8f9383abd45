//! A test collection on disk, in the layout of the BEIR benchmark (Thakur et al., 2021).
//!
//! ```text
//! corpus.jsonl[.gz]   {"_id", "title", "text"}
//! queries.jsonl[.gz]  {"_id", "text"}
//! qrels/test.tsv      query-id <tab> corpus-id <tab> score, under a header line
//! qa.jsonl[.gz]       {"_id", "question", "passage_id", "answers": [{"text", "answer_start"}]}
//! unanswerable.jsonl[.gz]  the same, without answers
//! ```
//!
//! The last two are optional and ours: questions whose answers are spans of a passage, as in SQuAD,
//! and questions about a passage that it does not answer, as in SQuAD 2.0.
//! Fields that are not named here are ignored.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lines::Lines;
use crate::{Error, Qrels, Result};

/// One document of the corpus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Document {
    /// The id that qrels and runs name it by.
    #[serde(rename = "_id")]
    pub id: String,
    /// Empty where the corpus gives none.
    #[serde(default)]
    pub title: String,
    /// The body.
    #[serde(default)]
    pub text: String,
}

/// One query.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Query {
    /// The id that qrels and runs name it by.
    #[serde(rename = "_id")]
    pub id: String,
    /// What is asked.
    pub text: String,
}

/// A question with the spans of one passage that answer it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// The question's id, the same as its query's.
    #[serde(rename = "_id")]
    pub id: String,
    /// What is asked.
    pub question: String,
    /// The id of the document that holds the answers.
    pub passage_id: String,
    /// Every accepted answer; empty where the collection names the passage alone.
    #[serde(default)]
    pub answers: Vec<Answer>,
}

/// One accepted answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// The words of the passage that answer the question.
    pub text: String,
    /// Where they begin in the passage's text, in Unicode scalar values from 0 (as SQuAD counts).
    pub answer_start: usize,
}

impl Answer {
    /// The answer's bytes in `passage`, or `None` if the passage does not read so there.
    pub fn byte_range(&self, passage: &str) -> Option<Range<usize>> {
        let start = match passage.char_indices().nth(self.answer_start) {
            Some((byte, _)) => byte,
            None if passage.chars().count() == self.answer_start => passage.len(),
            None => return None,
        };
        passage[start..].starts_with(&self.text).then(|| start..start + self.text.len())
    }
}

/// A BEIR folder. Opening it reads nothing yet; each method reads its own file.
#[derive(Debug, Clone)]
pub struct Collection {
    folder: PathBuf,
}

impl Collection {
    /// Opens the folder, checking that its corpus and queries are there.
    ///
    /// # Errors
    /// [`Error::Missing`] names the file that is not.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let collection = Self { folder: folder.into() };
        collection.required("corpus.jsonl")?;
        collection.required("queries.jsonl")?;
        Ok(collection)
    }

    /// The collection's name: its folder's.
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Streams the corpus; memory is bounded by its longest document.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; each item may be an [`Error::Line`].
    pub fn documents(&self) -> Result<Documents> {
        Documents::open(&self.required("corpus.jsonl")?)
    }

    /// Every query, in the file's order.
    ///
    /// # Errors
    /// As [`Collection::documents`], and an [`Error::Line`] for an id that comes twice.
    pub fn queries(&self) -> Result<Vec<Query>> {
        read_unique(&self.required("queries.jsonl")?, |query: &Query| &query.id)
    }

    /// The judgements of the `test` split.
    ///
    /// # Errors
    /// As [`Collection::qrels_of`].
    pub fn qrels(&self) -> Result<Qrels> {
        self.qrels_of("test")
    }

    /// The judgements of a split: `qrels/<split>.tsv`.
    ///
    /// # Errors
    /// [`Error::Missing`], or as [`Qrels::read`].
    pub fn qrels_of(&self, split: &str) -> Result<Qrels> {
        let file = format!("qrels/{split}.tsv");
        let path = self.folder.join(&file);
        if !path.is_file() {
            return Err(self.missing(file));
        }
        Qrels::read(&path)
    }

    /// The questions with answer spans, or `None` where the collection has no `qa.jsonl`.
    ///
    /// # Errors
    /// As [`Collection::queries`].
    pub fn questions(&self) -> Result<Option<Vec<Question>>> {
        self.questions_in("qa.jsonl")
    }

    /// The questions that no document answers, or `None` where the collection has no
    /// `unanswerable.jsonl`.
    ///
    /// # Errors
    /// As [`Collection::queries`].
    pub fn unanswerable(&self) -> Result<Option<Vec<Question>>> {
        self.questions_in("unanswerable.jsonl")
    }

    fn questions_in(&self, file: &str) -> Result<Option<Vec<Question>>> {
        let path = self.find(file);
        path.map(|path| read_unique(&path, |question: &Question| &question.id)).transpose()
    }

    fn find(&self, file: &str) -> Option<PathBuf> {
        [file.to_owned(), format!("{file}.gz")]
            .iter()
            .map(|name| self.folder.join(name))
            .find(|path| path.is_file())
    }

    fn required(&self, file: &str) -> Result<PathBuf> {
        self.find(file).ok_or_else(|| self.missing(file.to_owned()))
    }

    fn missing(&self, file: String) -> Error {
        Error::Missing { folder: self.folder.clone(), file }
    }
}

/// The corpus, one document at a time. Ends after its first error.
pub struct Documents(JsonLines<Document>);

impl Documents {
    fn open(path: &Path) -> Result<Self> {
        JsonLines::open(path).map(Self)
    }
}

impl Iterator for Documents {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// A JSON value on each line.
struct JsonLines<T> {
    lines: Lines,
    failed: bool,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self { lines: Lines::open(path)?, failed: false, item: PhantomData })
    }

    fn read(&mut self) -> Result<Option<T>> {
        let Some(line) = self.lines.next()? else {
            return Ok(None);
        };
        match serde_json::from_str(line) {
            Ok(item) => Ok(Some(item)),
            Err(error) => Err(self.lines.error(error.to_string())),
        }
    }
}

impl<T: DeserializeOwned> Iterator for JsonLines<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

/// All of a JSON-lines file whose ids may come only once.
fn read_unique<T: DeserializeOwned>(path: &Path, id: impl Fn(&T) -> &String) -> Result<Vec<T>> {
    let mut lines = JsonLines::open(path)?;
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    while let Some(item) = lines.read()? {
        if !seen.insert(id(&item).clone()) {
            let reason = format!("the id {:?} comes a second time", id(&item));
            return Err(lines.lines.error(reason));
        }
        items.push(item);
    }
    Ok(items)
}
