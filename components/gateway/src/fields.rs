//! A request's fields by name, out of a JSON object or a query string.
//!
//! Both are read by the same code, so that a route takes the same fields in both, and says the
//! same where one is wrong. What nobody asked for is an error, so that a misspelt field is noticed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Bytes of a wrong value that its error repeats.
const SHOWN: usize = 80;

/// What a request says, until it is read.
#[derive(Debug)]
pub struct Fields {
    values: BTreeMap<String, Value>,
    /// Names that were asked for.
    known: Vec<&'static str>,
    /// Whether values that are no text are written as text.
    is_text: bool,
}

impl Fields {
    /// The fields of a JSON object; null is as good as absent.
    pub fn of_json(text: &str) -> Result<Fields, Problem> {
        let object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|e| Problem::Invalid(format!("the body's JSON: {e}")))?;
        let values = object.into_iter().filter(|(_, value)| !value.is_null()).collect();
        Ok(Fields { values, known: vec![], is_text: false })
    }

    /// The parameters of a query string; of several with one name the last.
    pub fn of_query_string(text: &str) -> Result<Fields, Problem> {
        let mut values = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.insert(name.to_owned(), Value::String(decoded(name, value)?));
        }
        Ok(Fields { values, known: vec![], is_text: true })
    }

    /// A field's value, if the request has it; `allowed` says in an error what it may be.
    pub fn take<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        allowed: impl Display,
    ) -> Result<Option<T>, Problem> {
        self.known.push(name);
        let Some(value) = self.values.remove(name) else { return Ok(None) };
        let written = value.as_str().filter(|_| self.is_text);
        let read = T::deserialize(&value).ok();
        let read = read.or_else(|| serde_json::from_str(written?).ok());
        read.map(Some).ok_or_else(|| refused(name, &value, allowed))
    }

    /// A number in a range.
    pub fn number<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, Problem>
    where
        T: DeserializeOwned + PartialOrd + Display,
    {
        let allowed = format!("{} to {}", range.start(), range.end());
        match self.take::<T>(name, &allowed)? {
            Some(number) if !range.contains(&number) => Err(refused(name, number, allowed)),
            number => Ok(number),
        }
    }

    /// One of these words, by its place among them.
    pub fn word(&mut self, name: &'static str, words: &[&str]) -> Result<Option<usize>, Problem> {
        let allowed = words.join(" or ");
        let Some(word) = self.take::<String>(name, &allowed)? else { return Ok(None) };
        let place = words.iter().position(|known| *known == word);
        place.map(Some).ok_or_else(|| refused(name, Value::String(word), allowed))
    }

    /// Refuses fields that nobody asked for.
    pub fn end(self) -> Result<(), Problem> {
        let Some(name) = self.values.keys().next() else { return Ok(()) };
        Err(Problem::Invalid(format!(
            "no field is called `{}`; there are {}",
            cut(name),
            self.known.join(", ")
        )))
    }
}

/// The error of a field with this value.
pub fn refused(name: &str, value: impl Display, allowed: impl Display) -> Problem {
    let value = value.to_string();
    Problem::Invalid(format!("{name} is {}; it may be {allowed}", cut(&value)))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

/// Form decoding: `+` is a space, `%xx` a byte, and the bytes must be UTF-8.
fn decoded(name: &str, value: &str) -> Result<String, Problem> {
    let spaced = value.replace('+', " ");
    percent_decode(spaced.as_bytes())
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| Problem::Invalid(format!("the value of `{}` is not UTF-8", cut(name))))
}
