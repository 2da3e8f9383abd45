//! One request: the query is read, compared, and what it finds is written down.

use trine_guest_nn::Embedding;
use trine_guest_nn::bindings::trine::rag::types::{Candidate, Error, Passage, Span};
use trine_index::lexical::Highlighter;
use trine_index::{
    Correction, Filter, FilterError, Found, Fusion, Likeness, MAX_TOP_K, SearchOptions,
    Surroundings, corrected,
};
use trine_text::questions;

use crate::bindings::exports::trine::rag::retriever as wit;
use crate::bundle::Bundle;

/// Holds a request against its limits.
pub fn check(query: &str, options: &wit::RetrievalOptions) -> Result<(), Error> {
    let k = options.top_k as usize;
    let wrong = if query.trim().is_empty() {
        "the query is empty".to_owned()
    } else if k == 0 || k > MAX_TOP_K {
        format!("top_k is {k}; it may be 1 to {MAX_TOP_K}")
    } else if options.per_document == Some(0) {
        "per_document is 0; it may be 1 or more".to_owned()
    } else if let Some(diversity) = options.diversity.filter(|d| !(0.0..=1.0).contains(d)) {
        format!("diversity is {diversity}; it may be 0 to 1")
    } else if let wit::Fusion::ReciprocalRank(k) = options.fusion
        && !(k > 0.0 && k.is_finite())
    {
        format!("the constant of reciprocal rank fusion is {k}; it must be greater than 0")
    } else {
        return Ok(());
    };
    Err(Error::InvalidInput(wrong))
}

/// The passages that are most like `query`.
pub fn retrieve(
    bundle: &Bundle,
    query: &str,
    options: &wit::RetrievalOptions,
) -> Result<wit::Retrieval, Error> {
    let index = &bundle.index;
    let filter = options.filter.as_deref().map(Filter::parse).transpose();
    let admitted = index.admitted(filter.map_err(invalid)?.as_ref());
    let corrections = if options.spelling { index.misspelt(query) } else { vec![] };
    let text = corrected(query, &corrections);
    let parts = if options.decompose { questions::split(&text) } else { vec![text.as_str()] };
    let embeddings = match options.mode {
        wit::Mode::Lexical => vec![],
        wit::Mode::Dense | wit::Mode::Hybrid => embed(bundle, &parts)?,
    };
    let search = SearchOptions {
        k: options.top_k as usize,
        exact: options.exact,
        bm25: bundle.setup.bm25,
        admitted: admitted.map_err(invalid)?,
        per_document: options.per_document.map(|most| most as usize),
        diversity: options.diversity,
    };
    let found = index.search(&likenesses(&parts, &embeddings, options), &search);
    let highlighter = options.highlight.then(|| index.highlighter(&text));
    let candidate = |found: &Found| candidate(bundle, found, highlighter.as_ref());
    Ok(wit::Retrieval {
        candidates: found.iter().filter_map(candidate).collect(),
        truncated_tokens: embeddings.iter().map(|embedding| embedding.truncated).sum(),
        parts: if parts.len() > 1 {
            parts.iter().map(|&part| part.into()).collect()
        } else {
            vec![]
        },
        corrections: corrections.into_iter().map(|c| correction(query, c)).collect(),
    })
}

fn invalid(error: FilterError) -> Error {
    Error::InvalidInput(error.to_string())
}

/// The passages around one.
pub fn around(
    bundle: &Bundle,
    passage: u32,
    surroundings: wit::Surroundings,
) -> Result<Vec<Passage>, Error> {
    let (surroundings, most) = match surroundings {
        wit::Surroundings::Neighbours(most) => (Surroundings::Neighbours(most), most),
        wit::Surroundings::Section(most) => (Surroundings::Section(most), most),
    };
    if most as usize > MAX_TOP_K {
        let wrong = format!("{most} passages around one; there may be {MAX_TOP_K}");
        return Err(Error::InvalidInput(wrong));
    }
    let around = bundle.index.around(passage, surroundings);
    if around.is_empty() {
        return Err(Error::InvalidInput(format!("there is no passage {passage}")));
    }
    Ok(around.into_iter().map(|(id, passage)| record(id, passage)).collect())
}

/// What each part of the query is compared by.
fn likenesses<'a>(
    parts: &[&'a str],
    embeddings: &'a [Embedding],
    options: &wit::RetrievalOptions,
) -> Vec<Likeness<'a>> {
    let fusion = match options.fusion {
        wit::Fusion::Weighted => Fusion::Weighted,
        wit::Fusion::ReciprocalRank(k) => Fusion::ReciprocalRank(k),
    };
    let vectors = embeddings.iter().map(|embedding| &embedding.vector);
    match options.mode {
        wit::Mode::Lexical => parts.iter().map(|text| Likeness::Lexical(text)).collect(),
        wit::Mode::Dense => vectors.map(Likeness::Dense).collect(),
        wit::Mode::Hybrid => {
            vectors.zip(parts).map(|(v, text)| Likeness::Hybrid(v, text, fusion)).collect()
        }
    }
}

/// The vectors of `texts`, of the length that the index holds.
fn embed(bundle: &Bundle, texts: &[&str]) -> Result<Vec<Embedding>, Error> {
    let embeddings = bundle.encoder.embed(texts)?;
    let model = &bundle.setup.model;
    if embeddings.len() != texts.len() {
        let (got, wanted) = (embeddings.len(), texts.len());
        return Err(Error::Inference(format!("`{model}` returned {got} rows for {wanted} texts")));
    }
    let wanted = bundle.index.dimensions();
    let odd = |embedding: &&Embedding| embedding.vector.dimensions() != wanted;
    if let Some(odd) = embeddings.iter().find(odd) {
        let got = odd.vector.dimensions();
        return Err(Error::Inference(format!(
            "`{model}` returned {got} dimensions, the index has {wanted}: it was built with \
             another model"
        )));
    }
    Ok(embeddings)
}

fn candidate(
    bundle: &Bundle,
    found: &Found,
    highlighter: Option<&Highlighter>,
) -> Option<Candidate> {
    let passage = bundle.index.passage(found.passage)?;
    let ranges = highlighter.map(|highlighter| highlighter.ranges(&passage.text));
    let start = passage.start;
    let span = |range: std::ops::Range<usize>| Span {
        start: start + range.start as u64,
        end: start + range.end as u64,
    };
    Some(Candidate {
        passage: record(found.passage, passage),
        score: found.score,
        dense_score: found.cosine,
        lexical_score: found.bm25,
        highlights: ranges.unwrap_or_default().into_iter().map(span).collect(),
    })
}

fn record(id: u32, passage: trine_index::Passage) -> Passage {
    Passage {
        id,
        source: passage.source,
        title: passage.title,
        headings: passage.headings,
        text: passage.text,
        media_type: passage.media_type.as_str().to_owned(),
        start: passage.start,
        end: passage.end,
    }
}

fn correction(query: &str, correction: Correction) -> wit::Correction {
    wit::Correction { written: query[correction.range].to_owned(), read_as: correction.read_as }
}
