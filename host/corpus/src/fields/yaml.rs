//! YAML, as far as front matter needs it: a table of scalars, lists and tables.
//!
//! Of the core schema (YAML 1.2, 10.3.2). Aliases are not followed: a few can stand for gigabytes.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value as Json};

/// Tables and lists in one another; twice what is kept, so that what is too deep is told.
const MAX_DEPTH: usize = 16;

/// A table or list that is being read.
enum Open {
    /// With the key whose value comes next.
    Table(Map<String, Json>, Option<String>),
    List(Vec<Json>),
}

/// Reads one table.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn parse(text: &str) -> Result<Map<String, Json>, String> {
    let mut open: Vec<Open> = vec![];
    for event in Parser::new_from_str(text) {
        let (event, _) =
            event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        let value = match event {
            Event::Scalar(text, style, _, tag) => {
                scalar(&text, style == ScalarStyle::Plain && tag.is_none())
            }
            Event::Alias(_) => return Err("an alias is not followed".to_owned()),
            Event::MappingStart(..) | Event::SequenceStart(..) if open.len() == MAX_DEPTH => {
                return Err(format!("more than {MAX_DEPTH} lists and tables in one another"));
            }
            Event::MappingStart(..) => {
                open.push(Open::Table(Map::new(), None));
                continue;
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(vec![]));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::Table(table, _)) if open.is_empty() => return Ok(table),
                Some(Open::Table(table, _)) => Json::Object(table),
                Some(Open::List(list)) => Json::Array(list),
                None => continue,
            },
            _ => continue,
        };
        match (open.last_mut(), value) {
            (Some(Open::List(list)), value) => list.push(value),
            (Some(Open::Table(table, key)), value) => match (key.take(), value) {
                (Some(key), value) => _ = table.insert(key, value),
                (None, Json::String(name)) => *key = Some(name),
                (None, Json::Array(_) | Json::Object(_)) => {
                    return Err("a list or a table is no name of a field".to_owned());
                }
                (None, other) => *key = Some(other.to_string()),
            },
            (None, _) => break,
        }
    }
    Err("there is no table of fields".to_owned())
}

/// What a scalar stands for.
fn scalar(text: &str, plain: bool) -> Json {
    match text {
        _ if !plain => text.into(),
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => number(text).unwrap_or_else(|| text.into()),
    }
}

fn number(text: &str) -> Option<Json> {
    let whole = text.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16));
    let whole = whole.or_else(|| text.strip_prefix("0o").map(|d| i64::from_str_radix(d, 8)));
    if let Some(whole) = whole {
        return whole.ok().map(Json::from);
    }
    // Rust also reads words like `inf` as numbers.
    let digits = text.trim_start_matches(['-', '+', '.']).starts_with(|c: char| c.is_ascii_digit());
    let float: f64 = text.parse().ok().filter(|_| digits)?;
    serde_json::Number::from_f64(float).map(Json::Number)
}
