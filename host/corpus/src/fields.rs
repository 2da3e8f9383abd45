//! What is known about a document beside its text: the fields that filters ask about.

mod front_matter;
mod yaml;

use serde_json::Value as Json;
use trine_index::{Fields, Value};
use trine_text::markdown;

pub(crate) use front_matter::read as of_front_matter;

/// A document's fields, and values and bytes that each may have; a name's bytes; and tables in
/// tables.
const MAX_FIELDS: usize = 64;
const MAX_VALUES: usize = 256;
const MAX_TEXT: usize = 1024;
const MAX_NAME: usize = 128;
const MAX_DEPTH: usize = 8;
/// What is told of one document that was left out.
const MAX_NOTES: usize = 3;

/// The fields that a document gives itself.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) fields: Fields,
    /// Its `title`, as it is written.
    pub(crate) title: Option<String>,
    notes: Vec<String>,
    /// Notes that there was no room for.
    more: usize,
}

impl Given {
    /// The front matter's, if `text` is Markdown that has some.
    pub(crate) fn of_markdown(text: &str) -> Given {
        markdown::front_matter(text).map_or_else(Given::default, |found| of_front_matter(&found))
    }

    /// Adds what `value` holds: a table as a field for each of its own, named with a dot between,
    /// a list as several values.
    pub(crate) fn add(&mut self, name: &str, value: &Json) {
        let title = match value {
            Json::String(title) => one_line(title),
            Json::Number(_) | Json::Bool(_) => value.to_string(),
            _ => String::new(),
        };
        if name == "title" && !title.is_empty() {
            self.title = Some(title);
        }
        self.add_nested(name, value, MAX_DEPTH);
    }

    fn add_nested(&mut self, name: &str, value: &Json, depth: usize) {
        match value {
            Json::Null => {}
            Json::Object(_) | Json::Array(_) if depth == 0 => {
                self.note(format!("field {name} lies more than {MAX_DEPTH} tables deep"));
            }
            Json::Object(table) => {
                for (inner, value) in table {
                    self.add_nested(&format!("{name}.{inner}"), value, depth - 1);
                }
            }
            Json::Array(list) => {
                if list.len() > MAX_VALUES {
                    return self.note(format!("field {name} has more than {MAX_VALUES} values"));
                }
                list.iter().for_each(|value| self.add_nested(name, value, depth - 1));
            }
            Json::Bool(boolean) => self.push(name, Value::Boolean(*boolean)),
            Json::Number(number) => match number.as_f64() {
                Some(number) => self.push(name, Value::Number(number)),
                None => self.note(format!("field {name} is out of range")),
            },
            Json::String(text) if text.len() > MAX_TEXT => {
                self.note(format!("field {name} has a text of more than {MAX_TEXT} bytes"));
            }
            Json::String(text) => self.push(name, Value::of_text(one_line(text))),
        }
    }

    fn push(&mut self, name: &str, value: Value) {
        let fields = self.fields.len();
        match self.fields.get_mut(name) {
            Some(values) if values.len() < MAX_VALUES => values.push(value),
            Some(_) => self.note(format!("field {name} has more than {MAX_VALUES} values")),
            None if name.len() > MAX_NAME => {
                self.note(format!("a field's name has more than {MAX_NAME} bytes"));
            }
            None if fields == MAX_FIELDS => {
                self.note(format!("there are more than {MAX_FIELDS} fields: {name} is too much"));
            }
            None => _ = self.fields.insert(name.to_owned(), vec![value]),
        }
    }

    /// Puts what trine knows of every document in the place of what the document says.
    pub(crate) fn set(&mut self, name: &str, text: String) {
        let value = vec![Value::Text(text)];
        let before = self.fields.insert(name.to_owned(), value.clone());
        if before.is_some_and(|before| before != value) && name != "title" {
            self.note(format!("field {name} is what trine calls its own"));
        }
    }

    pub(crate) fn note(&mut self, note: String) {
        match self.notes.len() < MAX_NOTES {
            true => self.notes.push(note),
            false => self.more += 1,
        }
    }

    /// What was not kept, for the report.
    pub(crate) fn warning(&self) -> Option<String> {
        let more = if self.more > 0 { format!(" (and {} more)", self.more) } else { String::new() };
        let said = || format!("has metadata that was not kept: {}{more}", self.notes.join("; "));
        (!self.notes.is_empty()).then(said)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(value: Json) -> Given {
        let mut given = Given::default();
        value.as_object().unwrap().iter().for_each(|(name, value)| given.add(name, value));
        given
    }

    #[test]
    fn tables_flatten_and_lists_are_several_values() {
        let given = given(json!({
            "a": { "b": { "c": 1 }, "d": [true, null, " x\n y "] },
            "who": [{ "name": "A" }, { "name": "B" }],
            "date": "2024-01-31",
            "none": null,
            "empty": [],
        }));
        let text = |text: &str| Value::Text(text.into());
        let expected = [
            ("a.b.c", vec![Value::Number(1.0)]),
            ("a.d", vec![Value::Boolean(true), text("x y")]),
            ("date", vec![Value::of_text("2024-01-31")]),
            ("who.name", vec![text("A"), text("B")]),
        ];
        assert_eq!(given.fields, expected.map(|(name, values)| (name.to_owned(), values)).into());
        assert_eq!(given.warning(), None);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_told() {
        let mut deep = json!(1);
        (0..20).for_each(|_| deep = json!({ "x": deep }));
        let many: serde_json::Map<_, _> = (0..70).map(|i| (format!("f{i}"), json!(i))).collect();
        for (value, said) in [
            (json!({ "a": deep }), "more than 8 tables deep"),
            (json!({ "a": vec![1; 300] }), "field a has more than 256 values"),
            (json!({ "a": [vec![1; 200], vec![2; 200]] }), "field a has more than 256 values"),
            (json!({ "a": "x".repeat(2000) }), "a text of more than 1024 bytes"),
            (json!({ "n".repeat(200): 1 }), "name has more than 128 bytes"),
            (Json::Object(many), "more than 64 fields: f67 is too much; "),
        ] {
            let given = given(value);
            let warning = given.warning().unwrap();
            assert!(warning.contains(said), "{warning}");
            assert!(given.fields.len() <= 64 && warning.len() < 400, "{warning}");
            assert!(given.fields.values().all(|values| values.len() <= 256));
        }
    }
}
