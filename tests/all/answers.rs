//! Whole answers: what they say, what they cite, what they leave out.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::fixture::{corpus, server};

/// Questions, the document that answers each, and words of the answer.
const QUESTIONS: [(&str, &str, &str); 8] = [
    ("How long may a hand tool be kept?", "borrowing.md", "fourteen days"),
    ("What deposit is taken for a power tool?", "borrowing.md", "forty euros"),
    ("When is the counter open?", "opening-hours.md", "Tuesday and Thursday"),
    ("What does an introduction to the lathe cost?", "workshop.md", "fifteen"),
    ("Where does the first-aid box hang?", "workshop.md", "paint room"),
    ("What does a cup of coffee cost for members?", "cafe.md", "€50"),
    ("What does membership cost a year?", "membership.md", "thirty euros"),
    ("When are repair evenings held?", "repairs.txt", "last Wednesday"),
];

const OFF_TOPIC: &str = "Which enzyme unwinds the double helix of DNA?";

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no list `{name}` in {value}"))
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("no number `{name}` in {value}"))
}

/// The bytes of a document that `value` names by source, start and end.
fn named_bytes(value: &Value) -> Vec<u8> {
    let file = fs::read(corpus().join(value["source"].as_str().unwrap())).unwrap();
    let at = |name: &str| value[name].as_u64().unwrap() as usize;
    file[at("start")..at("end")].to_vec()
}

#[test]
fn every_question_is_answered_from_its_document() {
    let Some(server) = server() else { return };
    for (question, source, words) in QUESTIONS {
        let answer = server.ask(question, "").ok();
        assert_eq!(answer["query"], question);
        assert_eq!(answer["abstained"], false, "{answer}");
        assert!(answer["answer"].as_str().unwrap().contains(words), "{answer}");
        let sources = list(&answer, "citations").iter().map(|c| c["source"].as_str().unwrap());
        assert!(sources.collect::<BTreeSet<_>>().contains(source), "{answer}");
        assert!(number(&answer, "evidence") >= number(&answer, "threshold"));
        assert_eq!(answer["warnings"], json!([]));
    }
}

#[test]
fn quotes_and_passages_are_the_bytes_of_the_files() {
    let Some(server) = server() else { return };
    let mut cited = BTreeSet::new();
    for (question, ..) in QUESTIONS {
        let answer = server.ask(question, "&max_sentences=5&threshold=0").ok();
        let passages = list(&answer, "supporting_docs");
        for passage in passages {
            assert_eq!(named_bytes(passage), passage["text"].as_str().unwrap().as_bytes());
        }
        for citation in list(&answer, "citations") {
            assert_eq!(named_bytes(citation), citation["quote"].as_str().unwrap().as_bytes());
            let passage = &passages[citation["passage"].as_u64().unwrap() as usize];
            assert_eq!(passage["source"], citation["source"]);
            assert!(passage["start"].as_u64() <= citation["start"].as_u64(), "{answer}");
            assert!(citation["end"].as_u64() <= passage["end"].as_u64(), "{answer}");
            cited.insert(citation["source"].as_str().unwrap().to_owned());
        }
    }
    // Among them are CRLF, front matter and characters of two, three and four bytes.
    assert_eq!(cited.len(), 6, "{cited:?}");
}

#[test]
fn the_words_that_answer_are_bytes_of_the_first_quote() {
    let Some(server) = server() else { return };
    let mut short = 0;
    for (question, _, words) in QUESTIONS {
        let answer = server.ask(question, "").ok();
        let citations = list(&answer, "citations");
        assert!(citations[1..].iter().all(|c| c.get("answer").is_none()));
        let (lead, read) = (&citations[0], &citations[0]["answer"]);
        // Where markup parts the words they are no bytes of the document.
        if read.is_null() {
            assert!(answer.get("short_answer").is_none(), "{answer}");
            continue;
        }
        assert_eq!(read["text"], answer["short_answer"]);
        let range =
            |value: &Value| (value["start"].as_u64().unwrap(), value["end"].as_u64().unwrap());
        let ((start, end), (from, to)) = (range(lead), range(read));
        assert!(start <= from && from < to && to <= end, "{answer}");
        let named = json!({ "source": lead["source"], "start": from, "end": to });
        let text = answer["short_answer"].as_str().unwrap();
        assert_eq!(named_bytes(&named), text.as_bytes());
        short += usize::from(text.contains(words) || words.contains(text));
    }
    // A small reader is not always right; it must not be wrong mostly.
    assert!(short >= 5, "{short}");
}

#[test]
fn an_answer_is_made_of_its_quotes() {
    let Some(server) = server() else { return };
    for (question, ..) in QUESTIONS {
        let answer = server.ask(question, "").ok();
        let text = answer["answer"].as_str().unwrap();
        let words = |text: &str| -> Vec<String> {
            let letters = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
            letters.map(str::to_owned).collect()
        };
        let quotes: Vec<String> = list(&answer, "citations")
            .iter()
            .flat_map(|c| words(c["quote"].as_str().unwrap()))
            .collect();
        assert_eq!(words(text), quotes, "{answer}");
    }
}

#[test]
fn scores_order_and_timings_are_there() {
    let Some(server) = server() else { return };
    let answer = server.ask(QUESTIONS[0].0, "&top_n=6").ok();
    let scores = |answer: &Value, name: &str| -> Vec<f64> {
        let scores: Vec<f64> =
            list(answer, "supporting_docs").iter().map(|p| number(p, name)).collect();
        assert_eq!(scores.len(), 6);
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        scores
    };
    scores(&answer, "fused_score");
    let pure = server.ask(QUESTIONS[0].0, "&top_n=6&fuse=false").ok();
    scores(&pure, "score");
    assert!(list(&pure, "supporting_docs").iter().all(|p| p.get("fused_score").is_none()));
    for passage in list(&answer, "supporting_docs") {
        assert!((-1.0..=1.0).contains(&number(passage, "retrieval_score")));
    }
    let times = &answer["timings_ms"];
    let stages = ["retrieve", "rerank", "generate"].map(|stage| number(times, stage));
    assert!(stages.iter().all(|&ms| ms > 0.0), "{times}");
    assert!(stages.iter().sum::<f64>() <= number(times, "total") + 1e-6, "{times}");
    assert_eq!(answer["models"]["scoring"], "late-interaction");
}

#[test]
fn limits_on_passages_and_sentences_are_kept() {
    let Some(server) = server() else { return };
    let question = QUESTIONS[0].0;
    for (top_k, top_n, expected) in [(1, 5, 1), (7, 3, 3), (2, 200, 2)] {
        let answer = server.ask(question, &format!("&top_k={top_k}&top_n={top_n}")).ok();
        assert_eq!(list(&answer, "supporting_docs").len(), expected);
    }
    for most in [1, 2, 20] {
        let answer = server.ask(question, &format!("&max_sentences={most}&threshold=0")).ok();
        assert!((1..=most).contains(&list(&answer, "citations").len()), "{answer}");
    }
}

#[test]
fn what_the_documents_do_not_say_is_not_answered() {
    let Some(server) = server() else { return };
    let answer = server.ask(OFF_TOPIC, "").ok();
    assert_eq!(answer["answer"], "Not found in these documents.");
    assert_eq!(
        (&answer["abstained"], &answer["finish_reason"]),
        (&json!(true), &json!("abstained"))
    );
    assert_eq!(answer["citations"], json!([]));
    assert!(number(&answer, "evidence") < number(&answer, "threshold"));

    let forced = server.ask(OFF_TOPIC, "&threshold=0").ok();
    assert_eq!(forced["abstained"], false);
    assert!(!list(&forced, "citations").is_empty());
    let strict = server.ask(QUESTIONS[0].0, "&threshold=1").ok();
    assert_eq!(strict["abstained"], true);
}

#[test]
fn post_answers_as_get_does() {
    let Some(server) = server() else { return };
    let get = server.ask(QUESTIONS[1].0, "&top_k=9&top_n=4&max_sentences=2&exact=true").ok();
    let body = json!({
        "query": QUESTIONS[1].0, "top_k": 9, "top_n": 4, "max_sentences": 2, "exact": true,
    });
    let post = server.post("/v1/answer", &body).ok();
    assert_eq!(get["supporting_docs"], post["passages"]);
    for field in ["query", "answer", "citations", "evidence", "threshold", "finish_reason"] {
        assert_eq!(get[field], post[field], "{field}");
    }
    assert!(post.get("supporting_docs").is_none() && get.get("passages").is_none());
}

#[test]
fn the_retriever_answers_alone() {
    let Some(server) = server() else { return };
    let body = json!({ "query": "the lathe", "top_k": 4 });
    let reply = server.post("/v1/retrieve", &body).ok();
    let candidates = list(&reply, "candidates");
    assert_eq!(candidates.len(), 4);
    let scores: Vec<f64> = candidates.iter().map(|c| number(c, "retrieval_score")).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_eq!(candidates[0]["source"], "workshop.md");
    assert!(candidates.iter().all(|c| c["score"] == c["retrieval_score"]));
    assert!(number(&reply["timings_ms"], "total") > 0.0);
}

#[test]
fn the_reranker_answers_alone() {
    let Some(server) = server() else { return };
    let passages = json!([
        "The moon turns once around itself in a month.",
        { "title": "Coffee", "text": "Water for coffee should have 95 degrees." },
        "Coffee beans are roasted at 200 degrees.",
    ]);
    let body = json!({ "query": "How hot is the water for coffee?", "passages": passages });
    let reply = server.post("/v1/rerank", &body).ok();
    let order: Vec<u64> =
        list(&reply, "results").iter().map(|r| r["index"].as_u64().unwrap()).collect();
    assert_eq!(order, [1, 2, 0], "{reply}");
    let two = json!({ "query": "coffee", "passages": passages, "top_n": 2 });
    assert_eq!(list(&server.post("/v1/rerank", &two).ok(), "results").len(), 2);
}

#[test]
fn health_describes_the_bundle() {
    let Some(server) = server() else { return };
    let health = server.get("/health").ok();
    assert_eq!((&health["status"], &health["documents"]), (&json!("ok"), &json!(6)));
    assert_eq!(
        (&health["model"], &health["dimensions"]),
        (&json!("all-MiniLM-L6-v2"), &json!(384))
    );
    assert!(health["passages"].as_u64().unwrap() >= 6);
}

/// Whatever shares a batch with a request, its numbers are the same to the last bit.
#[test]
fn neighbours_do_not_change_an_answer() {
    let Some(server) = server() else { return };
    let timeless = |question: &str| {
        let mut answer = server.ask(question, "&top_k=20").ok();
        answer.as_object_mut().unwrap().remove("timings_ms");
        answer
    };
    let questions: Vec<String> = (0..50)
        .map(|i| format!("{} {}", QUESTIONS[i % 8].0, "Please say it exactly. ".repeat(i / 8)))
        .collect();
    let alone: Vec<Value> = questions.iter().map(|q| timeless(q)).collect();
    for _ in 0..4 {
        assert_eq!(timeless(&questions[0]), alone[0]);
    }
    let together: Vec<Value> = thread::scope(|scope| {
        let asked: Vec<_> = questions.iter().map(|q| scope.spawn(|| timeless(q))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}
