//! Rankings held against each other: intervals, differences, losses, and the page that shows them.

use std::collections::BTreeMap;

use trine_eval::{
    Answered, Answering, Comparison, Latency, Likeness, Measured, Mistake, Outcome, Qrels, Query,
    Resamples, Run, Study, operating_points,
};

/// Values that look drawn, without a generator: their means differ as their offsets do.
fn column(queries: u32, step: u32, offset: f64) -> Vec<f64> {
    (0..queries).map(|q| f64::from(q * step % 101) / 100.0 + offset).collect()
}

#[test]
fn an_interval_is_that_of_the_normal_approximation_where_many_values_are() {
    let values = column(1000, 37, 0.0);
    let mean = values.iter().sum::<f64>() / 1000.0;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1000.0;
    let half = 1.96 * (variance / 1000.0).sqrt();
    let interval = Resamples::of(&[values]).interval(0);
    assert!((interval.low - (mean - half)).abs() < half * 0.05, "{interval:?}, {mean} ± {half}");
    assert!((interval.high - (mean + half)).abs() < half * 0.05, "{interval:?}, {mean} ± {half}");
}

#[test]
fn differences_are_of_pairs() {
    let before = column(200, 37, 0.0);
    // A gain that is small beside what queries differ by, and the same for every query.
    let gain: Vec<f64> = before.iter().map(|v| v + 0.01).collect();
    let noise = column(200, 53, 0.0);
    let resamples = Resamples::of(&[before.clone(), gain, noise, before]);
    let found = resamples.difference(1, 0);
    assert!((found.difference - 0.01).abs() < 1e-9 && found.p < 0.001, "{found:?}");
    assert!((found.interval.low - 0.01).abs() < 1e-9, "{found:?}");
    let chance = resamples.difference(2, 0);
    assert!(chance.p > 0.05 && chance.interval.low < 0.0 && chance.interval.high > 0.0);
    let same = resamples.difference(3, 0);
    assert_eq!((same.difference, same.p), (0.0, 1.0));
}

#[test]
fn p_is_twice_the_chance_of_a_draw_on_the_other_side() {
    // 12 queries gain, 3 lose, all as much: of 15 draws at most 7 gain with probability 0.00424.
    let gains: Vec<f64> = (0..15).map(|q| if q < 12 { 1.0 } else { -1.0 }).collect();
    let found = Resamples::of(&[gains, vec![0.0; 15]]).difference(0, 1);
    assert!((found.p - 0.0085).abs() < 0.006, "{found:?}");
    assert!(found.interval.low > 0.0);
    assert_eq!(Resamples::of(&[vec![]]).interval(0).high, 0.0);
}

fn comparison() -> Comparison {
    let mut qrels = Qrels::default();
    let mut queries = vec![];
    let rows = ["hybrid", "reranked"].map(|system| (system, Run::default()));
    let [(first, mut before), (second, mut after)] = rows;
    for number in 0..30 {
        let id = format!("q{number:02}");
        qrels.insert(&id, "right", 1).unwrap();
        qrels.insert(&id, "other", 0).unwrap();
        queries.push(Query { id: id.clone(), text: format!("What <is> \"{number}\"?") });
        let order = |right: usize| {
            let mut all = vec!["wrong", "other", "more"];
            all.insert(right, "right");
            all.into_iter().map(|d| (d.to_owned(), 0.0)).collect::<Vec<_>>()
        };
        before.insert(&id, order(usize::from(number > 14))).unwrap();
        after.insert(&id, order(if number == 7 { 3 } else { 0 })).unwrap();
    }
    let latency_ms = BTreeMap::from([("total", Latency { p50: 2.0, p90: 20.0, p99: 200.0 })]);
    let measured = |system: &str, reranks, run| Measured {
        system: system.to_owned(),
        top_k: 10,
        reranks,
        run,
        latency_ms: latency_ms.clone(),
    };
    let runs = [measured(first, false, before), measured(second, true, after)];
    Comparison::of(&qrels, &queries, &runs, "hybrid").unwrap()
}

#[test]
fn rankings_are_held_against_the_baseline() {
    let comparison = comparison();
    let [hybrid, reranked] = &comparison.rows[..] else { panic!("{comparison:?}") };
    assert!(hybrid.ndcg_at_10.versus_baseline.is_none());
    assert_eq!((hybrid.p_at_1.mean, hybrid.recall_at_k.mean), (0.5, 1.0));
    assert_eq!(hybrid.recall, [(1, 0.5), (2, 1.0), (5, 1.0), (10, 1.0)]);
    let versus = reranked.p_at_1.versus_baseline.unwrap();
    assert!((versus.difference - 14.0 / 30.0).abs() < 1e-12 && versus.p < 0.01, "{versus:?}");
    assert_eq!(reranked.ndcg_at_10.values.len(), comparison.queries.len());
    let [loss] = &comparison.losses[..] else { panic!("{:?}", comparison.losses) };
    assert_eq!((loss.id.as_str(), loss.rank_before, loss.rank_after), ("q07", Some(1), Some(4)));
    assert_eq!((loss.first_before.as_str(), loss.first_after.as_str()), ("right", "wrong"));
}

fn outcome(answerable: bool, evidence: f64) -> Outcome {
    let likeness = answerable.then_some(Likeness { exact: 1.0, f1: 1.0 });
    Outcome { likeness, answerable, evidence, gold_read: true }
}

#[test]
fn the_page_shows_all_of_it_and_loads_nothing() {
    let mistake = Mistake {
        id: "q1".to_owned(),
        question: "Why?".to_owned(),
        answer: "<script>alert(1)</script>".to_owned(),
        accepted: vec![],
        evidence: 0.9,
    };
    let answered = Answered {
        gold_passage: true,
        answering: Answering::of(&[], 0.5),
        operating_points: operating_points(&[outcome(true, 0.7), outcome(false, 0.2)]),
        latency_ms: BTreeMap::new(),
        mistakes: vec![mistake],
    };
    let settings = serde_json::json!({ "embedder": "a & b", "top_n": 5 });
    let study = Study {
        collection: "<small>".to_owned(),
        settings: settings.as_object().cloned().unwrap(),
        rankings: Some(comparison()),
        answers: Some(answered),
    };
    let html = study.to_html();
    for part in [
        "&lt;small&gt;",
        "a &amp; b",
        "&lt;script&gt;",
        "What &lt;is&gt; &quot;7&quot;?",
        "q07",
        "NDCG@10",
        "<small>no answer</small>",
        "class=\"better\"",
        "200.00",
    ] {
        assert!(html.contains(part), "the page lacks {part}");
    }
    assert_eq!(html.matches("<svg").count(), 4);
    for element in ["svg", "table", "tr", "td", "th", "g", "text", "div", "figure", "main"] {
        let opened = html.matches(&format!("<{element}>")).count()
            + html.matches(&format!("<{element} ")).count();
        assert_eq!(opened, html.matches(&format!("</{element}>")).count(), "{element}");
    }
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "NaN", "inf"]
    {
        assert!(!html.contains(outside), "the page has {outside}");
    }
    let json = serde_json::to_value(&study).unwrap();
    assert_eq!(json["rankings"]["rows"][1]["ndcg@10"]["values"].as_array().unwrap().len(), 30);
    assert_eq!(json["answers"]["mistakes"][0]["id"], "q1");
}
