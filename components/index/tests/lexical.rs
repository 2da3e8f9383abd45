//! The inverted index against what it should find: by brute force, by hand, and from broken bytes.

mod random;

use std::collections::HashMap;

use trine_index::lexical::{
    Analysis, Bm25, Fields, Inverted, Language, LexicalOptions, Match, Weights,
};

use random::Random;

/// Words as they stand, all of them, each field alike: what the naive BM25 below reads.
const VERBATIM: LexicalOptions = LexicalOptions {
    analysis: Analysis { language: None, stop_words: true, plain: false },
    weights: Weights { title: 1, headings: 1, text: 1 },
};

impl Random {
    /// Words of which the first are common and the last rare.
    fn text(&mut self, vocabulary: usize, words: usize) -> String {
        let word = |_| {
            let widest = self.below(vocabulary) + 1;
            format!("w{}", self.below(widest))
        };
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    }
}

fn build(texts: &[String], options: LexicalOptions) -> Inverted {
    let fields = texts.iter().map(|text| Fields { text, ..Fields::default() });
    Inverted::build(fields, options).unwrap()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// The passages that a query finds, best first.
fn found(index: &Inverted, query: &str) -> Vec<u32> {
    let hits = index.query(query).search(10, Bm25::default(), |_| true);
    hits.iter().map(|hit| hit.passage).collect()
}

/// BM25 by its formula, for every passage.
fn naive(texts: &[String], query: &str, bm25: Bm25) -> Vec<f64> {
    let (k1, b) = (f64::from(bm25.k1), f64::from(bm25.b));
    let passages: Vec<Vec<&str>> = texts.iter().map(|t| t.split_whitespace().collect()).collect();
    let n = passages.len() as f64;
    let mean = passages.iter().map(Vec::len).sum::<usize>() as f64 / n;
    let mut scores = vec![0.0; passages.len()];
    for word in query.split_whitespace() {
        let counts: Vec<f64> =
            passages.iter().map(|p| p.iter().filter(|w| **w == word).count() as f64).collect();
        let df = counts.iter().filter(|&&count| count > 0.0).count() as f64;
        let idf = (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
        for ((score, tf), passage) in scores.iter_mut().zip(&counts).zip(&passages) {
            if *tf == 0.0 {
                continue;
            }
            *score += idf * tf / (tf + k1 * (1.0 - b + b * passage.len() as f64 / mean));
        }
    }
    scores
}

fn assert_best(hits: &[Match], scores: &[f64], k: usize, accept: impl Fn(u32) -> bool) {
    let mut expected: Vec<f64> = (0..)
        .zip(scores)
        .filter(|&(passage, &score)| score > 0.0 && accept(passage))
        .map(|(_, &score)| score)
        .collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    expected.truncate(k);
    assert_eq!(hits.len(), expected.len());
    for (hit, best) in hits.iter().zip(expected) {
        let score = f64::from(hit.score);
        assert!((score - best).abs() < 1e-5 * best, "{score} in the place of {best}");
        assert!((score - scores[hit.passage as usize]).abs() < 1e-5 * best);
        assert!(accept(hit.passage));
    }
    assert!(hits.is_sorted_by(|a, b| a.score > b.score
        || (a.score == b.score && a.passage < b.passage)));
}

#[test]
fn the_best_are_those_of_the_formula() {
    let mut random = Random(1);
    // More passages than are summed up together, and lists of more than one block.
    for passages in [1, 7, 300, 10_000] {
        let texts: Vec<String> = (0..passages)
            .map(|_| {
                let words = random.below(20);
                random.text(500, words)
            })
            .collect();
        let index = build(&texts, VERBATIM);
        for round in 0..12 {
            let words = 1 + random.below(8);
            let query = random.text(600, words);
            let bm25 = Bm25 { k1: [1.2, 0.0, 2.0][round % 3], b: [0.75, 1.0, 0.0][round / 3 % 3] };
            let scores = naive(&texts, &query, bm25);
            let query = index.query(&query);
            let k = [1, 10, 200, 20_000][round % 4];
            assert_best(&query.search(k, bm25, |_| true), &scores, k, |_| true);
            let third = |passage| passage % 3 == 0;
            assert_best(&query.search(k, bm25, third), &scores, k, third);
        }
    }
}

#[test]
fn a_passage_has_one_score_whoever_asks() {
    let mut random = Random(2);
    let texts: Vec<String> = (0..5000).map(|_| random.text(300, 12)).collect();
    let index = build(&texts, VERBATIM);
    let query = index.query("w0 w1 w5 w40 w200 w250");
    let hits = query.search(100, Bm25::default(), |_| true);
    let mut passages: Vec<u32> = hits.iter().map(|hit| hit.passage).collect();
    // In any order, twice, and some that do not exist.
    passages.extend([5000, u32::MAX, passages[0]]);
    let scores = query.scores(&passages, Bm25::default());
    for (hit, &score) in hits.iter().zip(&scores) {
        assert_eq!(hit.score, score);
    }
    assert_eq!(scores[100..], [0.0, 0.0, hits[0].score]);
}

#[test]
fn weighted_fields_are_fields_that_come_more_than_once() {
    let weights = Weights { title: 3, headings: 2, text: 1 };
    let mut random = Random(3);
    let (mut joined, mut passages) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let [title, heading, text] = [3, 4, 12].map(|words| random.text(60, words));
        joined.push([&*title, &title, &title, &heading, &heading, &text].join(" "));
        passages.push((title, [heading], text));
    }
    let fields = passages.iter().map(|(title, headings, text)| Fields { title, headings, text });
    let index = Inverted::build(fields, LexicalOptions { weights, ..VERBATIM }).unwrap();
    let hits = index.query("w1 w20 w50").search(50, Bm25::default(), |_| true);
    assert_best(&hits, &naive(&joined, "w1 w20 w50", Bm25::default()), 50, |_| true);
}

#[test]
fn bytes_hold_everything_and_are_always_the_same() {
    let mut random = Random(4);
    let texts: Vec<String> = (0..1000).map(|_| random.text(300, 30) + " ERR_503 naïve").collect();
    let index = build(&texts, LexicalOptions::default());
    let bytes = index.to_bytes().unwrap();
    let read = Inverted::from_bytes(&bytes).unwrap();
    assert_eq!(read.to_bytes().unwrap(), bytes);
    assert_eq!(build(&texts, LexicalOptions::default()).to_bytes().unwrap(), bytes);
    assert_eq!((read.len(), read.options()), (1000, index.options()));
    for query in ["w1 w250", "\"w0 w1\"", "err_503"] {
        let search = |index: &Inverted| index.query(query).search(9, Bm25::default(), |_| true);
        assert!(!search(&index).is_empty());
        assert_eq!(search(&read), search(&index));
    }
}

#[test]
fn broken_bytes_are_refused_or_searched_but_never_panic() {
    let mut random = Random(5);
    let texts: Vec<String> = (0..200).map(|_| random.text(40, 12) + " a-b/c.d").collect();
    let bytes = build(&texts, LexicalOptions::default()).to_bytes().unwrap();
    let mut refused = 0;
    for round in 0..20_000 {
        let mut broken = bytes.clone();
        for _ in 0..1 + round % 3 {
            let at = random.below(broken.len());
            broken[at] = [random.below(256) as u8, broken[at] ^ 1, 0xff][random.below(3)];
        }
        match Inverted::from_bytes(&broken) {
            Err(_) => refused += 1,
            Ok(index) => {
                let query = index.query("\"w0 w1\" w2 w30 a-b/c.d");
                let hits = query.search(20, Bm25::default(), |_| true);
                assert!(hits.iter().all(|hit| (hit.passage as usize) < index.len()));
            }
        }
    }
    assert!(refused > 5000, "{refused}");
    for cut in 0..bytes.len() {
        assert!(Inverted::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Inverted::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn nothing_is_found_where_there_is_nothing() {
    let nothing = build(&[], LexicalOptions::default());
    assert!(nothing.is_empty() && found(&nothing, "anything").is_empty());
    let nothing = Inverted::from_bytes(&nothing.to_bytes().unwrap()).unwrap();
    assert_eq!(nothing.query("anything").scores(&[0, 1], Bm25::default()), [0.0, 0.0]);

    let index = build(&texts(&["", "the cat", "--"]), LexicalOptions::default());
    for query in ["", " ", "unknown", "the", "\"\"", "\"", "\"unknown cat\" dog", "§ -- /"] {
        assert!(index.query(query).search(5, Bm25::default(), |_| true).len() <= 1, "{query}");
    }
    assert!(index.query("unknown").is_empty());
    assert_eq!(found(&index, "cats"), [1]);
    assert!(index.query("cat").search(0, Bm25::default(), |_| true).is_empty());
    assert!(index.query("cat").search(5, Bm25::default(), |_| false).is_empty());
}

#[test]
fn words_are_found_in_other_forms_and_only_in_the_index_s_language() {
    let passages = texts(&["He was running in the café", "A plain walk", "Whose is it"]);
    let english = build(&passages, LexicalOptions::default());
    assert_eq!(found(&english, "runs CAFE"), [0]);
    assert_eq!(english.options().analysis.language, Some(Language::English));
    // Words that only ask do not count beside others, and do alone.
    assert_eq!(found(&english, "whose walk was it?"), [1]);
    assert_eq!(found(&english, "whose?"), [2]);
    let verbatim = build(&passages, VERBATIM);
    assert_eq!(found(&verbatim, "runs"), [0; 0]);
    assert_eq!(found(&verbatim, "running"), [0]);
    assert_eq!(found(&verbatim, "the"), [0]);
}

#[test]
fn codes_are_found_whole_and_in_parts() {
    let passages = texts(&[
        "The server answers ERR_503 when it is busy.",
        "The server answers ERR_404; see room 503 and err on the safe side.",
        "Pass --dry-run, or run it dry and pass on.",
        "As § 12.3(b) of the act says,",
        "Section 12.3 of (b) the other act says,",
        "Patched: CVE-2024-1234.",
        "Patched: CVE-2024-1243 and CVE-1234-2024.",
        "Call readFileSync(path) or read a file in sync.",
        "The file is src/lib.rs, beside src/main.rs.",
        "Upgrade from 1.2.3 to 1.3.2",
        "AC-2(1) Automated account management",
        "AC-2(12) and AC-1(2) account monitoring",
        "Vue and YouTube are names",
    ]);
    let index = build(&passages, LexicalOptions::default());
    for (query, best) in [
        ("What is ERR_503?", 0),
        ("err_503", 0),
        ("err 404", 1),
        ("--dry-run", 2),
        ("dry-run", 2),
        ("§ 12.3(b)", 3),
        ("§12.3(b)", 3),
        ("12.3(b)", 3),
        ("CVE-2024-1234", 5),
        ("cve-2024-1243", 6),
        ("readFileSync", 7),
        ("readfilesync", 7),
        ("src/lib.rs", 8),
        ("main.rs", 8),
        ("version 1.2.3", 9),
        ("AC-2(1)", 10),
        ("AC-2(12)", 11),
        ("youtube", 12),
    ] {
        assert_eq!(found(&index, query).first(), Some(&best), "{query}");
    }
}

#[test]
fn a_phrase_is_found_before_its_words() {
    let passages = texts(&[
        "state machines and the art of finite design, machines of a finite state",
        "a much longer passage, in which a finite state machine is only mentioned beside many others",
        "state of the art machines",
    ]);
    let index = build(&passages, LexicalOptions::default());
    assert_eq!(found(&index, "finite state machine")[0], 0);
    assert_eq!(found(&index, "\"finite state machine\"")[0], 1);
    assert_eq!(found(&index, "what is a “finite state machine”?")[0], 1);
    // Stop words in a phrase are not compared, but keep their places.
    assert_eq!(found(&index, "\"state of the art\"")[0], 2);
    // What is nowhere a phrase is still found by its words.
    assert_eq!(found(&index, "\"art machines finite\"").len(), 3);
}

#[test]
fn no_phrase_runs_from_one_field_into_the_next() {
    let headings = ["gamma delta".to_owned()];
    let one = Fields { title: "alpha beta", headings: &headings, text: "epsilon zeta" };
    let two = Fields { text: "beta gamma, then delta epsilon", ..Fields::default() };
    let index = Inverted::build([one, two], LexicalOptions::default()).unwrap();
    for (phrase, best) in [
        ("\"beta gamma\"", 1),
        ("\"delta epsilon\"", 1),
        ("\"gamma delta\"", 0),
        ("\"alpha beta\"", 0),
    ] {
        let scores = |query: &str| index.query(query).scores(&[0, 1], Bm25::default());
        let (with, without) = (scores(phrase), scores(phrase.trim_matches('"')));
        assert!(with[best] > without[best], "{phrase}");
        assert_eq!(with[1 - best], without[1 - best], "{phrase}");
    }
}

#[test]
fn phrases_agree_with_a_search_through_the_texts() {
    let mut random = Random(6);
    let texts: Vec<String> = (0..2000).map(|_| random.text(30, 15)).collect();
    let index = build(&texts, VERBATIM);
    let all: Vec<u32> = (0..2000).collect();
    for _ in 0..40 {
        let phrase = random.text(30, 2 + random.0 as usize % 2);
        let plain = index.query(&phrase).scores(&all, Bm25::default());
        let quoted = index.query(&format!("\"{phrase}\"")).scores(&all, Bm25::default());
        let mut kinds = HashMap::new();
        for (passage, text) in texts.iter().enumerate() {
            let holds = format!(" {text} ").contains(&format!(" {phrase} "));
            *kinds.entry(holds).or_insert(0) += 1;
            assert_eq!(quoted[passage] > plain[passage], holds, "{phrase} in {text}");
        }
        assert!(kinds[&false] > 0);
    }
}

#[test]
fn no_text_panics() {
    let mut random = Random(7);
    let alphabet: Vec<char> =
        "aZ09éß東ﬁ\u{301}\u{200d}🦀 \"“”§()-_./\\:@#+~$%'’,\u{2011}\u{a0}\u{1}\n".chars().collect();
    let texts: Vec<String> = (0..2000)
        .map(|_| {
            let length = random.below(40);
            (0..length).map(|_| alphabet[random.below(alphabet.len())]).collect()
        })
        .collect();
    let index = build(&texts, LexicalOptions::default());
    let read = Inverted::from_bytes(&index.to_bytes().unwrap()).unwrap();
    let mut matched = 0;
    for text in &texts {
        matched += read.query(text).search(3, Bm25::default(), |_| true).len();
    }
    assert!(matched > 2000);
}
