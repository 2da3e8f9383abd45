//! A base and a delta together, in every mode: against one segment of the same passages, and by hand.

#[path = "../random/mod.rs"]
mod random;
mod refinements;

use std::collections::{BTreeMap, BTreeSet};

use trine_index::fusion::{self, RECIPROCAL_RANK_K};
use trine_index::lexical::Bm25;
use trine_index::{
    Admitted, Contents, Fields, Filter, Found, Fusion, Index, IndexError, Likeness, MediaType,
    Passage, SearchOptions, Segment, SegmentOptions, SegmentReader, Surroundings, Value, Vector,
};

use random::Random;

const WORDS: [&str; 24] = [
    "lathe",
    "membership",
    "deposit",
    "counter",
    "workshop",
    "repair",
    "evening",
    "coffee",
    "battery",
    "charger",
    "ladder",
    "glove",
    "ERR_503",
    "--dry-run",
    "src/lib.rs",
    "CVE-2024-1",
    "borrow",
    "return",
    "late",
    "fee",
    "euro",
    "week",
    "machine",
    "safety",
];

impl Random {
    fn text(&mut self, words: usize) -> String {
        let word = |_| {
            let widest = self.below(WORDS.len()) + 1;
            WORDS[self.below(widest)]
        };
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    }

    fn vector(&mut self) -> Vector {
        Vector::normalized((0..32).map(|_| self.below(2001) as f32 / 1000.0 - 1.0).collect())
    }
}

/// A passage in two headings' sections by turns, three passages each, of the document `source`.
fn passage(source: &str, number: usize, text: String) -> Passage {
    Passage {
        source: source.to_owned(),
        title: String::new(),
        headings: vec![format!("part {}", number / 3)],
        text,
        media_type: MediaType::Plain,
        start: number as u64 * 1000,
        end: number as u64 * 1000 + 999,
    }
}

fn corpus(count: usize, seed: u64) -> Vec<(Passage, Vector)> {
    let mut random = Random(seed);
    let one = |number: usize| {
        let words = 3 + random.below(20);
        let text = random.text(words);
        (passage(&format!("{}.md", number / 8), number % 8, text), random.vector())
    };
    (0..count).map(one).collect()
}

fn segment(passages: &[(Passage, Vector)]) -> Segment {
    let (passages, vectors): (Vec<_>, Vec<_>) = passages.iter().cloned().unzip();
    let documents = passages.chunk_by(|a, b| a.source == b.source).map(|document| {
        let source = Value::Text(document[0].source.clone());
        (Fields::from([("source".to_owned(), vec![source])]), document.len() as u32)
    });
    let contents = Contents { passages: &passages, vectors, documents: documents.collect() };
    let plain = |passage: &Passage| passage.text.clone();
    let options = SegmentOptions::default();
    Segment::build::<IndexError>(contents, plain, options, &mut |_| Ok(())).unwrap()
}

fn options(k: usize, admitted: Admitted) -> SearchOptions {
    let bm25 = Bm25::default();
    SearchOptions { k, exact: true, bm25, admitted, per_document: None, diversity: None }
}

/// The ways to search for a text and its vector.
fn modes<'a>(text: &'a str, vector: &'a Vector) -> [Likeness<'a>; 4] {
    [
        Likeness::Dense(vector),
        Likeness::Lexical(text),
        Likeness::Hybrid(vector, text, Fusion::Weighted),
        Likeness::Hybrid(vector, text, Fusion::ReciprocalRank(RECIPROCAL_RANK_K)),
    ]
}

fn numbers(found: &[Found]) -> Vec<u32> {
    found.iter().map(|found| found.passage).collect()
}

#[test]
fn base_and_delta_find_what_one_segment_finds() {
    let all = corpus(700, 1);
    let whole = Index::new(segment(&all));
    let mut random = Random(2);
    for cut in [0, 1, 350, 690, 700] {
        let mut split = Index::new(segment(&all[..cut]));
        split.lay_over(segment(&all[cut..]), vec![]).unwrap();
        assert_eq!((split.len(), split.dimensions()), (700, 32));
        for round in 0..30 {
            let words = 1 + random.below(5);
            let text = random.text(words);
            let text = if round % 4 == 0 { format!("\"{text}\"") } else { text };
            let vector = random.vector();
            for likeness in modes(&text, &vector) {
                let of = |index: &Index| {
                    index.search(&[likeness], &options(50, index.admitted(None).unwrap()))
                };
                assert_eq!(of(&split), of(&whole), "{cut} {text}");
            }
        }
    }
}

#[test]
fn hybrid_is_the_fusion_of_all_that_either_finds() {
    let all = corpus(150, 3);
    let index = Index::new(segment(&all));
    let mut random = Random(4);
    for _ in 0..20 {
        let (text, vector) = (random.text(3), random.vector());
        let find =
            |likeness| index.search(&[likeness], &options(200, index.admitted(None).unwrap()));
        let by_words: BTreeMap<u32, f32> =
            find(Likeness::Lexical(&text)).iter().map(|f| (f.passage, f.bm25.unwrap())).collect();
        let mut candidates: Vec<fusion::Candidate> = find(Likeness::Dense(&vector))
            .iter()
            .map(|f| fusion::Candidate {
                passage: f.passage,
                cosine: f.cosine.unwrap(),
                bm25: by_words.get(&f.passage).copied().unwrap_or_default(),
            })
            .collect();
        candidates.sort_by_key(|candidate| candidate.passage);
        let scores = fusion::reciprocal_ranks(&candidates, 60.0);
        let found = find(Likeness::Hybrid(&vector, &text, Fusion::ReciprocalRank(60.0)));
        assert_eq!(found.len(), candidates.len());
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        for found in found {
            let at = candidates.iter().position(|c| c.passage == found.passage).unwrap();
            assert_eq!(
                (found.cosine, found.bm25),
                (Some(candidates[at].cosine), Some(candidates[at].bm25))
            );
            assert_eq!(found.score, scores[at]);
        }
    }
}

#[test]
fn what_was_removed_is_nowhere() {
    let all = corpus(400, 5);
    let mut index = Index::new(segment(&all[..320]));
    // Documents 3, 10 and 11 are gone, 10 came back in the delta.
    let removed: Vec<u32> = (24..32).chain(80..96).collect();
    let mut delta = all[320..].to_vec();
    delta.extend(all[80..88].iter().cloned());
    index.lay_over(segment(&delta), removed.clone()).unwrap();
    assert_eq!(index.len(), 320 - 24 + 88);
    assert_eq!(index.documents_changed(), (11, 3));
    let gone: BTreeSet<u32> = removed.iter().copied().collect();
    let mut random = Random(6);
    for _ in 0..20 {
        let (text, vector) = (random.text(4), random.vector());
        for likeness in modes(&text, &vector) {
            for diversity in [None, Some(0.5)] {
                let options =
                    SearchOptions { diversity, ..options(200, index.admitted(None).unwrap()) };
                let found = numbers(&index.search(&[likeness], &options));
                assert!(!found.is_empty() && found.iter().all(|number| !gone.contains(number)));
            }
        }
    }
    for number in removed {
        assert!(index.passage(number).is_none() && index.vector(number).is_none());
        assert!(index.around(number, Surroundings::Neighbours(2)).is_empty());
    }
    assert_eq!(index.passage(400).as_ref(), Some(&all[80].0));
    assert!(index.passage(408).is_none());
    // The next delta takes the place of this one.
    index.lay_over(segment(&[]), vec![]).unwrap();
    assert_eq!((index.len(), index.documents_changed()), (320, (0, 0)));
    assert_eq!(index.passage(24).as_ref(), Some(&all[24].0));
}

#[test]
fn a_filter_leaves_what_it_admits_in_every_mode() {
    let all = corpus(5000, 20);
    let mut index = Index::new(segment(&all[..4800]));
    index.lay_over(segment(&all[4800..]), (8..16).collect()).unwrap();
    let mut random = Random(21);
    // Document 0, a removed one, and one of the delta: of 8 passages each.
    let filter = r#"{"field": "source", "in": ["0.md", "1.md", "610.md"]}"#;
    let admitted = index.admitted(Some(&Filter::parse(filter).unwrap())).unwrap();
    let expected: Vec<u32> = (0..8).chain(4880..4888).collect();
    for _ in 0..10 {
        // Every word, so that the search by words finds them all.
        let (text, vector) = (WORDS.join(" "), random.vector());
        for likeness in modes(&text, &vector) {
            for exact in [true, false] {
                let options = SearchOptions { exact, ..options(50, admitted.clone()) };
                let mut found = numbers(&index.search(&[likeness], &options));
                found.sort_unstable();
                assert_eq!(found, expected);
            }
        }
    }
    let unknown = Filter::parse(r#"{"field": "colour", "eq": "red"}"#).unwrap();
    assert!(index.admitted(Some(&unknown)).is_err());
}

#[test]
fn a_delta_of_another_base_is_refused() {
    let all = corpus(20, 7);
    let mut index = Index::new(segment(&all));
    for removed in [vec![20], vec![3, 3], vec![4, 2]] {
        assert!(matches!(index.lay_over(segment(&[]), removed), Err(IndexError::Delta(_))));
    }
    let short = [(all[0].0.clone(), Vector::normalized(vec![1.0; 8]))];
    assert!(matches!(index.lay_over(segment(&short), vec![]), Err(IndexError::Delta(_))));
    assert_eq!(index.len(), 20);
}

#[test]
fn parts_come_back_and_must_belong_together() {
    let (one, other) = (segment(&corpus(30, 8)), segment(&corpus(31, 9)));
    let (parts, others) = (bytes(&one), bytes(&other));
    for piece in [1000, usize::MAX] {
        assert_eq!(bytes(&read(&parts, piece).unwrap()), parts);
    }
    for (name, bytes) in &others {
        let mut mixed = parts.clone();
        mixed.insert(name, bytes.clone());
        assert!(matches!(read(&mixed, 1000), Err(IndexError::Counts { .. })), "{name}");
    }
    assert!(SegmentReader::default().is_empty());
    assert!(SegmentReader::default().push("another", &[]).is_err());
    assert!(SegmentReader::default().finish().is_err());
}

fn bytes(segment: &Segment) -> BTreeMap<&'static str, Vec<u8>> {
    let written = segment.parts().into_iter().map(|(name, part)| {
        let mut bytes = vec![];
        part.write(&mut bytes).unwrap();
        (name, bytes)
    });
    written.collect()
}

fn read(parts: &BTreeMap<&'static str, Vec<u8>>, piece: usize) -> Result<Segment, IndexError> {
    let mut reader = SegmentReader::default();
    for (name, bytes) in parts {
        bytes.chunks(piece).try_for_each(|some| reader.push(name, some))?;
    }
    reader.finish()
}

#[test]
fn a_build_can_be_stopped_while_words_are_indexed() {
    let all = corpus(10, 17);
    let (passages, vectors): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let documents = vec![(Fields::new(), 10)];
    let contents = Contents { passages: &passages, vectors, documents };
    let plain = |passage: &Passage| passage.text.clone();
    let mut told = vec![];
    let mut progress = |done| {
        told.push(done);
        Err(IndexError::Passages("stopped"))
    };
    let built = Segment::build(contents, plain, SegmentOptions::default(), &mut progress);
    assert!(matches!(built, Err(IndexError::Passages("stopped"))));
    assert_eq!(told, [0], "no vector is connected yet");
}

#[test]
fn odd_requests_are_harmless() {
    let index = Index::new(segment(&corpus(50, 16)));
    let nothing = Index::new(segment(&[]));
    let odd = [
        Vector::normalized(vec![f32::NAN; 32]),
        Vector::normalized(vec![0.0; 32]),
        Vector::normalized(vec![1.0; 3]),
    ];
    for vector in &odd {
        for likeness in modes("lathe \"", vector) {
            for (k, per_document, diversity) in
                [(0, None, None), (9, Some(0), Some(0.5)), (usize::MAX, Some(1), Some(f32::NAN))]
            {
                let options = SearchOptions {
                    per_document,
                    diversity,
                    ..options(k, index.admitted(None).unwrap())
                };
                assert!(index.search(&[likeness], &options).len() <= 50);
                assert!(nothing.search(&[likeness; 2], &options).is_empty());
            }
        }
    }
}
