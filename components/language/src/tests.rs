//! A small byte-level tokenizer, streams of odd texts, and templates that misbehave.

use serde_json::{Map, json};

use super::*;

/// Byte-level BPE with every byte, some merges, and two special tokens.
fn tokenizer() -> TextTokenizer {
    let mut alphabet: Vec<char> =
        tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort();
    let mut vocabulary = Map::new();
    for token in
        alphabet.into_iter().map(String::from).chain(["he", "ll", "Ġw", "Ã©"].map(String::from))
    {
        vocabulary.insert(token, vocabulary.len().into());
    }
    let special = |id: usize, text: &str| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let count = vocabulary.len();
    let json = json!({
        "version": "1.0",
        "added_tokens": [special(count, "<s>"), special(count + 1, "</s>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "model": {"type": "BPE", "vocab": vocabulary,
                  "merges": [["h", "e"], ["l", "l"], ["Ġ", "w"], ["Ã", "©"]]},
    });
    TextTokenizer::parse(json.to_string().as_bytes()).unwrap()
}

#[test]
fn streams_give_whole_characters_and_the_whole_text() {
    let tokenizer = tokenizer();
    for text in
        ["hello world", "café 🦀🦀 über", "日本語\n\n\tтекст", "👩‍👩‍👧 family", "  two  spaces ", ""]
    {
        let tokens = tokenizer.encode(text, true).unwrap();
        let (mut stream, mut all) = (TextStream::default(), String::new());
        for token in tokens {
            let part = stream.push(&tokenizer, token).unwrap();
            assert!(!part.contains('\u{fffd}'), "{part:?} of {text:?}");
            all.push_str(&part);
        }
        all.push_str(&stream.finish(&tokenizer).unwrap());
        assert_eq!(all, text);
    }
}

/// Whatever tokens a model draws: a stream breaks no character that the whole text has whole.
#[test]
fn streams_of_any_tokens_give_the_whole_text() {
    let tokenizer = tokenizer();
    let whole: Vec<u32> = tokenizer.encode("é日🦀 héllo wör", true).unwrap();
    let mut state = 1u64;
    let mut draw = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..2000 {
        let count = 1 + draw(40);
        let mut tokens: Vec<u32> = Vec::new();
        while tokens.len() < count {
            // Parts of characters, in and out of their order, and any tokens at all.
            match draw(3) {
                0 => tokens.push(draw(260) as u32),
                _ => tokens.extend(&whole[draw(whole.len())..]),
            }
        }
        let (mut stream, mut all) = (TextStream::default(), String::new());
        for &token in &tokens {
            all.push_str(&stream.push(&tokenizer, token).unwrap());
        }
        all.push_str(&stream.finish(&tokenizer).unwrap());
        // However many replacements stand for a broken character.
        let kept = |text: &str| text.chars().filter(|c| *c != '\u{fffd}').collect::<String>();
        let expected = tokenizer.decode(&tokens).unwrap();
        assert_eq!(kept(&all), kept(&expected), "round {round}: {tokens:?}");
    }
}

#[test]
fn broken_characters_are_given_up_at_last() {
    let tokenizer = tokenizer();
    let half = tokenizer.encode("🦀", true).unwrap()[0];
    let (mut stream, mut all) = (TextStream::default(), String::new());
    for _ in 0..1000 {
        all.push_str(&stream.push(&tokenizer, half).unwrap());
        assert!(stream.tokens.len() < 32, "what was given is let go");
    }
    all.push_str(&stream.finish(&tokenizer).unwrap());
    assert!(!all.is_empty() && all.chars().all(|c| c == '\u{fffd}'));
    // A token beyond the vocabulary is no text.
    assert_eq!(TextStream::default().push(&tokenizer, 1 << 30).unwrap(), "");
}

#[test]
fn special_tokens_are_known_and_not_shown() {
    let tokenizer = tokenizer();
    let end = tokenizer.token("</s>").unwrap();
    assert_eq!(tokenizer.name(end).as_deref(), Some("</s>"));
    let mut tokens = tokenizer.encode("<s>hello", true).unwrap();
    assert_eq!(Some(tokens[0]), tokenizer.token("<s>"));
    tokens.push(end);
    assert_eq!(tokenizer.decode(&tokens).unwrap(), "hello");
}

#[test]
fn a_tokenizer_is_what_its_json_says() {
    let tokenizer = tokenizer();
    let again = TextTokenizer::parse(tokenizer.json().unwrap().as_bytes()).unwrap();
    let text = "<s>hello wörld 🦀";
    assert_eq!(again.encode(text, true).unwrap(), tokenizer.encode(text, true).unwrap());
    let refused = TextTokenizer::parse(b"{}").err().unwrap();
    assert!(matches!(refused, TextError::Format(_)), "{refused}");
}

fn prompt(source: &str) -> Result<String, TextError> {
    let template = ChatTemplate::new(source.to_owned(), "<s>".to_owned(), "</s>".to_owned());
    let message =
        |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    template.prompt(&[message("system", "Be brief. "), message("user", "Hi")])
}

#[test]
fn messages_become_the_models_prompt() {
    let source = "{{ bos_token }}{% for message in messages %}
    {% if message['role'] == 'system' and loop.first %}
[{{ message['content'].strip() }}]
    {% else %}
<{{ message.role | upper }}>{{ message.content }}{{ eos_token }}
    {% endif %}
{% endfor %}
{% if add_generation_prompt and not tools %}<A>{% endif %}";
    assert_eq!(prompt(source).unwrap(), "<s>[Be brief.]\n<USER>Hi</s>\n<A>");
}

#[test]
fn templates_that_misbehave_are_ended() {
    let refused = |source: &str| prompt(source).unwrap_err().to_string();
    assert!(refused("{% for x in y %}").contains("template"));
    assert!(refused("{{ raise_exception('no system') }}").contains("no system"));
    assert!(refused("{{ nothing.at_all }}").contains("undefined"));
    let forever =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    assert!(refused(forever).contains("fuel"));
    let deep = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
    assert!(refused(deep).contains("recursion"));
}
