//! The one field of front matter that is read: the title.

use trine_text::markdown::{FrontMatter, FrontMatterKind};

/// The `title` field; `None` if there is none or it is empty.
pub(crate) fn title(front_matter: &FrontMatter<'_>) -> Option<String> {
    let title = match front_matter.kind {
        FrontMatterKind::Toml => toml_title(front_matter.fields),
        FrontMatterKind::Yaml => yaml_title(front_matter.fields),
    };
    let title = title?.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(title).filter(|title| !title.is_empty())
}

fn toml_title(fields: &str) -> Option<String> {
    let of_table = |fields: &str| -> Option<String> {
        Some(fields.parse::<toml::Table>().ok()?.get("title")?.as_str()?.to_owned())
    };
    // Where a template makes the whole no TOML, the line alone may still be.
    of_table(fields)
        .or_else(|| fields.lines().filter(|l| l.starts_with("title")).find_map(of_table))
}

/// The scalar of a top-level `title:` (YAML 1.2, chapters 7 and 8): plain, quoted, or a
/// block of indented lines. Not a YAML parser: templates often make front matter no YAML.
fn yaml_title(fields: &str) -> Option<String> {
    let mut lines = fields.lines();
    let value = lines.find_map(|line| line.strip_prefix("title:"))?.trim();
    let continued = || {
        let indented = lines.clone().take_while(|line| line.starts_with([' ', '\t']));
        indented.map(str::trim).collect::<Vec<_>>().join(" ")
    };
    Some(match value.chars().next() {
        None | Some('>' | '|') => continued(),
        Some('"') => double_quoted(&value[1..]),
        Some('\'') => single_quoted(&value[1..]),
        Some(_) => {
            let plain = value.split(" #").next().unwrap_or(value);
            format!("{plain} {}", continued())
        }
    })
}

fn double_quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n' | 't') => out.push(' '),
                Some(escaped) => out.push(escaped),
                None => {}
            },
            _ => out.push(c),
        }
    }
    out
}

fn single_quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.peek() == Some(&'\'') => {
                chars.next();
                out.push(c);
            }
            '\'' => break,
            _ => out.push(c),
        }
    }
    out
}
