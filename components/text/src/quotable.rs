//! The sentences of a passage that can be quoted, and how they read without markup.

use std::ops::Range;

use crate::markdown::{self, BlockKind};
use crate::sentences::{block_sentences, sentences};

/// A sentence that can be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotable {
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// Those without markup; of a table's row its cells, each after the head of its column.
    pub plain: String,
    /// Whether it is code, whose lines are kept.
    pub code: bool,
}

/// The sentences of a text; of Markdown, code as it stands and table rows with their heads. What has
/// no letter or digit is none.
pub fn quotable(text: &str, markdown: bool) -> Vec<Quotable> {
    let sentence = |range: Range<usize>, plain: String, code| {
        let readable = plain.chars().any(char::is_alphanumeric);
        readable.then_some(Quotable { range, plain, code })
    };
    if !markdown {
        let ranges = sentences(text, false).into_iter();
        return ranges.filter_map(|r| sentence(r.clone(), one_line(&text[r]), false)).collect();
    }
    let mut found = Vec::new();
    let mut head = String::new();
    for block in markdown::blocks(text) {
        if block.kind == BlockKind::TableHead {
            head = one_line(&markdown::plain(&text[block.range.clone()]));
        }
        for range in block_sentences(text, &block) {
            let verbatim = &text[range.clone()];
            let plain = match block.kind {
                BlockKind::Code => verbatim.to_owned(),
                BlockKind::TableRow => row(&head, &one_line(&markdown::plain(verbatim))),
                _ => one_line(&markdown::plain(verbatim)),
            };
            found.extend(sentence(range, plain, block.kind == BlockKind::Code));
        }
    }
    found
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A table's row, read aloud: each cell after the head of its column.
fn row(head: &str, cells: &str) -> String {
    let split = |line: &str| -> Vec<String> {
        let line = line.trim();
        let line = line.strip_prefix('|').unwrap_or(line);
        let line = line.strip_suffix('|').unwrap_or(line);
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let (heads, cells) = (split(head), split(cells));
    let label = |at: usize| heads.get(at).filter(|h| !h.is_empty() && heads.len() == cells.len());
    let read = cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
    let read = read.map(|(at, cell)| match label(at) {
        Some(head) => format!("{head}: {cell}"),
        None => cell.clone(),
    });
    read.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_verbatim_ranges_read_without_markup() {
        let text = "The **limit** is [16](x.md) MiB. It is\nper request.\n\n```\na  b\n  c\n```\n";
        let found = quotable(text, true);
        let plain: Vec<&str> = found.iter().map(|q| q.plain.trim_end()).collect();
        assert_eq!(plain, ["The limit is 16 MiB.", "It is per request.", "a  b\n  c"]);
        assert_eq!(&text[found[0].range.clone()], "The **limit** is [16](x.md) MiB.");
        assert!(found[2].code && !found[0].code);
        assert_eq!(quotable("5 * 3 * 2 is 30. Yes.", false)[0].plain, "5 * 3 * 2 is 30.");
        assert_eq!(quotable("***\n", true), []);
    }

    #[test]
    fn a_table_row_is_read_with_its_heads() {
        let text = "| Item | Cost |\n|---|---|\n| Rail | 12 |\n| Bus | |\n";
        let found = quotable(text, true);
        let plain: Vec<&str> = found.iter().map(|q| q.plain.as_str()).collect();
        assert_eq!(plain, ["Item: Rail; Cost: 12", "Item: Bus"]);
        assert_eq!(row("", "| a | b |"), "a; b");
    }
}
