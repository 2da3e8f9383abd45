//! Words that carry meaning, and what two forms of one have in common.

use unicode_segmentation::UnicodeSegmentation;

/// English words too common to tell one text from another.
const STOP_WORDS: &[&str] = &[
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "by", "can", "could", "did",
    "do", "does", "for", "from", "had", "has", "have", "her", "his", "how", "i", "if", "in",
    "into", "is", "it", "its", "many", "may", "me", "much", "my", "of", "on", "or", "our",
    "should", "so", "some", "than", "that", "the", "their", "them", "there", "these", "they",
    "this", "those", "to", "was", "we", "were", "what", "when", "where", "which", "while", "who",
    "whom", "whose", "why", "will", "with", "would", "you", "your",
];

/// Letters that are kept of a long word: inflections mostly change what follows them.
const STEM: usize = 5;

/// The words of `text` (Unicode Annex 29), lower-cased, without stop words.
pub fn content_words(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words()
        .map(str::to_lowercase)
        .filter(|word| STOP_WORDS.binary_search(&word.as_str()).is_err())
}

/// The word's first letters: a stemmer that knows no language, crude and fast.
pub fn stem(word: &str) -> &str {
    match word.char_indices().nth(STEM) {
        Some((end, _)) => &word[..end],
        None => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_sorted_for_binary_search() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn words_are_lower_cased_and_common_ones_left_out() {
        let words: Vec<String> = content_words("What IS the Café's Wi-Fi password?").collect();
        assert_eq!(words, ["café's", "wi", "fi", "password"]);
    }

    #[test]
    fn forms_of_a_word_share_their_stem() {
        assert_eq!(stem("approval"), stem("approved"));
        assert_eq!(stem("être"), "être");
        assert_eq!(stem("ÉÉÉÉÉÉÉ"), "ÉÉÉÉÉ");
    }
}
