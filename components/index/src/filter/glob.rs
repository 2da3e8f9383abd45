//! Patterns of paths, as shells write them.

use super::FilterError;

/// Longer patterns are refused.
const MAX_BYTES: usize = 512;

/// A pattern: `?` is any character but a slash, `*` any number of these, `**` any text at all,
/// and `**/` at the beginning of a path's part any number of whole parts.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
    /// What all it matches begins and ends with.
    pub(crate) prefix: String,
    suffix: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Char(char),
    Any,
    Star,
    /// `**`
    Text,
    /// `**/`
    Parts,
}

impl Glob {
    pub(crate) fn parse(pattern: &str) -> Result<Glob, FilterError> {
        if pattern.len() > MAX_BYTES {
            return Err(FilterError::TooMuch { what: "bytes of a glob", most: MAX_BYTES });
        }
        let mut tokens = vec![];
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            let token = match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    let begins =
                        matches!(tokens.last(), None | Some(Token::Char('/') | Token::Parts));
                    match begins && chars.next_if_eq(&'/').is_some() {
                        true => Token::Parts,
                        false => Token::Text,
                    }
                }
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => Token::Char(chars.next().ok_or_else(|| unknown(pattern, c))?),
                '[' | '{' => return Err(unknown(pattern, c)),
                c => Token::Char(c),
            };
            tokens.push(token);
        }
        let char = |token: &Token| if let Token::Char(c) = token { Some(*c) } else { None };
        let prefix = tokens.iter().map_while(char).collect();
        let suffix: Vec<char> = tokens.iter().rev().map_while(char).collect();
        Ok(Glob { prefix, suffix: suffix.into_iter().rev().collect(), tokens })
    }

    /// Whether it matches all that begins with its prefix.
    pub(crate) fn is_prefix(&self) -> bool {
        self.tokens.last() == Some(&Token::Text)
            && self.prefix.chars().count() + 1 == self.tokens.len()
    }

    /// Whether it matches the whole of `text`.
    ///
    /// A wildcard matches as little as it can. Where what follows does not fit, the last `*` takes
    /// a character more, or, when it meets a slash, the last `**`. Earlier ones need no other try:
    /// they would leave less to those after them.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if !text.ends_with(&self.suffix) {
            return false;
        }
        let (mut token, mut at) = (0, 0);
        let (mut star, mut deep) = (None, None);
        loop {
            let char = text[at..].chars().next();
            match (self.tokens.get(token), char) {
                (None, None) => return true,
                (Some(Token::Star), _) => {
                    token += 1;
                    star = Some((token, at));
                }
                (Some(Token::Text | Token::Parts), _) => {
                    token += 1;
                    (star, deep) = (None, Some((token, at)));
                }
                (Some(Token::Char(wanted)), Some(found)) if *wanted == found => {
                    (token, at) = (token + 1, at + found.len_utf8());
                }
                (Some(Token::Any), Some(found)) if found != '/' => {
                    (token, at) = (token + 1, at + found.len_utf8());
                }
                _ => {
                    let longer = star.and_then(|(token, from)| self.longer(text, token, from));
                    (token, at) = match longer {
                        Some(again) => *star.insert(again),
                        None => {
                            let longer = deep.and_then(|(token, at)| self.longer(text, token, at));
                            let Some(again) = longer else { return false };
                            star = None;
                            *deep.insert(again)
                        }
                    };
                }
            }
        }
    }

    /// Where to go on when the wildcard before `token`, which ended at `at`, takes more of `text`.
    fn longer(&self, text: &str, token: usize, at: usize) -> Option<(usize, usize)> {
        let rest = &text[at..];
        let more = match self.tokens[token - 1] {
            Token::Star => rest.chars().next().filter(|&c| c != '/')?.len_utf8(),
            Token::Parts => rest.find('/')? + 1,
            _ => rest.chars().next()?.len_utf8(),
        };
        Some((token, at + more))
    }
}

fn unknown(pattern: &str, c: char) -> FilterError {
    FilterError::Glob { pattern: pattern.to_owned(), character: c }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(text)
    }

    #[test]
    fn wildcards_match_as_in_shells() {
        for (pattern, yes, no) in [
            ("a.md", vec!["a.md"], vec!["b.md", "a.mdx", "x/a.md", ""]),
            ("*.md", vec!["a.md", ".md", "a.b.md"], vec!["x/a.md", "a.txt"]),
            ("docs/**", vec!["docs/a", "docs/a/b.md", "docs/"], vec!["docs", "doc/a", "x/docs/a"]),
            ("**/*.md", vec!["a.md", "x/a.md", "x/y/a.md"], vec!["a.txt", "x.md/y"]),
            ("**/b/*", vec!["b/c", "a/b/c", "a/b/b/c"], vec!["ab/c", "b/c/d", "b"]),
            ("a/**/z", vec!["a/z", "a/b/z", "a/b/c/z"], vec!["az", "a/bz", "a/b/z/y"]),
            ("a/*/z", vec!["a/b/z"], vec!["a/z", "a/b/c/z"]),
            ("a**z", vec!["az", "a/b/z", "abz"], vec!["a/b", "za"]),
            ("?.md", vec!["é.md"], vec![".md", "ab.md", "/.md"]),
            ("**/**/a", vec!["a", "x/a", "x/y/a"], vec!["xa"]),
            (r"\*\[?", vec!["*[x"], vec!["ab[x", "*x"]),
            ("", vec![""], vec!["a"]),
        ] {
            yes.iter().for_each(|text| assert!(matches(pattern, text), "{pattern} {text}"));
            no.iter().for_each(|text| assert!(!matches(pattern, text), "{pattern} {text}"));
        }
        for refused in ["[ab]", "{a,b}", "a\\", &"a".repeat(600)] {
            assert!(Glob::parse(refused).is_err(), "{refused}");
        }
    }

    /// By trying everything.
    fn naive(tokens: &[Token], text: &[char]) -> bool {
        let Some((token, rest)) = tokens.split_first() else { return text.is_empty() };
        let first = text.first().copied();
        match token {
            Token::Char(c) => first == Some(*c) && naive(rest, &text[1..]),
            Token::Any => first.is_some_and(|c| c != '/') && naive(rest, &text[1..]),
            Token::Star => {
                let most = text.iter().take_while(|c| **c != '/').count();
                (0..=most).any(|taken| naive(rest, &text[taken..]))
            }
            Token::Text => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
            Token::Parts => (0..=text.len())
                .filter(|&taken| taken == 0 || text[taken - 1] == '/')
                .any(|taken| naive(rest, &text[taken..])),
        }
    }

    #[test]
    fn every_short_pattern_matches_what_trying_everything_finds() {
        let strings = |alphabet: &[&str], most: usize| {
            let mut all = vec![String::new()];
            let mut last = all.clone();
            for _ in 0..most {
                let longer =
                    last.iter().flat_map(|s| alphabet.iter().map(move |c| format!("{s}{c}")));
                last = longer.collect();
                all.extend_from_slice(&last);
            }
            all
        };
        let texts = strings(&["a", "b", "/"], 6);
        for pattern in strings(&["a", "/", "*", "**", "?"], 5) {
            let glob = Glob::parse(&pattern).unwrap();
            for text in texts.iter().step_by(3) {
                let chars: Vec<char> = text.chars().collect();
                let found = text.starts_with(&glob.prefix) && glob.matches(text);
                assert_eq!(found, naive(&glob.tokens, &chars), "{pattern} {text}");
                if glob.is_prefix() {
                    assert_eq!(found, text.starts_with(&glob.prefix), "{pattern} {text}");
                }
            }
        }
    }
}
