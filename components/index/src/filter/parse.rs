//! JSON to a filter.

use serde_json::{Map, Value};

use super::{Edge, FilterError, Glob, MAX_BYTES, Node, Operand, Test};
use crate::metadata::Date;

/// Conditions that a filter may have.
const MAX_CONDITIONS: usize = 256;
/// Combinations that may lie in one another.
const MAX_DEPTH: usize = 16;
/// Operators of a condition, and of a combination.
const OPERATORS: [&str; 7] = ["eq", "in", "gt", "gte", "lt", "lte", "glob"];
const COMBINATIONS: [&str; 3] = ["and", "or", "not"];

pub(super) fn parse(json: &str) -> Result<Node, FilterError> {
    if json.len() > MAX_BYTES {
        return Err(FilterError::TooMuch { what: "bytes", most: MAX_BYTES });
    }
    let value = serde_json::from_str(json).map_err(|error| FilterError::Json(error.to_string()))?;
    Parser { conditions: 0 }.node(value, MAX_DEPTH)
}

struct Parser {
    conditions: usize,
}

impl Parser {
    fn node(&mut self, value: Value, depth: usize) -> Result<Node, FilterError> {
        let Value::Object(mut object) = value else {
            return Err(shape("a filter is an object", &value));
        };
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(FilterError::TooMuch { what: "conditions", most: MAX_CONDITIONS });
        }
        if depth == 0 {
            return Err(FilterError::TooMuch {
                what: "combinations in one another",
                most: MAX_DEPTH,
            });
        }
        if let Some(field) = object.remove("field") {
            let Value::String(field) = field else {
                return Err(shape("a field's name is a text", &field));
            };
            return Ok(Node::Field { test: test(&field, object)?, name: field });
        }
        let count = object.len();
        let (1, Some((name, inner))) = (count, object.into_iter().next()) else {
            return Err(FilterError::Shape(format!(
                "an object without \"field\" has one of {} and nothing else",
                COMBINATIONS.join(", ")
            )));
        };
        match name.as_str() {
            "and" => Ok(Node::And(self.nodes(inner, depth)?)),
            "or" => Ok(Node::Or(self.nodes(inner, depth)?)),
            "not" => Ok(Node::Not(Box::new(self.node(inner, depth - 1)?))),
            _ if OPERATORS.contains(&name.as_str()) => {
                Err(FilterError::Shape(format!("{name:?} needs a \"field\" beside it")))
            }
            _ => Err(FilterError::Operator { name, known: COMBINATIONS.join(", ") }),
        }
    }

    fn nodes(&mut self, value: Value, depth: usize) -> Result<Vec<Node>, FilterError> {
        match value {
            Value::Array(all) => all.into_iter().map(|one| self.node(one, depth - 1)).collect(),
            other => Err(shape("what is combined is a list of filters", &other)),
        }
    }
}

/// The one test that an object without its `field` makes.
fn test(field: &str, object: Map<String, Value>) -> Result<Test, FilterError> {
    let mut tests = vec![];
    let (mut low, mut high): (Option<Edge>, Option<Edge>) = (None, None);
    for (name, value) in object {
        let edge = |value| Ok(Edge { operand: ordered(value)?, inclusive: name.ends_with('e') });
        match name.as_str() {
            "eq" => tests.push(Test::In(vec![equal(value)?])),
            "in" => match value {
                Value::Array(all) => {
                    tests.push(Test::In(all.into_iter().map(equal).collect::<Result<_, _>>()?));
                }
                other => return Err(shape("\"in\" takes a list", &other)),
            },
            "glob" => match value {
                Value::String(pattern) => tests.push(Test::Glob(Glob::parse(&pattern)?)),
                other => return Err(shape("\"glob\" takes a text", &other)),
            },
            "gt" | "gte" if low.is_none() => low = Some(edge(value)?),
            "lt" | "lte" if high.is_none() => high = Some(edge(value)?),
            "gt" | "gte" | "lt" | "lte" => {
                let twice = format!("the range of field {field:?} has two lower or two upper ends");
                return Err(FilterError::Shape(twice));
            }
            _ => return Err(FilterError::Operator { name, known: OPERATORS.join(", ") }),
        }
    }
    if low.is_some() || high.is_some() {
        tests.push(range(field, low, high)?);
    }
    match (tests.pop(), tests.is_empty()) {
        (Some(test), true) => Ok(test),
        (None, _) => Err(FilterError::Shape(format!(
            "the condition on field {field:?} says nothing: give one of {}",
            OPERATORS.join(", ")
        ))),
        (Some(_), false) => Err(FilterError::Shape(format!(
            "the condition on field {field:?} says several things: put each into a condition of \
             its own, under \"and\""
        ))),
    }
}

/// A range, whose ends are of one kind.
fn range(field: &str, low: Option<Edge>, high: Option<Edge>) -> Result<Test, FilterError> {
    match (&low, &high) {
        (Some(low), Some(high)) if low.operand.kind() != high.operand.kind() => {
            Err(FilterError::Shape(format!(
                "the range of field {field:?} begins with {} and ends with {}",
                low.operand.kind(),
                high.operand.kind()
            )))
        }
        _ => Ok(Test::Range { low, high }),
    }
}

fn equal(value: Value) -> Result<Edge, FilterError> {
    Ok(Edge { operand: operand(value)?, inclusive: true })
}

fn operand(value: Value) -> Result<Operand, FilterError> {
    match value {
        Value::String(text) => Ok(Operand::Text { span: Date::span(&text), text }),
        Value::Bool(boolean) => Ok(Operand::Boolean(boolean)),
        Value::Number(number) => number
            .as_f64()
            .map(Operand::Number)
            .ok_or_else(|| FilterError::Shape(format!("{number} is out of range"))),
        other => Err(shape("a value is a text, a number, true or false", &other)),
    }
}

/// A value that a range can begin or end with.
fn ordered(value: Value) -> Result<Operand, FilterError> {
    match operand(value)? {
        Operand::Boolean(_) => {
            Err(FilterError::Shape("a range is one of texts, dates or numbers".to_owned()))
        }
        operand => Ok(operand),
    }
}

fn shape(rule: &str, found: &Value) -> FilterError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    FilterError::Shape(format!("{rule}, and {found} was given"))
}
