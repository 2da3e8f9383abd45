//! Answers to the questions of a collection, through all three stages.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use trine_eval::{
    Answered, Answering, Collection, Latency, Likeness, Mistake, Outcome, Question, likeness,
    operating_points,
};
use trine_node::Node;

use super::rankings::as_it_stands;
use crate::args::{Eval, ModeArg};
use crate::ask::post;

/// Wrong answers that are kept.
const MISTAKES: usize = 20;

#[derive(Deserialize)]
struct Reply {
    answer: String,
    /// The words of the answer that answer by themselves, where the generator tells them.
    short_answer: Option<String>,
    abstained: bool,
    evidence: f64,
    threshold: f64,
    citations: Vec<Citation>,
    passages: Vec<Passage>,
    timings_ms: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Citation {
    source: String,
    start: usize,
    end: usize,
    quote: String,
}

#[derive(Deserialize)]
struct Passage {
    source: String,
}

/// Stages of a reply, as it names them.
const STAGES: [&str; 4] = ["retrieve", "rerank", "generate", "total"];

/// What was collected from the replies.
#[derive(Default)]
struct Collected {
    outcomes: Vec<Outcome>,
    mistakes: Vec<Mistake>,
    citations: Vec<Citation>,
    times: BTreeMap<&'static str, Vec<f64>>,
}

/// Asks every question of the collection, and measures the answers.
pub async fn measure(node: &Node, collection: &Collection, args: &Eval) -> Result<Answered> {
    let folder = args.collection.display();
    let mut questions = collection
        .questions()?
        .with_context(|| format!("{folder} holds no qa.jsonl[.gz] with questions to answer"))?;
    let mut unanswerable = collection.unanswerable()?.unwrap_or_default();
    let limit = args.limit.unwrap_or(usize::MAX);
    questions.truncate(limit);
    unanswerable.truncate(limit);
    let first = questions.first().with_context(|| format!("{folder} has no question"))?;
    let threshold = match args.threshold {
        Some(threshold) => f64::from(threshold),
        None => ask(node, first, None, args).await?.threshold,
    };
    let bar = crate::progress::counting("answer".to_owned(), questions.len() + unanswerable.len());
    let mut collected = Collected::default();
    let all = questions.iter().map(|q| (q, true)).chain(unanswerable.iter().map(|q| (q, false)));
    for (question, answerable) in all {
        // Nothing abstains at 0: every answer is measured, and abstaining by its evidence.
        let reply = ask(node, question, Some(0.0), args).await;
        let reply = reply.with_context(|| format!("question {}", question.id))?;
        collected.add(question, answerable, reply);
        bar.inc(1);
    }
    bar.finish_and_clear();
    collected.measured(collection, threshold, args.gold_passage)
}

async fn ask(
    node: &Node,
    question: &Question,
    threshold: Option<f32>,
    args: &Eval,
) -> Result<Reply> {
    let mut body = as_it_stands(&question.question, args);
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("top_k", json!(args.top_k()));
    put("top_n", json!(args.top_n));
    put("mode", json!(args.mode.unwrap_or(ModeArg::Hybrid).name()));
    put("max_sentences", json!(1));
    put("threshold", json!(threshold));
    if args.no_fuse {
        put("fuse", json!(false));
    }
    if args.gold_passage {
        put("filter", json!({ "field": "source", "eq": question.passage_id }));
    }
    let reply = post(node, "/v1/answer", &body.into()).await?;
    serde_json::from_slice(&reply).context("reading the answer")
}

impl Collected {
    fn add(&mut self, question: &Question, answerable: bool, reply: Reply) {
        let Reply { answer, short_answer, abstained, evidence, .. } = reply;
        let answer = match abstained {
            true => String::new(),
            false => short_answer.unwrap_or(answer),
        };
        let evidence = if abstained { f64::NEG_INFINITY } else { evidence };
        let accepted = || question.answers.iter().map(|answer| answer.text.as_str());
        let compared = answerable && !question.answers.is_empty();
        let likeness = compared.then(|| likeness(&answer, accepted()));
        let gold_read = reply.passages.iter().any(|p| p.source == question.passage_id);
        if !abstained && (!answerable || likeness.is_some_and(|Likeness { f1, .. }| f1 == 0.0)) {
            self.mistakes.push(Mistake {
                id: question.id.clone(),
                question: question.question.clone(),
                answer,
                accepted: accepted().map(str::to_owned).collect(),
                evidence,
            });
        }
        self.outcomes.push(Outcome { likeness, answerable, evidence, gold_read });
        self.citations.extend(reply.citations);
        for stage in STAGES {
            self.times.entry(stage).or_default().extend(reply.timings_ms.get(stage));
        }
    }

    fn measured(
        mut self,
        collection: &Collection,
        threshold: f64,
        gold_passage: bool,
    ) -> Result<Answered> {
        let mut answering = Answering::of(&self.outcomes, threshold);
        answering.citations = self.citations.len();
        answering.citations_wrong = wrong(self.citations, collection)?;
        self.mistakes.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        self.mistakes.truncate(MISTAKES);
        let latency = |(stage, ms)| Some((stage, Latency::of(ms)?));
        Ok(Answered {
            gold_passage,
            answering,
            operating_points: operating_points(&self.outcomes),
            latency_ms: self.times.into_iter().filter_map(latency).collect(),
            mistakes: self.mistakes,
        })
    }
}

/// How many quotes are not what the corpus has at their offsets.
fn wrong(citations: Vec<Citation>, collection: &Collection) -> Result<usize> {
    let mut wrong = citations.len();
    let mut by_source: HashMap<String, Vec<Citation>> = HashMap::new();
    for citation in citations {
        by_source.entry(citation.source.clone()).or_default().push(citation);
    }
    for document in collection.documents()? {
        let document = document?;
        let cited = by_source.get(&document.id).map_or(&[][..], Vec::as_slice);
        let right = |c: &&Citation| document.text.get(c.start..c.end) == Some(c.quote.as_str());
        wrong -= cited.iter().filter(right).count();
    }
    Ok(wrong)
}

/// The object that `--json` prints.
pub fn report(collection: &str, answered: &Answered) -> Result<Value> {
    let mut report = serde_json::to_value(&answered.answering)?;
    report["collection"] = json!(collection);
    report["stage"] = json!("answer");
    report["gold_passage"] = json!(answered.gold_passage);
    report["latency_ms"] = json!(answered.latency_ms);
    Ok(report)
}
