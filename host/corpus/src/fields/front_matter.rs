//! Front matter: YAML or TOML, or what a template left of it.

use serde_json::{Map, Value as Json};
use trine_text::markdown::{FrontMatter, FrontMatterKind};

use super::{Given, yaml};

/// The fields of front matter. Templates often make the whole no YAML or TOML: then the fields
/// that are by themselves are kept, and the others told.
pub(crate) fn read(front_matter: &FrontMatter<'_>) -> Given {
    let mut given = Given::default();
    let parse = match front_matter.kind {
        FrontMatterKind::Yaml => yaml::parse,
        FrontMatterKind::Toml => toml,
    };
    let table = parse(front_matter.fields).unwrap_or_else(|_| {
        let mut table = Map::new();
        let (fields, rest) = fields(front_matter.fields);
        for field in fields {
            match parse(field) {
                Ok(one) => table.extend(one),
                Err(error) => match plain(field, front_matter.kind) {
                    Some((name, text)) => _ = table.insert(name, text),
                    None => given.note(format!("{} ({error})", name(field))),
                },
            }
        }
        if !rest.is_empty() {
            given.note(format!("all from {} on", name(rest)));
        }
        table
    });
    table.iter().for_each(|(name, value)| given.add(name, value));
    given
}

/// The pieces that begin at the start of a line: a field each, with what is indented below it. A
/// TOML table ends them, as its fields say nothing without its name: it and all below is the rest.
fn fields(text: &str) -> (Vec<&str>, &str) {
    let begins = |line: &str| line.starts_with(|c: char| c.is_alphanumeric() || "\"'_".contains(c));
    let mut starts = vec![];
    let mut at = 0;
    for line in text.split_inclusive('\n').take_while(|line| !line.starts_with('[')) {
        if begins(line) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([at]);
    (starts.iter().zip(ends).map(|(&start, end)| &text[start..end]).collect(), &text[at..])
}

/// A YAML field of one line whose value is meant as it stands, as in `title: trine: a tour`.
fn plain(field: &str, kind: FrontMatterKind) -> Option<(String, Json)> {
    let (name, value) = field.trim_end().split_once(':')?;
    let is_plain = kind == FrontMatterKind::Yaml
        && value.starts_with(' ')
        && !value.contains(['\n', '{', '}', '[', ']'])
        && !value.trim_start().starts_with(['"', '\'', '&', '*', '!', '|', '>', '%', '@', '`']);
    is_plain.then(|| (name.to_owned(), Json::String(value.trim().to_owned())))
}

/// What a field is called, for a note.
fn name(field: &str) -> String {
    let line = field.lines().next().unwrap_or_default();
    line.split([':', '=']).next().unwrap_or_default().trim().chars().take(40).collect()
}

fn toml(text: &str) -> Result<Map<String, Json>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // The first line: the others draw the place.
        error.message().lines().next().unwrap_or_default().to_owned()
    })?;
    Ok(table.into_iter().map(|(name, value)| (name, json(value))).collect())
}

/// The parser bounds how deep it is.
fn json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(boolean) => boolean.into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            Json::Object(table.into_iter().map(|(name, value)| (name, json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use trine_index::Value;

    use super::*;

    fn given(text: &str) -> Given {
        Given::of_markdown(text)
    }

    fn text(text: &str) -> Vec<Value> {
        vec![Value::of_text(text)]
    }

    #[test]
    fn yaml_and_toml_say_the_same() {
        let yaml = "---\ntitle: T\ntags: [a, 'b']\ndate: 2024-01-31\nn: 3.5\ndraft: false\n\
                    quoted: \"3\"\nextra:\n  deep: x\nlist:\n- 1\n- two\n---\n";
        let toml = "+++\ntitle = 'T'\ntags = ['a', 'b']\ndate = 2024-01-31\nn = 3.5\ndraft = false\n\
                    quoted = '3'\nlist = [1, 'two']\n[extra]\ndeep = 'x'\n+++\n";
        let (yaml, toml) = (given(yaml), given(toml));
        assert_eq!(yaml.fields, toml.fields);
        assert_eq!((yaml.warning(), toml.warning()), (None, None));
        assert_eq!(yaml.fields["tags"], [text("a"), text("b")].concat());
        assert_eq!(yaml.fields["date"], text("2024-01-31"));
        assert!(matches!(yaml.fields["date"][0], Value::Date(_)));
        assert_eq!(yaml.fields["quoted"], [Value::Text("3".into())]);
        assert_eq!(yaml.fields["list"], [Value::Number(1.0), Value::Text("two".into())]);
        assert_eq!(yaml.fields["extra.deep"], text("x"));
        assert_eq!(yaml.title.as_deref(), Some("T"));
    }

    #[test]
    fn what_a_template_left_is_read_field_by_field() {
        let broken = given(
            "---\ntitle: trine: a tour\ntags:\n- a\n- b\nurl: {{ page.url }}\nlevel: 3\n\
             note: \"open\n---\n",
        );
        assert_eq!(broken.title.as_deref(), Some("trine: a tour"));
        assert_eq!(broken.fields["tags"], [text("a"), text("b")].concat());
        assert_eq!(broken.fields["level"], [Value::Number(3.0)]);
        let warning = broken.warning().unwrap();
        assert!(warning.contains("url (") && warning.contains("note ("), "{warning}");
        let toml = given("+++\ntitle = 'T'\nbad = {{ x }}\nn = 1\n[extra]\nx = 1\n+++\n");
        assert_eq!((toml.title.as_deref(), toml.fields.len()), (Some("T"), 2));
        let warning = toml.warning().unwrap();
        assert!(warning.contains("bad (") && warning.contains("all from [extra] on"), "{warning}");
    }

    #[test]
    fn odd_front_matter_is_no_danger() {
        let deep = format!("---\nx: {}1{}\n---\n", "[".repeat(5000), "]".repeat(5000));
        let blocks: String = (0..500).map(|i| format!("{}x:\n", " ".repeat(i))).collect();
        let laughs: String =
            (1..30).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}]\n", i - 1)).collect();
        for odd in [
            deep.as_str(),
            &format!("---\nx: 1\n{blocks}---\n"),
            &format!("---\na0: &a0 ha\n{laughs}---\n"),
            "---\nx: &a [*a]\n? [1, 2]\n: y\n---\n",
            "---\nx: 1\nx: 2\n\t- \n---\n",
            "---\nx: .nan\ny: -.inf\nz: 1e999\nw: 0x1F\n---\n",
            "---\nx: !!binary aGk=\n<<: *none\n---\n",
            &format!("+++\nx = {}1{}\n+++\n", "[".repeat(5000), "]".repeat(5000)),
        ] {
            let given = given(odd);
            assert!(given.fields.len() <= 64);
            for value in given.fields.values().flatten() {
                assert!(!matches!(value, Value::Number(number) if !number.is_finite()), "{odd}");
            }
        }
    }
}
