//! Codes: compounds that are looked for as they are written.
//!
//! `ERR_503`, `--flag-name`, `§ 12.3(b)`, `CVE-2024-1234`, `camelCase`, `snake_case`,
//! `src/lib.rs`, `1.2.3`, `AC-2(1)`. Each is found whole, and so are the codes in it (`lib.rs`);
//! its words are found as words.

use std::borrow::Cow;
use std::ops::Range;

use super::analyse::{fold, parts, range_in};

/// Longer codes, in bytes, are nothing that anybody types.
const MAX_LENGTH: usize = 128;

/// Longer runs, in bytes, are data rather than text: no codes are looked for in them.
const MAX_RUN: usize = 1024;

/// A group in brackets, such as the `(b)` of `12.3(b)`, has at most so many letters.
const MAX_GROUP: usize = 4;

/// Calls `emit` with each code in `text`, folded, and its bytes there.
pub(super) fn codes(text: &str, mut emit: impl FnMut(&str, Range<usize>)) {
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_alphanumeric() || is_leading(c)) {
        rest = &rest[start..];
        let run = run(rest);
        let after = group(run, &rest[run.len()..]);
        let whole = &rest[..run.len() + after];
        rest = &rest[whole.len()..];
        if whole.len() > MAX_RUN {
            continue;
        }
        let mut seen: Vec<&str> = Vec::new();
        for code in variants(trim(whole), trim(run)) {
            if code.len() <= MAX_LENGTH && is_code(code) && !seen.contains(&code) {
                seen.push(code);
                emit(&normal(code), range_in(text, code));
            }
        }
    }
}

/// The code as it is written, then with less and less around it.
fn variants<'a>(whole: &'a str, run: &'a str) -> impl Iterator<Item = &'a str> {
    let bare = run.trim_start_matches(is_leading);
    let segments = run.split(['/', '\\', ':', '@', '#']).map(trim);
    let names = run.split(['/', '\\', ':', '@', '#', '.']).map(trim);
    let unmarked = whole.trim_start_matches(is_leading);
    [whole, unmarked, run, bare].into_iter().chain(segments).chain(names)
}

/// The letters, digits and connecting signs that `text` begins with; at least one character.
/// Space is part of it only after a section sign.
fn run(text: &str) -> &str {
    let mut number = text.trim_start_matches('§');
    if number.len() < text.len() {
        let spaces = number.len() - number.trim_start_matches([' ', '\u{a0}', '\u{202f}']).len();
        number = &number[spaces..];
    }
    let marked = text.len() - number.len();
    let end = number.find(|c: char| !(c.is_alphanumeric() || is_connector(c)));
    &text[..marked + end.unwrap_or(number.len())]
}

/// The length of the bracketed groups right after `run`: a number's `(b)(1)`, not a call's `(x)`.
fn group(run: &str, after: &str) -> usize {
    let last = run.rsplit(['-', '.']).next().unwrap_or_default();
    if !last.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    let mut length = 0;
    while let Some(inner) = after[length..].strip_prefix('(') {
        let Some(end) = inner.find(|c: char| !c.is_alphanumeric()) else { break };
        if end == 0 || inner[..end].chars().count() > MAX_GROUP || !inner[end..].starts_with(')') {
            break;
        }
        length += end + 2;
    }
    length
}

/// Without the signs at its end that are punctuation; `C++` and `C#` keep theirs.
fn trim(code: &str) -> &str {
    let code = code.trim_start_matches([':', '\\', '+']);
    let code = code.trim_end_matches(['-', '.', '/', '\\', ':', '@', '~', '$', '%']);
    if code.ends_with("++") { code } else { code.trim_end_matches('+') }
}

/// Whether it is more than one word: words are found without being codes.
fn is_code(code: &str) -> bool {
    let signs = code.contains(|c: char| c == '§' || c == '(' || is_connector(c));
    let mut parts = parts(code);
    parts.next().is_some() && (signs || parts.next().is_some())
}

fn is_connector(c: char) -> bool {
    matches!(c, '_' | '-' | '.' | '/' | '\\' | ':' | '@' | '#' | '+' | '~' | '$' | '%')
        || matches!(c, '\u{2010}' | '\u{2011}')
}

/// Signs that mean something before a code: `--flag`, `.gitignore`, `/etc`, `~/`, `$HOME`, `§ 3`.
fn is_leading(c: char) -> bool {
    matches!(c, '-' | '.' | '/' | '~' | '@' | '$' | '#' | '%' | '_' | '§')
}

/// Folded, without the space after a section sign.
fn normal(code: &str) -> Cow<'_, str> {
    let folded = fold(code);
    if folded.contains(' ') { folded.replace(' ', "").into() } else { folded }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        codes(text, |code, _| found.push(code.to_owned()));
        found
    }

    #[test]
    fn each_kind_of_code_is_kept_whole() {
        assert_eq!(found("see ERR_503."), ["err_503"]);
        assert_eq!(found("(--flag-name=value)"), ["--flag-name", "flag-name"]);
        let sections = ["§12.3(b)", "12.3(b)", "§12.3", "12.3", "§12", "§7"];
        assert_eq!(found("§ 12.3(b), §\u{a0}7"), sections);
        assert_eq!(found("CVE-2024-1234"), ["cve-2024-1234"]);
        assert_eq!(
            found("camelCase PascalCase HTTPServer"),
            ["camelcase", "pascalcase", "httpserver"]
        );
        assert_eq!(found("`snake_case`, __init__"), ["snake_case", "__init__", "init__"]);
        assert_eq!(found("v1.2.3"), ["v1.2.3"]);
        assert_eq!(found("AC-2(1)(a)"), ["ac-2(1)(a)", "ac-2"]);
        assert_eq!(found("C++ and C#; -v"), ["c++", "c#", "-v"]);
    }

    #[test]
    fn paths_are_found_by_their_parts_too() {
        assert_eq!(found("a/b/c.rs:12"), ["a/b/c.rs:12", "c.rs"]);
        assert_eq!(found("~/.ssh/id_rsa"), ["~/.ssh/id_rsa", "ssh/id_rsa", ".ssh", "id_rsa"]);
        assert_eq!(found("std::fmt::Write"), ["std::fmt::write"]);
        assert_eq!(
            found("self.stream_out.writeAll(t)"),
            ["self.stream_out.writeall", "stream_out", "writeall"]
        );
    }

    #[test]
    fn words_numbers_and_punctuation_are_no_codes() {
        assert_eq!(found("A plain sentence, in 1968 - with (brackets)... and -- dashes"), [""; 0]);
        assert_eq!(found("§ -- ... _ ' § § ("), [""; 0]);
    }

    #[test]
    fn data_is_passed_over() {
        let data: String = (0..200_000).map(|n| format!("{n}-x/")).collect();
        assert_eq!(found(&format!("{data} a-b {}", "x-".repeat(200))), ["a-b"]);
    }

    #[test]
    fn calls_are_no_groups() {
        assert_eq!(found("f2(x) 12(toolong) 3(b"), [""; 0]);
    }
}
