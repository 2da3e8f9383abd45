//! `[n]` in a text that comes in pieces: found, checked, and kept whole.

/// The longest mark, such as `[1, 2, 3]`.
const LONGEST: usize = 24;

/// Text with its marks, as far as it is certain.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Marked {
    /// The text. A mark that leads to no passage is left out.
    pub text: String,
    /// Where each mark begins in `text`, and the passages' places, from zero.
    pub marks: Vec<(usize, Vec<usize>)>,
}

/// Finds marks of so many passages.
pub struct Marks {
    passages: usize,
    /// What may be the beginning of a mark.
    held: String,
}

impl Marks {
    pub fn new(passages: usize) -> Marks {
        Marks { passages, held: String::new() }
    }

    /// What is certain with the next piece.
    pub fn push(&mut self, piece: &str) -> Marked {
        let mut marked = Marked::default();
        for c in piece.chars() {
            self.take(c, &mut marked);
        }
        marked
    }

    /// What was held back for nothing.
    pub fn finish(&mut self) -> Marked {
        Marked { text: std::mem::take(&mut self.held), marks: vec![] }
    }

    fn take(&mut self, c: char, marked: &mut Marked) {
        match c {
            '[' => {
                marked.text.push_str(&self.held);
                self.held = "[".to_owned();
            }
            _ if self.held.is_empty() => marked.text.push(c),
            ']' => self.close(marked),
            '0'..='9' | ',' | ' ' if self.held.len() < LONGEST => self.held.push(c),
            _ => {
                marked.text.push_str(&self.held);
                marked.text.push(c);
                self.held.clear();
            }
        }
    }

    /// The mark that is held is whole, if it is one.
    fn close(&mut self, marked: &mut Marked) {
        let held = std::mem::take(&mut self.held);
        let numbers: Result<Vec<usize>, _> =
            held[1..].split(',').map(|number| number.trim().parse::<usize>()).collect();
        let Ok(numbers) = numbers else {
            marked.text.push_str(&held);
            marked.text.push(']');
            return;
        };
        let places: Vec<usize> = numbers
            .into_iter()
            .filter(|n| (1..=self.passages).contains(n))
            .map(|n| n - 1)
            .collect();
        if places.is_empty() {
            return;
        }
        let shown: Vec<String> = places.iter().map(|place| (place + 1).to_string()).collect();
        let at = marked.text.len();
        marked.text.push_str(&format!("[{}]", shown.join(", ")));
        marked.marks.push((at, places));
    }
}

/// The length of the marks and white space that a text begins with.
pub fn leading(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let white = rest.len() - rest.trim_start().len();
        let mark = rest[white..].strip_prefix('[').and_then(|inside| {
            let end = inside.find(']')?;
            inside[..end]
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b',' || b == b' ')
                .then_some(end + 2)
        });
        match mark {
            Some(length) => at += white + length,
            None => return at,
        }
    }
}

/// A text without its marks.
pub fn without(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        plain.push_str(before);
        rest = &from[leading(from)..];
        if rest.len() == from.len() {
            plain.push('[');
            rest = &from[1..];
        } else if plain.ends_with(' ') {
            plain.pop();
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of a text that comes in these pieces.
    fn all(pieces: &[&str]) -> (String, Vec<Vec<usize>>) {
        let mut marks = Marks::new(3);
        let (mut text, mut found) = (String::new(), Vec::new());
        let mut add = |marked: Marked| {
            for (at, places) in marked.marks {
                assert!(marked.text[at..].starts_with('['));
                found.push(places);
            }
            text.push_str(&marked.text);
        };
        pieces.iter().for_each(|piece| add(marks.push(piece)));
        add(marks.finish());
        (text, found)
    }

    #[test]
    fn marks_are_found_wherever_pieces_end() {
        let text = "Yes [1], and no [2, 3].";
        for at in 0..=text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(all(&[a, b]), (text.to_owned(), vec![vec![0], vec![1, 2]]), "{at}");
        }
    }

    #[test]
    fn marks_that_lead_nowhere_are_left_out() {
        assert_eq!(all(&["a [9] b [0] c [2, 7]"]), ("a  b  c [2]".to_owned(), vec![vec![1]]));
    }

    #[test]
    fn other_brackets_stay() {
        for text in ["a[i] = b[", "[]", "[[1", "[1 2]", "x [99999999999999999999999999999999]"] {
            assert_eq!(all(&[text]), (text.to_owned(), vec![]), "{text}");
        }
        assert_eq!(all(&["[[1]]"]), ("[[1]]".to_owned(), vec![vec![0]]));
    }

    #[test]
    fn marks_are_taken_off_for_checking() {
        assert_eq!(without("Yes [1], it is [2][3]."), "Yes, it is.");
        assert_eq!(without("a[i] [1]"), "a[i]");
        assert_eq!(leading(" [1] [2, 3] The"), 11);
        assert_eq!(leading("The [1]"), 0);
    }
}
