//! Front matter: the fields that a static-site generator reads above the text.

/// How front matter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontMatterKind {
    /// Between `---` lines (Jekyll, Hugo, Docusaurus).
    Yaml,
    /// Between `+++` lines (Hugo, Zola), or from the first byte to a `---` line
    /// (Bartholomew, the generator of Spin's documentation).
    Toml,
}

/// Where a document's front matter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontMatter<'a> {
    /// How it is written.
    pub kind: FrontMatterKind,
    /// The fields, without the fences.
    pub fields: &'a str,
    /// Byte offset of the first line after it.
    pub end: usize,
}

/// The front matter at the start of `markdown`, after a byte order mark if there is one.
///
/// A `---` that opens anything but a `key:` line is a thematic break and no fence, and
/// without a closing fence there is no front matter.
pub fn front_matter(markdown: &str) -> Option<FrontMatter<'_>> {
    let text = markdown.strip_prefix('\u{feff}').unwrap_or(markdown);
    let first = text.lines().next()?.trim_end();
    let (kind, fence, fields_start) = match first {
        "---" => (FrontMatterKind::Yaml, "---", line_end(text)),
        "+++" => (FrontMatterKind::Toml, "+++", line_end(text)),
        _ if is_field(first, '=') => (FrontMatterKind::Toml, "---", 0),
        _ => return None,
    };
    let (fields, after) = until_fence(&text[fields_start..], fence)?;
    let sound = match (kind, fields_start) {
        (FrontMatterKind::Yaml, _) => starts_with_field(fields, ':'),
        (FrontMatterKind::Toml, 0) => is_toml_like(fields),
        (FrontMatterKind::Toml, _) => starts_with_field(fields, '='),
    };
    sound.then(|| FrontMatter { kind, fields, end: markdown.len() - after.len() })
}

/// What stands before the fence's line and what after it.
fn until_fence<'a>(text: &'a str, fence: &str) -> Option<(&'a str, &'a str)> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == fence {
            return Some((&text[..start], &text[start + line.len()..]));
        }
        start += line.len();
    }
    None
}

fn line_end(text: &str) -> usize {
    text.find('\n').map_or(text.len(), |at| at + 1)
}

/// Whether the first line that is neither blank nor a comment is a field; no lines at
/// all are sound too.
fn starts_with_field(fields: &str, separator: char) -> bool {
    let mut lines = fields.lines().map(str::trim_end);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_none_or(|line| is_field(line, separator) || line.starts_with('['))
}

/// `key = value` or `key: value`, with a bare or quoted key.
fn is_field(line: &str, separator: char) -> bool {
    let Some((key, value)) = line.split_once(separator) else {
        return false;
    };
    let key = key.trim_end().trim_matches(['"', '\'']);
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let spaced = separator == '=' || value.is_empty() || value.starts_with([' ', '\t']);
    !key.is_empty() && key.chars().all(is_key) && spaced
}

/// Unfenced TOML has to look like TOML on every line: above a `---` line, prose would
/// be a heading.
fn is_toml_like(fields: &str) -> bool {
    let mut in_string = false;
    fields.lines().all(|line| {
        let quotes = line.matches("\"\"\"").count() + line.matches("'''").count();
        let was_in_string = in_string;
        in_string ^= quotes % 2 == 1;
        let continues = line.starts_with([' ', '\t', '[', ']', '}', '#', '"', '\'']);
        was_in_string || line.trim().is_empty() || continues || is_field(line, '=')
    })
}
