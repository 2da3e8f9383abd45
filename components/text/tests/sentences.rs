//! Sentences are where a reader sees them, and can be quoted verbatim.

use trine_text::sentences::sentences;

fn split(text: &str, markdown: bool) -> Vec<&str> {
    sentences(text, markdown).into_iter().map(|range| &text[range]).collect()
}

#[test]
fn plain_text_is_split_at_sentences_and_blank_lines_only() {
    let text = "  Travel must be approved\nbeforehand. Is it urgent? Call!\r\n\r\nA line without a stop\n\n\
                「はい。」そうです。Done… Or not.  ";
    assert_eq!(
        split(text, false),
        [
            "Travel must be approved\nbeforehand.",
            "Is it urgent?",
            "Call!",
            "A line without a stop",
            "「はい。」",
            "そうです。",
            "Done… Or not.",
        ]
    );
}

#[test]
fn abbreviations_and_numbers_do_not_end_a_sentence() {
    for whole in [
        "Use a tool, e.g. Docusign, to sign.",
        "Ask Dr. Smith or Ms. Lee about it.",
        "See Fig. 3 Above the fold.",
        "Pay is set by U.S. Office rules.",
        "Section No. 5 Applies here.",
        "J. R. Smith wrote it.",
        "It costs $3.50 at example.com today.",
        "1. Submit the form.",
        "Acme Inc. Builds it.",
        "Item (a) and so on (etc.) Follow.",
    ] {
        assert_eq!(split(whole, false), [whole]);
    }
    assert_eq!(split("He moved to the U.S. The rest stayed.", false).len(), 2);
    assert_eq!(split("The answer is no. Then go.", false).len(), 2);
    assert_eq!(split("Leave at 5 p.m. You may stay.", false).len(), 2);
    assert_eq!(split("It is plan B. It works.", false).len(), 2);
}

#[test]
fn lists_in_plain_text_are_split_at_their_items() {
    let list = "Bring:\n- a passport\n  or a card\n- a pen\n1. Sign here\n";
    assert_eq!(
        split(list, false),
        ["Bring:", "- a passport\n  or a card", "- a pen", "1. Sign here"]
    );
}

#[test]
fn citations_belong_to_the_sentence_before_them() {
    assert_eq!(
        split("It rose.[12][3] Then it fell.[4]", false),
        ["It rose.[12][3]", "Then it fell.[4]"]
    );
    assert_eq!(
        split("It rose.\\[12\\] Then.[^1] So.", true),
        ["It rose.\\[12\\]", "Then.[^1]", "So."]
    );
    assert_eq!(split("See v1.(2)X and a.[b]c.", false).len(), 1);
}

#[test]
fn enumerations_in_a_paragraph_are_split_at_their_lines() {
    let text =
        "a. Assign managers;\n  b. Specify:\n    (1) Users; and\n    (ii) roles.\n  c. Review it.";
    let items =
        ["a. Assign managers;", "b. Specify:", "(1) Users; and", "(ii) roles.", "c. Review it."];
    assert_eq!(split(text, true), items);
    assert_eq!(split(text, false), items);
}

#[test]
fn markdown_is_split_by_blocks_and_markup_is_no_text() {
    let text = "---\ntitle: A. B. C.\n---\n# Heading one. Not a sentence.\n\n\
        **Ask first.** See [the guide. Really](https://a.b/c.d?e=F. \"T. U\"), i.e. `man 1. X`. `trine` runs.\n\
        <!-- Nor. This. -->\n\n> Quoted and\n> wrapped. Again.\n\n- One item. Two sentences.\n- [x] Three\n\n\
        | Head. One | B |\n|---|---|\n| Row. One | b. C |\n\n```rust\nlet a = 1. + 2.;\n\nlet b;\n```\n\n\
        {{ blockEnd }}\n\n<p>In a tag. <b>Bold</b> one.</p>\n";
    assert_eq!(
        split(text, true),
        [
            "**Ask first.**",
            "See [the guide. Really](https://a.b/c.d?e=F. \"T. U\"), i.e. `man 1. X`.",
            "`trine` runs.",
            "Quoted and\n> wrapped.",
            "Again.",
            "One item.",
            "Two sentences.",
            "[x] Three",
            "| Row. One | b. C |",
            "let a = 1. + 2.;\n\nlet b;",
            "In a tag.",
            "<b>Bold</b> one.",
        ]
    );
}

#[test]
fn nothing_comes_of_nothing() {
    for (text, markdown) in
        [("", false), ("", true), (" \n\t\n", true), ("***\n---", true), ("…\n", false)]
    {
        assert!(sentences(text, markdown).is_empty(), "{text:?}");
    }
}
