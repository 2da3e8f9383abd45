//! Whatever the text, nothing panics, and ranges are what they say.

use std::ops::Range;

use trine_text::markdown::{blocks, plain};
use trine_text::sentences::{paragraphs, sentences};

/// Marsaglia's xorshift: the same texts in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const SCRAPS: [&str; 72] = [
    "a",
    "Word",
    "two words",
    "Dr.",
    "e.g.",
    ". ",
    "! ",
    "? ",
    "…",
    "é",
    "日本。",
    "🦀",
    "\u{301}",
    "\u{feff}",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\t",
    "    ",
    " ",
    "\u{2028}",
    "\u{a0}",
    "\0",
    "# ",
    "## ",
    "###### ",
    "=\n",
    "---\n",
    "+++\n",
    "title: x\n",
    "title = 1\n",
    "- ",
    "* ",
    "1. ",
    "9) ",
    "[ ] ",
    "[x] ",
    "> ",
    "```",
    "```\n",
    "~~~",
    "`",
    "*",
    "**",
    "_",
    "~~",
    "[",
    "]",
    "](",
    ")",
    "![",
    "<",
    ">",
    "</",
    "<!--",
    "-->",
    "<b>",
    "<script>",
    "<p class=\"",
    "&amp;",
    "&#0;",
    "|",
    "|-|-|\n",
    "\\",
    "[^1]",
    "[^1]: ",
    "{%",
    "%}",
    "{{",
    "}}",
    "https://a.b",
];

fn text(random: &mut Random) -> String {
    let length = random.below(60);
    (0..length).map(|_| SCRAPS[random.below(SCRAPS.len())]).collect()
}

fn assert_ranges(text: &str, ranges: &[Range<usize>], what: &str) {
    let mut end = 0;
    for range in ranges {
        assert!(
            end <= range.start && range.start < range.end,
            "{what}: {range:?} after {end} in {text:?}"
        );
        let slice = text
            .get(range.clone())
            .unwrap_or_else(|| panic!("{what}: {range:?} splits a character of {text:?}"));
        assert_eq!(slice, slice.trim(), "{what} in {text:?}");
        end = range.end;
    }
}

#[test]
fn ranges_are_ordered_apart_trimmed_and_on_characters() {
    let mut random = Random(0x5EED_1E55_0F0D_D5A7);
    let (mut found, mut letters) = (0, 0);
    for _ in 0..40_000 {
        let text = text(&mut random);
        for markdown in [false, true] {
            let ranges = sentences(&text, markdown);
            assert_ranges(&text, &ranges, "sentences");
            found += ranges.len();
        }
        assert_ranges(&text, &paragraphs(&text), "paragraphs");
        let blocks: Vec<_> = blocks(&text).into_iter().map(|block| block.range).collect();
        assert_ranges(&text, &blocks, "blocks");
        letters += plain(&text).len();
    }
    assert!(
        found > 100_000 && letters > 100_000,
        "{found} sentences, {letters} bytes: too little to tell"
    );
}

#[test]
fn plain_text_keeps_every_letter() {
    let mut random = Random(77);
    for _ in 0..5_000 {
        let text = text(&mut random);
        let in_sentences: String =
            sentences(&text, false).into_iter().map(|range| &text[range]).collect();
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
        assert_eq!(letters(&in_sentences), letters(&text), "{text:?}");
    }
}

/// Times are not asserted: what is quadratic would not end.
#[test]
fn long_and_nasty_texts_take_linear_time() {
    for scrap in [
        "{{", "{% ", "<a", "<!--", "[", "](", "*a ", "> ", "- ", "a. ", "`", "| a ", "Dr. ",
        "\n---\n", "<b>",
    ] {
        let text = scrap.repeat(100_000 / scrap.len());
        assert!(plain(&text).len() <= 2 * text.len());
        assert_ranges(&text, &sentences(&text, true), scrap);
        assert_ranges(&text, &sentences(&text, false), scrap);
    }
}
