//! One question, or several in one.
//!
//! "What is WASI and how do I enable it?" asks two things, and the passages that answer one
//! seldom answer the other. The rules know how English joins questions: sentences that each ask,
//! lists, semicolons, and `and` before a clause that asks by itself. What only looks like that
//! ("bread and butter", "when and where", "the difference between how it was and how it is")
//! stays whole: a part too few costs less than a question torn apart.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use crate::sentences::sentences;

/// Parts a question has at most; what follows belongs to the last.
pub const MAX_PARTS: usize = 4;
/// Words a question has at least, to be searched for by itself: "Why?" is none.
const SHORTEST: usize = 3;

const AUXILIARIES: &[&str] = &[
    "am", "are", "aren't", "can", "can't", "could", "did", "didn't", "do", "does", "doesn't",
    "don't", "had", "has", "have", "is", "isn't", "may", "might", "must", "should", "was", "were",
    "will", "would",
];
const SUBJECTS: &[&str] = &[
    "a", "an", "any", "anybody", "anyone", "each", "every", "everyone", "he", "i", "it", "my",
    "one", "our", "she", "someone", "that", "the", "their", "there", "these", "they", "this",
    "those", "we", "you", "your",
];
/// What follows `how` in a question besides an auxiliary.
const DEGREES: &[&str] = &[
    "big", "deep", "far", "fast", "high", "large", "likely", "long", "many", "much", "often",
    "old", "quickly", "small", "soon", "to", "well",
];
/// What an indirect question hangs on.
const TELLING: &[&str] = &[
    "ask",
    "describe",
    "explain",
    "find",
    "know",
    "learn",
    "out",
    "say",
    "see",
    "show",
    "tell",
    "understand",
    "wonder",
    "wondering",
];
/// Requests that begin a sentence.
const REQUESTS: &[&str] = &[
    "compare",
    "define",
    "describe",
    "explain",
    "find",
    "give",
    "list",
    "name",
    "show",
    "summarise",
    "summarize",
    "tell",
];
/// Those of them that are no nouns, so that they may follow `and`.
const CLEAR_REQUESTS: &[&str] = &["describe", "explain", "summarise", "summarize", "tell"];
/// What stands before a question and says nothing.
const LEADS: &[&str] = &["also", "and", "but", "hello", "hey", "hi", "ok", "please", "so", "then"];
/// What may stand between two questions.
const JOINERS: &[&str] = &["also", "and", "if", "plus", "so", "then"];
/// Words that stand for what was said before.
const REFERENCES: &[&str] = &[
    "he", "her", "him", "his", "it", "its", "same", "she", "such", "their", "them", "these",
    "they", "this", "those",
];

/// The questions that `question` is made of, in order, at most [`MAX_PARTS`]: one, trimmed, when
/// it asks one thing.
///
/// Parts are slices of the question. A part that refers to what was said before ("how do I enable
/// *it*?") begins with it, so that every part can be searched for by itself.
///
/// ```
/// use trine_text::questions::split;
///
/// assert_eq!(split("Who pays for travel, and when is it due?").len(), 2);
/// assert_eq!(split("Who brings bread and butter?"), ["Who brings bread and butter?"]);
/// ```
pub fn split(question: &str) -> Vec<&str> {
    let parts = parts(question);
    if parts.len() < 2 {
        return vec![question.trim()];
    }
    let mut subject = 0;
    let with_subject = parts.iter().map(|part| {
        if !refers_back(&question[part.clone()]) {
            subject = part.start;
        }
        bare(&question[subject..part.end])
    });
    with_subject.collect()
}

/// Where the questions lie.
fn parts(question: &str) -> Vec<Range<usize>> {
    let quoted = quoted(question);
    let mut parts: Vec<Range<usize>> = Vec::new();
    // A statement says what the question after it is about.
    let mut statement = None;
    let sentences = sentences(question, false).into_iter();
    for clause in sentences.flat_map(|sentence| clauses(question, sentence, &quoted)) {
        let is_full = parts.len() == MAX_PARTS;
        let is_quoted = quoted.iter().any(|range| range.contains(&clause.range.start));
        let is_short = words(question, &clause.range).len() < SHORTEST;
        match parts.last_mut() {
            Some(last) if is_full || is_quoted || clause.asks && is_short => {
                last.end = clause.range.end;
            }
            _ if clause.asks && !is_short && !is_quoted => {
                parts.push(statement.take().unwrap_or(clause.range.start)..clause.range.end);
            }
            _ => statement = statement.or(Some(clause.range.start)),
        }
    }
    if let (Some(last), Some(_)) = (parts.last_mut(), statement) {
        last.end = question.trim_end().len();
    }
    parts
}

/// What stands in quotes, brackets or back quotes.
fn quoted(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut open: Option<(usize, char)> = None;
    for (at, c) in text.char_indices() {
        open = match (open, c) {
            (Some((start, closer)), c) if c == closer => {
                ranges.push(start + 1..at);
                None
            }
            (None, '"' | '`') => Some((at, c)),
            (None, '(') => Some((at, ')')),
            (None, '“') => Some((at, '”')),
            (None, '«') => Some((at, '»')),
            _ => open,
        };
    }
    ranges
}

/// A word, lower-cased, where it lies, and what stands between it and the word before.
struct Word<'a> {
    lower: String,
    start: usize,
    end: usize,
    gap: &'a str,
}

impl Word<'_> {
    fn is(&self, list: &[&str]) -> bool {
        list.contains(&self.lower.as_str())
    }

    /// `what` of `what's`.
    fn stem(&self) -> &str {
        self.lower.split('\'').next().unwrap_or(&self.lower)
    }

    fn is_contracted(&self) -> bool {
        self.lower.ends_with("'s") || self.lower.ends_with("'re")
    }

    fn is_interrogative(&self) -> bool {
        matches!(
            self.stem(),
            "how" | "what" | "when" | "where" | "which" | "who" | "whom" | "whose" | "why"
        )
    }
}

fn words<'a>(text: &'a str, range: &Range<usize>) -> Vec<Word<'a>> {
    let mut end = range.start;
    let found = text[range.clone()].unicode_word_indices().map(|(at, word)| {
        let start = range.start + at;
        let gap = &text[end..start];
        end = start + word.len();
        Word { lower: word.to_lowercase().replace('’', "'"), start, end, gap }
    });
    found.collect()
}

/// A sentence, or what of it asks by itself.
struct Clause {
    range: Range<usize>,
    asks: bool,
}

/// The clauses of one sentence, joiners left out: one, or several that each ask.
fn clauses(text: &str, sentence: Range<usize>, quoted: &[Range<usize>]) -> Vec<Clause> {
    let words = words(text, &sentence);
    let mut clauses = Vec::new();
    let (mut first, mut start) = (0, sentence.start);
    for at in 1..words.len() {
        let hidden = quoted.iter().any(|range| range.contains(&words[at].start));
        if hidden || at + SHORTEST > words.len() {
            continue;
        }
        if let Some(left) = left_of_border(&words[first..], at - first) {
            clauses.push(Clause { range: start..words[first + left - 1].end, asks: true });
            (first, start) = (at, words[at].start);
        }
    }
    let is_marked = text[sentence.clone()].ends_with(['?', '？', '؟']);
    let asks = !clauses.is_empty() || is_marked || asks(&words);
    clauses.push(Clause { range: start..sentence.end, asks });
    clauses
}

/// Whether a clause that asks begins at `words[at]` and another ends before: how many words that
/// one has.
fn left_of_border(words: &[Word], at: usize) -> Option<usize> {
    let mut left = at;
    while left > 0 && (words[left - 1].is(JOINERS) || is_marker(&words[left - 1], &words[left])) {
        left -= 1;
    }
    let joined = words[left..at].iter().any(|w| w.is(&["and", "plus"]));
    let marked = left < at && is_marker(&words[at - 1], &words[at]);
    let pause = [words.get(left).map_or("", |word| word.gap), words[at].gap].concat();
    let listed = marked || pause.contains([';', '\n', '&', '–', '—']);
    if left < 2 || !(joined || listed || pause.contains(',')) {
        return None;
    }
    let before = &words[..left];
    let last_asks = before[left - 1].is_interrogative();
    if last_asks || !asks(before) || is_comparison(before) || is_relative(before, &words[at]) {
        return None;
    }
    let begins = match joined || listed {
        true => follows(words, at, before),
        // "How many miles, once completed, will the trail have?" goes on behind its commas.
        false => opens(words, at, false) && words[at].is_interrogative() && !is_comment(&words[at]),
    };
    begins.then_some(left)
}

/// The `b` of `(b) how ...`.
fn is_marker(word: &Word, next: &Word) -> bool {
    word.end - word.start <= 2 && next.gap.starts_with(')')
}

/// Whether these words ask: directly, or by "tell me how ...".
fn asks(words: &[Word]) -> bool {
    let begin = words.iter().take_while(|word| word.is(LEADS)).count();
    let open = |at: usize| {
        let paused = words[at].gap.contains([',', ':', ';', '-', ')']) && !is_comment(&words[at]);
        let how_to = || words[at].is(&["how"]) && words[at + 1].is(&["to"]);
        opens(words, at, at == begin) && (at == begin || paused || how_to())
    };
    (begin..words.len()).any(open) || is_indirect(words)
}

/// After a comma these mostly say more of what stands before it.
fn is_comment(word: &Word) -> bool {
    word.is(&["which", "who", "whom", "whose"])
}

/// "... know what ...", "... tell me how ...".
fn is_indirect(words: &[Word]) -> bool {
    (1..words.len()).any(|at| words[at].is_interrogative() && hangs_on_telling(words, at))
}

fn hangs_on_telling(words: &[Word], at: usize) -> bool {
    let told = |back: usize| at.checked_sub(back).is_some_and(|at| words[at].is(TELLING));
    let to_whom = at > 0 && words[at - 1].is(&["about", "exactly", "me", "us", "you"]);
    told(1) || to_whom && told(2)
}

/// Whether a question has its first word at `at`; `is_first` says that a sentence does, too.
fn opens(words: &[Word], at: usize, is_first: bool) -> bool {
    let word = &words[at];
    let Some(next) = words.get(at + 1) else { return false };
    let inverted = word.is_contracted() || next.is(AUXILIARIES);
    match word.stem() {
        "what" | "which" | "who" | "whom" | "whose" => !next.is(&["and", "or"]),
        "how" => inverted || next.is(DEGREES),
        "when" | "where" | "why" => inverted || next.is(&["to", "not"]),
        _ if word.is(AUXILIARIES) => is_first || next.is(SUBJECTS),
        _ => is_first && word.is(REQUESTS),
    }
}

/// Whether a question begins at `at` behind `and`, where indirect ones need no word to hang on.
fn follows(words: &[Word], at: usize, before: &[Word]) -> bool {
    let word = &words[at];
    let next_joins = words.get(at + 1).is_none_or(|next| next.is(&["and", "or"]));
    match word.stem() {
        _ if next_joins => false,
        "how" | "why" => true,
        "when" | "where" => opens(words, at, false) || is_indirect(before),
        _ => opens(words, at, false) || word.is(CLEAR_REQUESTS),
    }
}

/// "the difference between how it was" waits for an `and`.
fn is_comparison(before: &[Word]) -> bool {
    let open = before.iter().rposition(|word| word.is(&["between", "both", "either"]));
    open.is_some_and(|open| !before[open..].iter().any(|word| word.is(&["and", "or"])))
}

/// "the people who pay", and then "and who ...": the second `who` goes on with the first.
fn is_relative(before: &[Word], word: &Word) -> bool {
    if !word.is(&["who", "which", "when", "where", "whose", "whom"]) {
        return false;
    }
    let goes_on = |at: usize| {
        before[at].lower == word.lower
            && !hangs_on_telling(before, at)
            && !before[at].gap.contains([',', ':', ';'])
            && !before[..at].iter().all(|word| word.is(LEADS))
    };
    (1..before.len()).any(goes_on)
}

/// Whether a question is about something that only an earlier one names.
fn refers_back(part: &str) -> bool {
    let words = words(part, &(0..part.len()));
    let pairs = words.iter().zip(words.iter().skip(1).map(Some).chain([None]));
    pairs.into_iter().any(|(word, next)| {
        // "How long does it take to ...", "is it possible to ...": about nothing.
        let empty = word.is(&["it"]) && next.is_some_and(|next| next.is(&["possible", "take"]));
        word.is(REFERENCES) && !empty
    })
}

/// Without a list's marker or a joiner in front, and without a comma or semicolon behind.
fn bare(part: &str) -> &str {
    let part = part.trim().trim_end_matches([',', ';']).trim_end();
    let part = part.trim_start_matches(['-', '*', '•', '(']).trim_start();
    let Some((marker, rest)) = part.split_once([')', '.']) else { return part };
    let marker_is_short = marker.len() <= 2 && marker.chars().all(char::is_alphanumeric);
    if marker_is_short && rest.starts_with(' ') { rest.trim_start() } else { part }
}
