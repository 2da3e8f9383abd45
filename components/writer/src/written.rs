//! An answer as a model writes it: text at once, citations and the verdict when a sentence is whole.

use std::cell::RefCell;
use std::collections::VecDeque;

use trine_text::sentences::sentences;

use crate::bindings::exports::trine::rag::generator::{
    FinishReason, Part, Sentence, Summary, Usage,
};
use crate::bindings::trine::inference::generation::{Completed, Completion, Event, Finish};
use crate::bindings::trine::rag::types::{Error, Ranked};
use crate::check::{Checked, check};
use crate::marks::{Marked, Marks, leading, without};

/// Bytes after which a sentence is taken for whole, whether it ends or not.
const LONGEST: usize = 2000;

/// An answer under way. Dropping it ends the model's work.
pub struct Written(RefCell<State>);

struct State {
    completion: Completion,
    /// Those that the model was given, best first.
    passages: Vec<Ranked>,
    summary: Summary,
    ended: bool,
    marks: Marks,
    draft: Draft,
    ready: VecDeque<Part>,
}

/// The text so far.
#[derive(Default)]
struct Draft {
    text: String,
    /// Where its marks begin, and the passages that they name.
    marks: Vec<(usize, Vec<usize>)>,
    /// Bytes of it whose sentences are whole.
    whole: usize,
}

impl Written {
    pub fn new(completion: Completion, passages: Vec<Ranked>, summary: Summary) -> Written {
        Written(RefCell::new(State {
            completion,
            marks: Marks::new(passages.len()),
            passages,
            summary,
            ended: false,
            draft: Draft::default(),
            ready: VecDeque::new(),
        }))
    }

    pub fn next(&self) -> Result<Option<Part>, Error> {
        let mut state = self.0.borrow_mut();
        loop {
            if let Some(part) = state.ready.pop_front() {
                return Ok(Some(part));
            }
            if state.ended {
                return Ok(None);
            }
            state.pull()?;
        }
    }

    pub fn summary(&self) -> Summary {
        self.0.borrow().summary.clone()
    }
}

impl State {
    /// What comes next of the completion, to parts.
    fn pull(&mut self) -> Result<(), Error> {
        match self.completion.next()? {
            Event::Piece(piece) => {
                let marked = self.marks.push(&piece.text);
                self.add(marked, false)
            }
            Event::Rest(text) => {
                let marked = self.marks.push(&text);
                self.add(marked, false)
            }
            Event::End(completed) => {
                self.ended = true;
                self.end(completed);
                let marked = self.marks.finish();
                self.add(marked, true)
            }
        }
    }

    fn add(&mut self, marked: Marked, last: bool) -> Result<(), Error> {
        if !marked.text.is_empty() {
            self.ready.push_back(Part::Text(marked.text.clone()));
        }
        self.draft.push(marked);
        while let Some(range) = self.draft.next_sentence(last) {
            let Checked { support, score, citations } = {
                let statement = without(&self.draft.text[range.clone()]);
                check(&statement, &self.draft.cited(&range), &self.passages)?
            };
            self.ready.extend(citations.into_iter().map(Part::Citation));
            let (start, end) = (range.start as u32, range.end as u32);
            self.ready.push_back(Part::Sentence(Sentence { start, end, support, score }));
        }
        Ok(())
    }

    fn end(&mut self, Completed { finish, usage }: Completed) {
        self.summary.reason = match finish {
            Finish::End | Finish::Stop => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
        };
        self.summary.usage = Some(Usage {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            generated_tokens: usage.generated_tokens,
        });
    }
}

impl Draft {
    fn push(&mut self, marked: Marked) {
        let at = self.text.len();
        self.text.push_str(&marked.text);
        self.marks.extend(marked.marks.into_iter().map(|(start, places)| (at + start, places)));
    }

    /// The next sentence that is whole, with the marks behind it; all that is left at the `last`.
    fn next_sentence(&mut self, last: bool) -> Option<std::ops::Range<usize>> {
        let rest = &self.text[self.whole..];
        let found = sentences(rest, false);
        let first = found.first()?;
        let end = match found.get(1) {
            // Two words tell whether it is a sentence of its own.
            Some(second) if last || rest[second.clone()].contains(' ') => {
                second.start + leading(&rest[second.clone()])
            }
            _ if last => rest.len(),
            _ if rest.len() > LONGEST => first.end,
            _ => return None,
        };
        let range = self.whole + first.start..self.whole + rest[..end].trim_end().len();
        self.whole += end;
        Some(range)
    }

    /// The passages that a sentence cites.
    fn cited(&self, range: &std::ops::Range<usize>) -> Vec<usize> {
        let within = self.marks.iter().filter(|(at, _)| range.contains(at));
        within.flat_map(|(_, places)| places).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sentences of a text that comes a few bytes at a time, with what they cite.
    fn cut(text: &str) -> Vec<(String, Vec<usize>)> {
        let (mut marks, mut draft, mut found) = (Marks::new(9), Draft::default(), Vec::new());
        let mut add = |marked, last| {
            draft.push(marked);
            while let Some(range) = draft.next_sentence(last) {
                found.push((draft.text[range.clone()].to_owned(), draft.cited(&range)));
            }
        };
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(3) {
            add(marks.push(&piece.iter().collect::<String>()), false);
        }
        add(marks.finish(), true);
        found
    }

    #[test]
    fn marks_belong_to_the_sentence_that_they_follow() {
        let own = |s: &str, cited: &[usize]| (s.to_owned(), cited.to_vec());
        assert_eq!(
            cut("It is open [1]. It closes at six. [2][3] Dr. Smith knows 3.5 of them."),
            [
                own("It is open [1].", &[0]),
                own("It closes at six. [2][3]", &[1, 2]),
                own("Dr. Smith knows 3.5 of them.", &[]),
            ]
        );
        assert_eq!(cut("Yes. [4]"), [own("Yes. [4]", &[3])]);
        assert_eq!(cut(" \n"), []);
        assert_eq!(cut("- One [1]\n- Two [2]\n").len(), 2);
    }

    #[test]
    fn a_sentence_without_an_end_is_cut() {
        let found = cut(&"word ".repeat(2000));
        assert!(found.len() > 3, "{}", found.len());
        assert!(found.iter().all(|(sentence, _)| sentence.len() <= LONGEST + 8));
    }
}
