//! Ends a stream of text where one of some strings begins.

/// Stop strings of a text at most.
pub const MOST_STOPS: usize = 16;
/// Bytes of a stop string at most.
pub const MOST_STOP_BYTES: usize = 256;

/// Holds back what may be the beginning of a stop string until it is known.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    strings: Vec<String>,
    held: String,
}

impl Stop {
    /// Of these strings.
    pub fn new(strings: Vec<String>) -> Stop {
        let strings = strings.into_iter().filter(|string| !string.is_empty()).collect();
        Stop { strings, held: String::new() }
    }

    /// What may be given of the text so far, and whether it ended with a stop string, which is left
    /// out.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let found = self.strings.iter().filter_map(|string| self.held.find(string.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let may_begin = |at: &usize| {
            let end = &self.held[*at..];
            self.strings.iter().any(|string| string.starts_with(end))
        };
        let at = self.held.char_indices().map(|(at, _)| at).find(may_begin);
        let rest = self.held.split_off(at.unwrap_or(self.held.len()));
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back for nothing.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(strings: &[&str], texts: &[&str]) -> (String, bool) {
        let mut stop = Stop::new(strings.iter().map(|s| s.to_string()).collect());
        let mut all = String::new();
        for text in texts {
            let (part, ended) = stop.push(text);
            all.push_str(&part);
            if ended {
                return (all, true);
            }
        }
        all.push_str(&stop.finish());
        (all, false)
    }

    #[test]
    fn text_ends_before_the_first_stop_string() {
        assert_eq!(run(&["END"], &["one E", "N", "D two"]), ("one ".to_owned(), true));
        assert_eq!(run(&["END", "e E"], &["one E", "ND"]), ("on".to_owned(), true));
        assert_eq!(run(&["END"], &["EN", "EN", "E"]), ("ENENE".to_owned(), false));
        assert_eq!(run(&["aab"], &["aa", "ab", "c"]), ("a".to_owned(), true));
        assert_eq!(run(&["", "é"], &["caf", "é"]), ("caf".to_owned(), true));
        assert_eq!(run(&[], &["a", "b"]), ("ab".to_owned(), false));
    }

    #[test]
    fn only_what_may_begin_a_stop_string_is_held_back() {
        let mut stop = Stop::new(vec!["\nUser:".to_owned()]);
        assert_eq!(stop.push("yes\nU"), ("yes".to_owned(), false));
        assert_eq!(stop.push("nder"), ("\nUnder".to_owned(), false));
    }
}
