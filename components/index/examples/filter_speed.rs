//! What filters cost: `cargo run --release -p trine-index --example filter_speed -- 1000000`.
//!
//! So many documents of one passage, with a path, a title, two of a thousand tags, a date and a
//! number.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use trine_index::{Date, Fields, Filter, Metadata, Value};

const FILTERS: [&str; 10] = [
    r#"{"field":"tags","eq":"tag7"}"#,
    r#"{"field":"tags","in":["tag1","tag2","tag3","tag4"]}"#,
    r#"{"field":"source","eq":"team3/docs/12003.md"}"#,
    r#"{"field":"source","glob":"team3/**"}"#,
    r#"{"field":"source","glob":"**/*77.md"}"#,
    r#"{"field":"date","gte":"2024-06"}"#,
    r#"{"field":"date","eq":"2024-02-29"}"#,
    r#"{"field":"number","gt":5,"lte":7.5}"#,
    r#"{"not":{"field":"draft","eq":true}}"#,
    r#"{"and":[{"field":"date","lt":"2023"},{"or":[{"field":"tags","eq":"tag1"},{"field":"number","lt":9}]}]}"#,
];

fn document(number: u64) -> (Fields, u32) {
    let drawn = number.wrapping_mul(6_364_136_223_846_793_005) >> 20;
    let text = |text: String| Value::Text(text);
    let day = 86_400_000 * (18_262 + (drawn % 2000) as i64);
    let fields = [
        ("source", vec![text(format!("team{}/docs/{number}.md", number % 10))]),
        ("title", vec![text(format!("The title of document {number}"))]),
        ("tags", [3, 7].map(|by| text(format!("tag{}", drawn / by % 1000))).to_vec()),
        ("date", vec![Value::Date(Date(day))]),
        ("number", vec![Value::Number((drawn % 977) as f64 / 7.0)]),
        ("draft", vec![Value::Boolean(drawn.is_multiple_of(20))]),
    ];
    (fields.map(|(name, values)| (name.to_owned(), values)).into(), 1)
}

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(100_000), |count| count.parse())?;
    let started = Instant::now();
    let metadata = Metadata::build((0..count).map(document))?;
    let built = started.elapsed();
    let bytes = metadata.to_bytes();
    let started = Instant::now();
    Metadata::from_bytes(&bytes)?;
    let read = started.elapsed();
    println!(
        "{count} documents, {} MB: built in {built:.1?}, read in {read:.1?}",
        bytes.len() >> 20
    );
    for json in FILTERS {
        let filter = Filter::parse(json)?;
        filter.check(&[&metadata])?;
        let times = (0..9).map(|_| {
            let started = Instant::now();
            black_box(filter.admitted(&metadata));
            started.elapsed()
        });
        let best = times.min().unwrap_or_default();
        println!("{best:>10.1?} {:>8} {json}", filter.admitted(&metadata).count());
    }
    Ok(())
}
