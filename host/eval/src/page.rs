//! A study as one page of HTML that loads nothing: tables, charts, what went wrong, the settings.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use crate::bootstrap::{Difference, Interval, RESAMPLES};
use crate::chart::{Chart, Point, Scale, Series};
use crate::study::{Answered, Comparison, Loss, Measure, Mistake, Row, Study};
use crate::{Latency, OperatingPoint};

/// Differences less likely than this by chance are coloured.
const SIGNIFICANT: f64 = 0.05;

impl Study {
    /// The page.
    pub fn to_html(&self) -> String {
        let mut out =
            String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
        let name = escaped(&self.collection);
        let _ = write!(
            out,
            "<meta name=\"viewport\" content=\"width=device-width\"><title>{name}: evaluation</title>\
             <style>{}</style></head><body><main><h1>{name}</h1>",
            include_str!("page.css")
        );
        if let Some(rankings) = &self.rankings {
            self::rankings(rankings, &mut out);
        }
        if let Some(answers) = &self.answers {
            self::answers(answers, &mut out);
        }
        out.push_str("<h2>Settings</h2><div class=\"scroll\"><table>");
        for (name, value) in &self.settings {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            row(&mut out, &[&escaped(name), &escaped(&value)]);
        }
        out.push_str("</table></div></main></body></html>\n");
        out
    }
}

fn rankings(comparison: &Comparison, out: &mut String) {
    let _ = write!(
        out,
        "<p>Means over {} queries. Small figures are 95 % intervals, paired bootstrap over queries, \
         {RESAMPLES} draws. Differences and p are against {} at the same depth.</p>\
         <h2>Rankings</h2><div class=\"scroll\"><table><tr><th>ranking</th><th>top_k</th>\
         <th>NDCG@10</th><th>difference</th><th>p</th><th>MRR@10</th><th>P@1</th><th>recall@k</th></tr>",
        comparison.queries.len(),
        escaped(&comparison.baseline)
    );
    for r in &comparison.rows {
        let [difference, p] = versus(r.ndcg_at_10.versus_baseline.as_ref());
        let figures = [&r.ndcg_at_10, &r.mrr_at_10, &r.p_at_1, &r.recall_at_k].map(figure);
        let [ndcg, mrr, p_at_1, recall] = &figures;
        let top_k = r.top_k.to_string();
        let system = escaped(&r.system);
        row(out, &[&system, &top_k, ndcg, &difference, &p, mrr, p_at_1, recall]);
    }
    out.push_str("</table></div>");
    charts(&comparison.rows, out);
    latencies(&comparison.rows, out);
    losses(comparison, out);
}

/// A mean and, small, its interval.
fn figure(measure: &Measure) -> String {
    format!("{:.4}<br>{}", measure.mean, interval(&measure.interval))
}

fn interval(interval: &Interval) -> String {
    format!("<small>{:.4} to {:.4}</small>", interval.low, interval.high)
}

fn versus(difference: Option<&Difference>) -> [String; 2] {
    let Some(d) = difference else { return [String::new(), String::new()] };
    let class = match (d.p < SIGNIFICANT, d.difference > 0.0) {
        (false, _) => "",
        (true, true) => "better",
        (true, false) => "worse",
    };
    let shown = format!("<span class=\"{class}\">{:+.4}</span>", d.difference);
    [format!("{shown}<br>{}", interval(&d.interval)), format!("{:.4}", d.p)]
}

/// The rows' systems, each once, in their order.
fn systems(rows: &[Row]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    rows.iter().map(|row| row.system.as_str()).filter(|system| seen.insert(*system)).collect()
}

fn charts(rows: &[Row], out: &mut String) {
    let depths: Vec<u32> =
        rows.iter().map(|row| row.top_k).collect::<BTreeSet<_>>().into_iter().collect();
    let by_depth = |point: fn(&Row) -> Option<[f64; 3]>| {
        lines(rows, |of_system| {
            let points = of_system.iter().filter_map(|row| {
                let [value, low, high] = point(row)?;
                let place = depths.iter().position(|depth| *depth == row.top_k)?;
                Some(Point { place, value, low, high })
            });
            points.collect()
        })
    };
    let named = |depths: &[u32]| depths.iter().map(u32::to_string).collect::<Vec<_>>();
    let ndcg = Chart {
        x: "top_k",
        y: "NDCG@10",
        places: named(&depths),
        series: by_depth(|row| {
            let Measure { mean, interval, .. } = &row.ndcg_at_10;
            Some([*mean, interval.low, interval.high])
        }),
        scale: Scale::Linear,
    };
    let latency = Chart {
        x: "top_k",
        y: "milliseconds",
        places: named(&depths),
        series: by_depth(|row| {
            let latency = row.latency_ms.get("total")?;
            Some([latency.p50, latency.p50, latency.p99])
        }),
        scale: Scale::Logarithmic,
    };
    show("NDCG@10 by ranking and depth, with 95 % intervals", &ndcg, out);
    show("Recall at k of the deepest ranking", &recall(rows), out);
    show("Time of a request: median, with a bar up to the 99th percentile", &latency, out);
}

fn recall(rows: &[Row]) -> Chart<'static> {
    let depths: BTreeSet<u32> =
        rows.iter().flat_map(|row| row.recall.iter().map(|(depth, _)| *depth)).collect();
    let depths: Vec<u32> = depths.into_iter().collect();
    let series = lines(rows, |of_system| {
        let deepest = of_system.iter().max_by_key(|row| row.top_k);
        let point = |(depth, value): &(u32, f64)| {
            let place = depths.iter().position(|known| known == depth)?;
            Some(Point { place, value: *value, low: *value, high: *value })
        };
        deepest.iter().flat_map(|row| &row.recall).filter_map(point).collect()
    });
    let places = depths.iter().map(u32::to_string).collect();
    Chart { x: "k", y: "recall", places, series, scale: Scale::Linear }
}

/// A line for each system, from its rows.
fn lines(rows: &[Row], points: impl Fn(&[&Row]) -> Vec<Point>) -> Vec<Series> {
    let series = |system: &str| {
        let own: Vec<&Row> = rows.iter().filter(|row| row.system == system).collect();
        Series { name: system.to_owned(), points: points(&own) }
    };
    systems(rows).into_iter().map(series).collect()
}

fn show(caption: &str, chart: &Chart, out: &mut String) {
    let _ = write!(out, "<figure><figcaption>{caption}</figcaption>{}</figure>", chart.svg());
}

fn latencies(rows: &[Row], out: &mut String) {
    out.push_str("<h2>Latency</h2><p>Milliseconds of each stage, as replies tell them.</p>");
    latency_head(out, "<th>ranking</th><th>top_k</th>");
    for r in rows {
        for (stage, latency) in &r.latency_ms {
            latency_row(out, &[&escaped(&r.system), &r.top_k.to_string()], stage, latency);
        }
    }
    out.push_str("</table></div>");
}

fn latency_head(out: &mut String, first: &str) {
    let _ = write!(
        out,
        "<div class=\"scroll\"><table><tr>{first}<th>stage</th><th>p50</th><th>p90</th><th>p99</th></tr>"
    );
}

fn latency_row(out: &mut String, first: &[&str], stage: &str, latency: &Latency) {
    let [p50, p90, p99] = [latency.p50, latency.p90, latency.p99].map(|ms| format!("{ms:.2}"));
    row(out, &[first, &[stage, &p50, &p90, &p99]].concat());
}

fn losses(comparison: &Comparison, out: &mut String) {
    if comparison.losses.is_empty() {
        return;
    }
    out.push_str(
        "<h2>What reranking made worse</h2><p>NDCG@10 before and after, and the rank of the first \
         relevant document.</p><div class=\"scroll\"><table><tr><th>query</th><th class=\"text\">\
         text</th><th>before</th><th>after</th><th>rank</th><th class=\"text\">first before</th>\
         <th class=\"text\">first after</th></tr>",
    );
    for loss in &comparison.losses {
        let Loss { id, text, before, after, first_before, first_after, .. } = loss;
        let rank = |rank: Option<usize>| rank.map_or("none".to_owned(), |rank| rank.to_string());
        let ranks = format!("{} to {}", rank(loss.rank_before), rank(loss.rank_after));
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"text\">{}</td><td>{before:.3}</td><td>{after:.3}</td>\
             <td>{ranks}</td><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>",
            escaped(id),
            escaped(text),
            escaped(first_before),
            escaped(first_after)
        );
    }
    out.push_str("</table></div>");
}

fn answers(answered: &Answered, out: &mut String) {
    let Answered { gold_passage, answering, operating_points, latency_ms, mistakes } = answered;
    let given = if *gold_passage { "the passage that answers" } else { "what was retrieved" };
    let _ = write!(
        out,
        "<h2>Answers</h2><p>{} questions that the documents answer and {} that they do not, from \
         {given}.</p><div class=\"scroll\"><table>",
        answering.questions, answering.unanswerable
    );
    let figures = serde_json::to_value(answering).unwrap_or_default();
    for (name, value) in figures.as_object().into_iter().flatten() {
        let text = match (value.as_f64(), value.as_object()) {
            (Some(number), _) if !value.is_u64() => format!("{number:.4}"),
            (_, Some(bounds)) => {
                let bound = |end: &str| bounds.get(end).and_then(Value::as_f64).unwrap_or_default();
                format!("{:.2} to {:.2}", bound("low"), bound("high"))
            }
            _ => value.to_string(),
        };
        row(out, &[&escaped(name), &text]);
    }
    out.push_str("</table></div>");
    if !operating_points.is_empty() {
        let caption = "What a threshold of evidence gives: the share of answerable questions that are \
                       answered, and of the others that are refused";
        show(caption, &thresholds(operating_points), out);
    }
    out.push_str(
        "<h2>Latency of answers</h2><p>Milliseconds of each stage, as replies tell them.</p>",
    );
    latency_head(out, "");
    for (stage, latency) in latency_ms {
        latency_row(out, &[], stage, latency);
    }
    out.push_str("</table></div>");
    self::mistakes(mistakes, out);
}

fn thresholds(points: &[OperatingPoint]) -> Chart<'static> {
    let series = |name: &str, of: fn(&OperatingPoint) -> f64| {
        let point = |(place, point)| {
            let value = of(point);
            Point { place, value, low: value, high: value }
        };
        Series { name: name.to_owned(), points: points.iter().enumerate().map(point).collect() }
    };
    Chart {
        x: "threshold",
        y: "share",
        places: points.iter().map(|point| format!("{:.3}", point.threshold)).collect(),
        series: vec![
            series("answered", |p| p.answerable_coverage),
            series("refused", |p| p.unanswerable_refused),
            series("SQuAD 2.0 F1", |p| p.squad2_f1 / 100.0),
        ],
        scale: Scale::Linear,
    }
}

fn mistakes(mistakes: &[Mistake], out: &mut String) {
    if mistakes.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Wrong answers with the strongest evidence</h2><div class=\"scroll\"><table><tr>\
         <th>question</th><th class=\"text\">text</th><th class=\"text\">answer</th>\
         <th class=\"text\">accepted</th><th>evidence</th></tr>",
    );
    for Mistake { id, question, answer, accepted, evidence } in mistakes {
        let accepted = match accepted.is_empty() {
            true => "<small>no answer</small>".to_owned(),
            false => escaped(&accepted.join(" | ")),
        };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td>\
             <td class=\"text\">{accepted}</td><td>{evidence:.3}</td></tr>",
            escaped(id),
            escaped(question),
            escaped(answer)
        );
    }
    out.push_str("</table></div>");
}

/// A row of cells that are HTML already.
fn row(out: &mut String, cells: &[&str]) {
    out.push_str("<tr>");
    for cell in cells {
        let _ = write!(out, "<td>{cell}</td>");
    }
    out.push_str("</tr>");
}

/// Text as HTML shows it.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
