//! Filters, asked of documents in columns and, naively, of each document.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use trine_index::{Bitmap, Date, Fields, Filter, FilterError, Metadata, Value};

/// Numbers that look random.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

const TEXTS: [&str; 8] = ["a", "ab", "b", "docs/a.md", "docs/b/c.md", "docs", "Ünï", ""];
const DAYS: [&str; 5] =
    ["2023-12-31", "2024-01-01", "2024-01-01T12:30:00Z", "2024-02-29", "2025-01-01T00:00:00+01:00"];
const SPANS: [&str; 6] =
    ["2023", "2024", "2024-01", "2024-01-01", "2024-01-01T12:30", "2024-02-29"];
const NUMBERS: [f64; 5] = [-1.5, -0.0, 0.0, 3.0, 1e300];
const GLOBS: [&str; 6] = ["*", "**", "docs/**", "**/*.md", "?", "a*"];

/// A document's fields: each of one kind, some missing, some with several values.
fn document(draw: &mut Draw) -> Fields {
    let mut fields = Fields::new();
    for name in ["text", "number", "date", "flag"] {
        let values: Vec<Value> = (0..draw.below(4))
            .map(|_| match name {
                "text" => Value::Text(draw.of(&TEXTS).to_owned()),
                "number" => Value::Number(draw.of(&NUMBERS)),
                "date" => Value::of_text(draw.of(&DAYS)),
                _ => Value::Boolean(draw.below(2) == 0),
            })
            .collect();
        if !values.is_empty() {
            fields.insert(name.to_owned(), values);
        }
    }
    fields
}

fn operand(name: &str, draw: &mut Draw) -> Json {
    match name {
        "text" => json!(draw.of(&TEXTS)),
        "number" => json!(draw.of(&NUMBERS)),
        "date" => json!(draw.of(&SPANS)),
        _ => json!(draw.below(2) == 0),
    }
}

fn filter(draw: &mut Draw, depth: usize) -> Json {
    let some = |draw: &mut Draw| -> Vec<Json> {
        (0..draw.below(4)).map(|_| filter(draw, depth - 1)).collect()
    };
    match draw.below(if depth == 0 { 4 } else { 7 }) {
        4 => json!({ "and": some(draw) }),
        5 => json!({ "or": some(draw) }),
        6 => json!({ "not": filter(draw, depth - 1) }),
        kind => {
            let name = draw.of(&["text", "number", "date", "flag"]);
            match kind {
                0 => json!({ "field": name, "eq": operand(name, draw) }),
                1 => {
                    let all: Vec<Json> = (0..draw.below(3)).map(|_| operand(name, draw)).collect();
                    json!({ "field": name, "in": all })
                }
                2 if name != "flag" => {
                    let mut range = json!({ "field": name });
                    let ends = draw.below(3);
                    if ends != 1 {
                        range[draw.of(&["gt", "gte"])] = operand(name, draw);
                    }
                    if ends != 0 {
                        range[draw.of(&["lt", "lte"])] = operand(name, draw);
                    }
                    range
                }
                _ => json!({ "field": "text", "glob": draw.of(&GLOBS) }),
            }
        }
    }
}

/// Whether a document's fields are as `filter` says.
fn naive(filter: &Json, fields: &Fields) -> bool {
    let list = |name: &str| filter[name].as_array();
    if let Some(all) = list("and") {
        return all.iter().all(|filter| naive(filter, fields));
    }
    if let Some(any) = list("or") {
        return any.iter().any(|filter| naive(filter, fields));
    }
    if filter.get("not").is_some() {
        return !naive(&filter["not"], fields);
    }
    let values = fields.get(filter["field"].as_str().unwrap());
    values.is_some_and(|values| values.iter().any(|value| fits(filter, value)))
}

fn fits(filter: &Json, value: &Value) -> bool {
    let conditions = filter.as_object().unwrap().iter().filter(|(name, _)| *name != "field");
    conditions.into_iter().all(|(name, operand)| match name.as_str() {
        "in" => operand.as_array().unwrap().iter().any(|operand| order(value, operand).is_eq()),
        "eq" => order(value, operand).is_eq(),
        "gt" => order(value, operand).is_gt(),
        "gte" => order(value, operand).is_ge(),
        "lt" => order(value, operand).is_lt(),
        "lte" => order(value, operand).is_le(),
        _ => {
            let Value::Text(text) = value else { return false };
            match operand.as_str().unwrap() {
                "*" => !text.contains('/'),
                "**" => true,
                "docs/**" => text.starts_with("docs/"),
                "**/*.md" => text.ends_with(".md"),
                "?" => text.chars().count() == 1 && text != "/",
                _ => text.starts_with('a') && !text.contains('/'),
            }
        }
    })
}

fn order(value: &Value, operand: &Json) -> std::cmp::Ordering {
    match value {
        Value::Text(text) => text.as_str().cmp(operand.as_str().unwrap()),
        Value::Number(number) => number.partial_cmp(&operand.as_f64().unwrap()).unwrap(),
        Value::Boolean(boolean) => boolean.cmp(&operand.as_bool().unwrap()),
        Value::Date(date) => {
            // The operand's first moment, and the first after it.
            let ends = match operand.as_str().unwrap() {
                "2023" => ["2023-01-01", "2024-01-01"],
                "2024" => ["2024-01-01", "2025-01-01"],
                "2024-01" => ["2024-01-01", "2024-02-01"],
                "2024-01-01" => ["2024-01-01", "2024-01-02"],
                "2024-02-29" => ["2024-02-29", "2024-03-01"],
                _ => ["2024-01-01T12:30", "2024-01-01T12:31"],
            };
            let [start, end] = ends.map(|end| Date::parse(end).unwrap());
            match date {
                date if *date < start => std::cmp::Ordering::Less,
                date if *date >= end => std::cmp::Ordering::Greater,
                _ => std::cmp::Ordering::Equal,
            }
        }
    }
}

#[test]
fn filters_admit_what_asking_each_document_admits() {
    let mut draw = Draw(3);
    let (mut some, mut none) = (0, 0);
    for round in 0..40 {
        let one_each = round % 2 == 0;
        let documents: Vec<(Fields, u32)> = (0..draw.below(200))
            .map(|_| (document(&mut draw), if one_each { 1 } else { draw.below(4) as u32 }))
            .collect();
        let metadata = Metadata::build(documents.clone()).unwrap();
        let metadata = Metadata::from_bytes(&metadata.to_bytes()).unwrap();
        for _ in 0..100 {
            let json = filter(&mut draw, 3);
            let filter = Filter::parse(&json.to_string()).unwrap();
            let admitted = documents.iter().flat_map(|(fields, passages)| {
                std::iter::repeat_n(naive(&json, fields), *passages as usize)
            });
            let admitted: Vec<bool> = admitted.collect();
            let mut expected = Bitmap::none(admitted.len());
            (0..).zip(&admitted).filter(|(_, is)| **is).for_each(|(n, _)| expected.insert(n));
            assert_eq!(filter.admitted(&metadata), expected, "{json}");
            *if expected.count() > 0 { &mut some } else { &mut none } += 1;
        }
    }
    assert!(some > 1000 && none > 300, "{some} {none}");
}

fn example() -> Metadata {
    let text = |text: &str| Value::of_text(text);
    let fields = [
        [("source", vec![text("docs/a.md")]), ("year", vec![Value::Number(2024.0)])],
        [("source", vec![text("b.txt")]), ("date", vec![text("2024-05-06")])],
    ];
    let documents = fields.map(|fields| {
        let named = fields.into_iter().map(|(name, values)| (name.to_owned(), values));
        (named.collect::<BTreeMap<_, _>>(), 2)
    });
    Metadata::build(documents).unwrap()
}

#[test]
fn what_is_wrong_with_a_filter_is_said() {
    let deep = "{\"not\":".repeat(20) + "{}" + &"}".repeat(20);
    let many = format!("{{\"or\":[{}]}}", vec!["{\"and\":[]}"; 300].join(","));
    for (json, said) in [
        ("", "no JSON"),
        ("[]", "a filter is an object, and a list was given"),
        ("{}", "one of and, or, not"),
        (r#"{"field":"x"}"#, "says nothing: give one of eq, in"),
        (r#"{"field":3,"eq":1}"#, "a field's name is a text"),
        (r#"{"field":"x","like":"a"}"#, "no operator \"like\"; there are eq, in, gt"),
        (r#"{"nor":[]}"#, "no operator \"nor\"; there are and, or, not"),
        (r#"{"eq":3}"#, "\"eq\" needs a \"field\""),
        (r#"{"field":"x","eq":1,"in":[2]}"#, "says several things"),
        (r#"{"field":"x","gt":1,"gte":2}"#, "two lower or two upper ends"),
        (r#"{"field":"x","gt":1,"lt":"b"}"#, "begins with a number and ends with a text"),
        (r#"{"field":"x","gt":true}"#, "texts, dates or numbers"),
        (r#"{"field":"x","eq":null}"#, "a value is a text"),
        (r#"{"field":"x","in":"a"}"#, "\"in\" takes a list, and a text was given"),
        (r#"{"field":"x","glob":"[a]"}"#, "has a '['"),
        (r#"{"and":{}}"#, "a list of filters, and an object was given"),
        (&deep, "more than 16 combinations"),
        (&many, "more than 256 conditions"),
        (&" ".repeat(70_000), "more than 65536 bytes"),
    ] {
        let error = Filter::parse(json).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let metadata = example();
    for (json, said) in [
        (r#"{"field":"tag","eq":1}"#, "no field \"tag\"; there are date, source, year"),
        (r#"{"not":{"field":"source","eq":1}}"#, "holds texts, which the number 1 cannot"),
        (r#"{"field":"year","in":[2024,"x"]}"#, "holds numbers, which the text \"x\" cannot"),
        (r#"{"field":"year","glob":"2*"}"#, "holds numbers, which a glob cannot"),
        (r#"{"field":"date","gte":"May"}"#, "holds dates like 2024-01-31, which the text \"May\""),
    ] {
        let error = Filter::parse(json).unwrap().check(&[&metadata]).unwrap_err().to_string();
        assert!(error.contains(said.trim_start_matches("no ")), "{error}");
    }
}

/// What one segment does not have another may.
#[test]
fn a_filter_is_checked_against_all_segments() {
    let filter = Filter::parse(r#"{"field":"tag","eq":"new"}"#).unwrap();
    let tagged = Fields::from([("tag".to_owned(), vec![Value::Text("new".into())])]);
    let delta = Metadata::build([(tagged, 3)]).unwrap();
    assert!(matches!(filter.check(&[&example()]), Err(FilterError::Field { .. })));
    assert_eq!(filter.check(&[&example(), &delta]), Ok(()));
    assert_eq!(filter.admitted(&example()), Bitmap::none(4));
    assert_eq!(filter.admitted(&delta), Bitmap::all(3));
}

#[test]
fn documents_come_back_as_they_went_in() {
    let mut draw = Draw(9);
    let documents: Vec<(Fields, u32)> = (0..300).map(|i| (document(&mut draw), i % 3)).collect();
    let metadata = Metadata::build(documents.clone()).unwrap();
    let metadata = Metadata::from_bytes(&metadata.to_bytes()).unwrap();
    assert_eq!((metadata.documents(), metadata.passages()), (300, 300));
    let mut first = 0;
    for (number, (_, passages)) in (0..).zip(&documents) {
        assert_eq!(metadata.passages_of(number), first..first + passages);
        (first..first + passages).for_each(|p| assert_eq!(metadata.document_of(p), number));
        first += passages;
    }
    assert_eq!((metadata.document_of(300), metadata.passages_of(300)), (300, 0..0));
    let sorted = |fields: &Fields| -> BTreeMap<String, Vec<String>> {
        let texts = fields.iter().map(|(name, values)| {
            // There is one zero.
            let text = |value: &Value| format!("{value:?}").replace("-0.0", "0.0");
            let mut values: Vec<String> = values.iter().map(text).collect();
            values.sort();
            values.dedup();
            (name.clone(), values)
        });
        texts.collect()
    };
    for ((fields, _), back) in documents.iter().zip(metadata.to_fields()) {
        assert_eq!(sorted(fields), sorted(&back));
    }
}

#[test]
fn damaged_bytes_are_refused_or_harmless() {
    let mut draw = Draw(5);
    let documents: Vec<(Fields, u32)> = (0..30).map(|_| (document(&mut draw), 2)).collect();
    let bytes = Metadata::build(documents).unwrap().to_bytes();
    let filters: Vec<Filter> =
        (0..50).map(|_| Filter::parse(&filter(&mut draw, 2).to_string()).unwrap()).collect();
    for cut in 0..bytes.len() {
        assert!(Metadata::from_bytes(&bytes[..cut]).is_err(), "{cut}");
    }
    for at in 0..bytes.len() {
        for flip in [1, 0x40, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let Ok(metadata) = Metadata::from_bytes(&damaged) else { continue };
            for filter in &filters {
                let admitted = filter.admitted(&metadata);
                assert_eq!(admitted.limit(), metadata.passages() as usize);
            }
            metadata.to_fields();
        }
    }
}
