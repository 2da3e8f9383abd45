//! Which passages a search may find: a condition on their documents' fields.
//!
//! ```text
//! {"field": "tags", "in": ["a", "b"]}      eq, in: one of the field's values is equal
//! {"field": "date", "gte": "2024-01-01"}   gt, gte, lt, lte: one of them is in the range
//! {"field": "source", "glob": "docs/**"}   glob: one of them matches
//! {"and": [..]}  {"or": [..]}  {"not": ..}
//! ```
//!
//! A text that names a time compares with the field's dates, where it has any, and stands for all
//! of that year, month, day or moment. Other texts compare with texts, byte by byte.

mod glob;
mod parse;

use std::cmp::Ordering;
use std::ops::Range;

use crate::Bitmap;
use crate::metadata::{Field, Metadata};
use glob::Glob;

/// Longer filters are refused.
const MAX_BYTES: usize = 64 * 1024;
/// Fields that an error lists.
const LISTED: usize = 40;

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No JSON.
    #[error("the filter is no JSON: {0}")]
    Json(String),
    /// JSON of another form.
    #[error("the filter is malformed: {0}")]
    Shape(String),
    /// An operator that there is not.
    #[error("the filter has no operator {name:?}; there are {known}")]
    Operator {
        /// As it was given.
        name: String,
        /// Those that may stand there.
        known: String,
    },
    /// A character that globs do not know, or an escape of nothing.
    #[error(
        "the glob {pattern:?} has a {character:?}, which means nothing in it: the wildcards are *, \
         ** and ?, and a backslash makes a character stand for itself"
    )]
    Glob {
        /// As it was given.
        pattern: String,
        /// The first such character.
        character: char,
    },
    /// A bound is exceeded.
    #[error("the filter has more than {most} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A field that no document has.
    #[error("no document has a field {name:?}; there are {known}")]
    Field {
        /// As it was given.
        name: String,
        /// The fields that there are.
        known: String,
    },
    /// A value that none of the field's can be compared with.
    #[error("the field {field:?} holds {holds}, which {given} cannot be compared with")]
    Kind {
        /// Its name.
        field: String,
        /// Kinds of its values.
        holds: String,
        /// What it should be compared with.
        given: String,
    },
}

/// A condition on documents' fields.
#[derive(Clone, Debug)]
pub struct Filter(Node);

#[derive(Clone, Debug)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Field { name: String, test: Test },
}

/// What one of a field's values must be.
#[derive(Clone, Debug)]
enum Test {
    /// Equal to one of these, which are inclusive.
    In(Vec<Edge>),
    /// Between these, which are of one kind.
    Range {
        low: Option<Edge>,
        high: Option<Edge>,
    },
    Glob(Glob),
}

/// An end of a range.
#[derive(Clone, Debug)]
struct Edge {
    operand: Operand,
    inclusive: bool,
}

#[derive(Clone, Debug)]
enum Operand {
    /// A text, and the time that it names, if it does.
    Text {
        text: String,
        span: Option<Range<i64>>,
    },
    Number(f64),
    Boolean(bool),
}

impl Filter {
    /// Reads a filter. It may have 64 KiB, 256 conditions and combinations, and 16 of them in one
    /// another.
    pub fn parse(json: &str) -> Result<Filter, FilterError> {
        parse::parse(json).map(Filter)
    }

    /// Whether it can be asked of an index that consists of `segments`: they have its fields, and
    /// these hold what its values can be compared with.
    pub fn check(&self, segments: &[&Metadata]) -> Result<(), FilterError> {
        self.0.check(segments)
    }

    /// The passages of the documents that it admits. A field that `metadata` does not have is one
    /// without values.
    pub fn admitted(&self, metadata: &Metadata) -> Bitmap {
        let documents = self.0.documents(metadata);
        if metadata.documents_are_passages() {
            return documents;
        }
        let mut passages = Bitmap::none(metadata.passages() as usize);
        for run in documents.ranges() {
            let (first, last) =
                (metadata.passages_of(run.start), metadata.passages_of(run.end - 1));
            passages.insert_range(first.start..last.end);
        }
        passages
    }
}

impl Node {
    fn check(&self, segments: &[&Metadata]) -> Result<(), FilterError> {
        match self {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().try_for_each(|n| n.check(segments)),
            Node::Not(node) => node.check(segments),
            Node::Field { name, test } => {
                let fields = segments.iter().filter_map(|segment| segment.field(name));
                let fields: Vec<&Field> = fields.collect();
                if fields.is_empty() {
                    return Err(FilterError::Field { name: name.clone(), known: known(segments) });
                }
                test.check(name, &fields)
            }
        }
    }

    fn documents(&self, metadata: &Metadata) -> Bitmap {
        let count = metadata.documents() as usize;
        let all = |nodes: &[Node], mut sum: Bitmap, join: fn(&mut Bitmap, &Bitmap)| {
            nodes.iter().for_each(|node| join(&mut sum, &node.documents(metadata)));
            sum
        };
        match self {
            Node::And(nodes) => all(nodes, Bitmap::all(count), Bitmap::intersect),
            Node::Or(nodes) => all(nodes, Bitmap::none(count), Bitmap::unite),
            Node::Not(node) => {
                let mut documents = node.documents(metadata);
                documents.invert();
                documents
            }
            Node::Field { name, test } => {
                let mut documents = Bitmap::none(count);
                if let Some(field) = metadata.field(name) {
                    let mut admit =
                        |some: &[u32]| some.iter().for_each(|&document| documents.insert(document));
                    test.documents(field, &mut admit);
                }
                documents
            }
        }
    }
}

impl Test {
    fn check(&self, field: &str, fields: &[&Field]) -> Result<(), FilterError> {
        let given = match self {
            Test::In(edges) => edges.iter().find(|edge| !edge.operand.compares_with(fields)),
            Test::Range { low, high } => {
                low.iter().chain(high).find(|edge| !edge.operand.compares_with(fields))
            }
            Test::Glob(_) => None,
        };
        let given = match (given, self) {
            (Some(edge), _) => edge.operand.described(),
            (None, Test::Glob(_)) if fields.iter().all(|field| field.texts.is_empty()) => {
                "a glob".to_owned()
            }
            _ => return Ok(()),
        };
        Err(FilterError::Kind { field: field.to_owned(), holds: holds(fields), given })
    }

    /// Hands the documents that have a value like this to `admit`, in pieces, some more than once.
    fn documents(&self, field: &Field, admit: &mut dyn FnMut(&[u32])) {
        match self {
            Test::In(edges) => {
                edges.iter().for_each(|edge| admit(between(Some(edge), Some(edge), field)));
            }
            Test::Range { low, high } => admit(between(low.as_ref(), high.as_ref(), field)),
            Test::Glob(glob) => {
                let keys = field.texts.starting_with(&glob.prefix);
                if glob.is_prefix() {
                    return admit(field.texts.documents(keys));
                }
                for key in keys.filter(|&key| glob.matches(field.texts.get(key))) {
                    admit(field.texts.documents(key..key + 1));
                }
            }
        }
    }
}

/// The documents that have a value between the edges.
fn between<'a>(low: Option<&Edge>, high: Option<&Edge>, field: &'a Field) -> &'a [u32] {
    let is_time = |edge: &&Edge| matches!(edge.operand, Operand::Text { span: Some(_), .. });
    match low.or(high).map(|edge| &edge.operand) {
        Some(Operand::Number(_)) => {
            field.numbers.between(|key| is_below(key, low), |key| is_above(key, high))
        }
        Some(Operand::Boolean(_)) => {
            field.booleans.between(|key| is_below(key, low), |key| is_above(key, high))
        }
        _ if !field.dates.is_empty() && low.iter().chain(&high).all(is_time) => {
            field.dates.between(|key| is_below(key, low), |key| is_above(key, high))
        }
        _ => field.texts.between(|key| is_below(key, low), |key| is_above(key, high)),
    }
}

fn is_below(key: impl Key, edge: Option<&Edge>) -> bool {
    edge.is_some_and(|edge| edge.excludes(key, Ordering::Less))
}

fn is_above(key: impl Key, edge: Option<&Edge>) -> bool {
    edge.is_some_and(|edge| edge.excludes(key, Ordering::Greater))
}

/// A value of a column.
trait Key {
    /// How it compares with `operand`, if it does.
    fn order(self, operand: &Operand) -> Option<Ordering>;
}

impl Key for f64 {
    fn order(self, operand: &Operand) -> Option<Ordering> {
        if let Operand::Number(number) = operand { self.partial_cmp(number) } else { None }
    }
}

impl Key for bool {
    fn order(self, operand: &Operand) -> Option<Ordering> {
        if let Operand::Boolean(boolean) = operand { Some(self.cmp(boolean)) } else { None }
    }
}

impl Key for &str {
    fn order(self, operand: &Operand) -> Option<Ordering> {
        if let Operand::Text { text, .. } = operand { Some(self.cmp(text)) } else { None }
    }
}

/// A date in milliseconds. All moments of the time that a text names are equal to it.
impl Key for i64 {
    fn order(self, operand: &Operand) -> Option<Ordering> {
        let Operand::Text { span: Some(span), .. } = operand else { return None };
        Some(match self {
            date if date < span.start => Ordering::Less,
            date if date >= span.end => Ordering::Greater,
            _ => Ordering::Equal,
        })
    }
}

impl Edge {
    /// Whether `key` lies beyond it, on this side of it.
    fn excludes(&self, key: impl Key, beyond: Ordering) -> bool {
        let order = key.order(&self.operand);
        order == Some(beyond) || order == Some(Ordering::Equal) && !self.inclusive
    }
}

impl Operand {
    fn kind(&self) -> &'static str {
        match self {
            Operand::Text { .. } => "a text",
            Operand::Number(_) => "a number",
            Operand::Boolean(_) => "true or false",
        }
    }

    fn described(&self) -> String {
        match self {
            Operand::Text { text, .. } => format!("the text {text:?}"),
            Operand::Number(number) => format!("the number {number}"),
            Operand::Boolean(boolean) => boolean.to_string(),
        }
    }

    /// Whether any value of `fields` is of its kind.
    fn compares_with(&self, fields: &[&Field]) -> bool {
        fields.iter().any(|field| match self {
            Operand::Text { span: Some(_), .. } if !field.dates.is_empty() => true,
            Operand::Text { .. } => !field.texts.is_empty(),
            Operand::Number(_) => !field.numbers.is_empty(),
            Operand::Boolean(_) => !field.booleans.is_empty(),
        })
    }
}

/// The kinds of values that `fields` hold, for an error.
fn holds(fields: &[&Field]) -> String {
    let any = |has: fn(&Field) -> bool| fields.iter().any(|field| has(field));
    let kinds = [
        ("texts", any(|field| !field.texts.is_empty())),
        ("numbers", any(|field| !field.numbers.is_empty())),
        ("dates like 2024-01-31", any(|field| !field.dates.is_empty())),
        ("true or false", any(|field| !field.booleans.is_empty())),
    ];
    let held: Vec<&str> = kinds.iter().filter(|kind| kind.1).map(|kind| kind.0).collect();
    held.join(" and ")
}

/// The fields that `segments` have, for an error.
fn known(segments: &[&Metadata]) -> String {
    let mut names: Vec<&str> = segments.iter().flat_map(|segment| segment.names()).collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(LISTED);
    let listed = names[..names.len() - more].join(", ");
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => listed,
        (false, more) => format!("{listed} and {more} more"),
    }
}
