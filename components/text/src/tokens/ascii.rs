//! BERT's tokenizer (Devlin et al. 2019, <https://arxiv.org/abs/1810.04805>) for words of ASCII.
//!
//! `tokenizers` keeps, for every character, where in the text it came from. Nobody here asks, and
//! of most texts the words need neither that nor any table of Unicode: split at white space and
//! punctuation, in lower case, each the longest pieces of the vocabulary from its left.

use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{Model, Tokenizer};

/// What of a tokenizer decides how words of ASCII are cut.
pub(super) struct AsciiWords {
    lowercase: bool,
    /// A word with one of these bytes may hold a token that was added to the vocabulary, such as
    /// `[SEP]`, and is left to the tokenizer.
    reserved: Vec<u8>,
    unknown: u32,
}

impl AsciiWords {
    /// `None` of a tokenizer that is not BERT's, or that has added tokens which may reach over
    /// white space.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<AsciiWords> {
        let model = wordpiece(tokenizer)?;
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = tokenizer.get_pre_tokenizer() else {
            return None;
        };
        let added = tokenizer.get_added_tokens_decoder();
        let stands_alone = added.values().all(|token| {
            let spaced = token.content.contains(char::is_whitespace) || token.content.is_empty();
            !(spaced || token.single_word || token.lstrip || token.rstrip || token.normalized)
        });
        if !normalizer.clean_text || !stands_alone {
            return None;
        }
        let mut reserved: Vec<u8> =
            added.values().map(|token| token.content.as_bytes()[0]).collect();
        reserved.sort_unstable();
        reserved.dedup();
        let unknown = model.token_to_id(&model.unk_token)?;
        Some(AsciiWords { lowercase: normalizer.lowercase, reserved, unknown })
    }

    /// Appends the ids of `text`, whose words of other kinds go to `rest`, each on its own: white
    /// space parts words, and no rule of the tokenizer looks beyond it.
    pub(super) fn encode<E>(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        ids: &mut Vec<u32>,
        mut rest: impl FnMut(&str, &mut Vec<u32>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut piece = String::new();
        for word in text.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty()) {
            match wordpiece(tokenizer) {
                Some(model) if self.is_plain(word) => self.cut(model, word, ids, &mut piece),
                _ => rest(word, ids)?,
            }
        }
        Ok(())
    }

    fn is_plain(&self, word: &str) -> bool {
        word.bytes().all(|byte| byte.is_ascii_graphic() && !self.reserved.contains(&byte))
    }

    /// One word and its punctuation, each mark of which is a word of its own.
    fn cut(&self, model: &WordPiece, word: &str, ids: &mut Vec<u32>, piece: &mut String) {
        let mut rest = word;
        while let Some(first) = rest.bytes().next() {
            let length = match first.is_ascii_punctuation() {
                true => 1,
                false => rest.bytes().take_while(|byte| !byte.is_ascii_punctuation()).count(),
            };
            let (word, after) = rest.split_at(length);
            rest = after;
            let before = ids.len();
            if self.pieces(model, word, ids, piece).is_none() {
                ids.truncate(before);
                ids.push(self.unknown);
            }
        }
    }

    /// The longest piece of the vocabulary, then the longest of what follows. `None` where there
    /// is none, and of words that are too long.
    fn pieces(
        &self,
        model: &WordPiece,
        word: &str,
        ids: &mut Vec<u32>,
        piece: &mut String,
    ) -> Option<()> {
        if word.len() > model.max_input_chars_per_word {
            return None;
        }
        let prefix = model.continuing_subword_prefix.as_str();
        let mut start = 0;
        while start < word.len() {
            piece.clear();
            piece.push_str(if start == 0 { "" } else { prefix });
            let marked = piece.len();
            piece.push_str(&word[start..]);
            if self.lowercase {
                piece[marked..].make_ascii_lowercase();
            }
            let mut ends = (marked + 1..=piece.len()).rev();
            let found = ends.find_map(|end| Some((end, model.token_to_id(&piece[..end])?)));
            let (end, id) = found?;
            ids.push(id);
            start += end - marked;
        }
        Some(())
    }
}

fn wordpiece(tokenizer: &Tokenizer) -> Option<&WordPiece> {
    match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => Some(model),
        _ => None,
    }
}
