//! Where documents are cut.

mod common;

use common::words;
use trine_corpus::{Cut, CutOptions, Cutter, Cutting, Document, Fields, MediaType};
use trine_text::passage_input;

fn document(title: &str, text: &str, media_type: MediaType) -> Document {
    Document {
        source: "a".into(),
        title: title.into(),
        text: text.into(),
        media_type,
        fields: Fields::new(),
    }
}

/// Windows of 40 words, texts of 24, 8 shared.
const SMALL: CutOptions =
    CutOptions { cutting: Cutting::Sections, window: 40, special: 2, target: 24, overlap: 8 };

fn cut(text: &str, media_type: MediaType, options: CutOptions) -> Cut {
    let document = document("Guide", text, media_type);
    let cut = Cutter::new(&words, options).cut(&document);
    for passage in &cut.passages {
        assert_eq!(passage.text, text[passage.start as usize..passage.end as usize]);
        let markdown = passage.media_type == MediaType::Markdown;
        let input = passage_input(&passage.title, &passage.headings, &passage.text, markdown);
        let fits = words(&input) + options.special <= options.window;
        assert!(fits || cut.over_window > 0 || options.cutting == Cutting::Whole, "{passage:#?}");
    }
    cut
}

fn sentence(n: usize) -> String {
    format!("Sentence {n} has just these eight words inside. ")
}

#[test]
fn sections_have_their_headings_and_not_the_title() {
    let filler = sentence(1).repeat(2);
    let text = format!(
        "---\ntitle: Guide\n---\n# Guide\n\n{filler}\n## Leave *now*\n\n### Empty\n\n### Sick\n{filler}\n\n# Other\n{filler}"
    );
    let cut = cut(&text, MediaType::Markdown, SMALL);
    let paths: Vec<_> = cut.passages.iter().map(|passage| passage.headings.join("/")).collect();
    assert_eq!(paths, ["", "Leave now/Sick", "Other"]);
    assert!(cut.passages.iter().all(|passage| passage.text == filler.trim()));
}

#[test]
fn a_long_section_is_cut_at_blocks_then_sentences_and_overlaps_by_whole_sentences() {
    let text: String = (0..6).map(sentence).collect();
    let passages = cut(&text, MediaType::Plain, SMALL).passages;
    let texts: Vec<_> = passages.iter().map(|passage| passage.text.as_str()).collect();
    let joined = |range: std::ops::RangeInclusive<usize>| range.map(sentence).collect::<String>();
    assert_eq!(texts[0], joined(0..=2).trim());
    assert_eq!(texts[1], joined(2..=4).trim(), "the last sentence begins the next passage");
    assert!(texts.last().unwrap().ends_with(sentence(5).trim()));

    let paragraphs =
        "Two words.\n\n".repeat(3) + &sentence(0).repeat(2) + "\n\n" + &sentence(1).repeat(2);
    let none = CutOptions { overlap: 0, ..SMALL };
    let passages = cut(&paragraphs, MediaType::Markdown, none).passages;
    assert_eq!(passages.len(), 2);
    assert_eq!(passages[1].text, sentence(1).repeat(2).trim(), "a paragraph that fits stays whole");
}

#[test]
fn small_sections_are_cut_together_under_the_heading_they_share() {
    let text = "## Hours\n\n### Weekdays\nNine to five.\n\n### Weekends\nClosed.\n\n## Address\n1 Main Street.\n";
    let passages = cut(text, MediaType::Markdown, SMALL).passages;
    assert_eq!(passages.len(), 2);
    assert_eq!(passages[0].headings, ["Hours"]);
    assert_eq!(passages[0].text, "### Weekdays\nNine to five.\n\n### Weekends\nClosed.");
    assert_eq!(passages[1].headings, ["Address"]);
    assert_eq!(passages[1].text, "1 Main Street.");
}

#[test]
fn code_stays_whole_where_it_fits_and_is_plain_text_where_it_does_not() {
    let code =
        |lines: usize| format!("```sh\n{}```", "run --with *these* five words\n".repeat(lines));
    let fitting = format!("{}\n\n{}\n\n{}", sentence(0).repeat(2), code(5), sentence(1).repeat(2));
    let passages = cut(&fitting, MediaType::Markdown, SMALL).passages;
    assert!(passages.iter().any(|passage| passage.text.ends_with(&code(5))), "{passages:#?}");

    let long = format!("{}\n\n{}\n\nAfter it.", sentence(0), code(60));
    let passages = cut(&long, MediaType::Markdown, SMALL).passages;
    let (plain, markdown): (Vec<_>, Vec<_>) =
        passages.iter().partition(|p| p.media_type == MediaType::Plain);
    assert!(
        plain.len() > 8
            && plain.iter().all(|p| p.text.starts_with("run") && !p.text.contains("After"))
    );
    assert_eq!(markdown.last().unwrap().text, "After it.");
}

#[test]
fn what_has_no_sentences_is_cut_at_words_and_what_has_no_words_at_characters() {
    let stream = "word ".repeat(500);
    let passages = cut(&stream, MediaType::Plain, SMALL).passages;
    assert!(
        passages.len() > 10
            && passages.iter().all(|p| p.text.ends_with("word") && p.text.starts_with("word"))
    );

    let base64 = "Zażółć".repeat(2_000);
    let passages = cut(&base64, MediaType::Plain, SMALL).passages;
    assert!(passages.len() > 10, "{}", passages.len());
    assert_eq!(passages.iter().map(|p| p.text.as_str()).collect::<String>(), base64);
}

#[test]
fn nothing_to_read_is_no_passage() {
    for text in [
        "",
        "\n\n",
        "# Guide\n## Empty\n",
        "---\ntitle: x\n---\n",
        "<!-- hidden -->\n\n![](a.png)\n\n---\n",
        "\u{feff}",
    ] {
        assert_eq!(cut(text, MediaType::Markdown, SMALL), Cut::default(), "{text:?}");
    }
}

#[test]
fn a_title_longer_than_the_window_is_told() {
    let title = "word ".repeat(50);
    let document = document(&title, &sentence(0), MediaType::Plain);
    let cut = Cutter::new(&words, SMALL).cut(&document);
    assert_eq!((cut.passages.len(), cut.over_window), (1, 1));
}

#[test]
fn headings_that_leave_no_room_lose_the_outermost() {
    let long = "heading ".repeat(20);
    let text = format!("# {long}\n## {long}\n### Inner\n{}", sentence(0));
    let cut = cut(&text, MediaType::Markdown, SMALL);
    assert_eq!(cut.over_window, 0);
    assert_eq!(cut.passages[0].headings, [long.trim(), "Inner"]);
}

#[test]
fn whole_documents_are_one_passage_of_any_length() {
    let whole = CutOptions { cutting: Cutting::Whole, ..SMALL };
    let text = format!("---\ntitle: x\n---\n\n# Guide\n\n{}\n", sentence(0).repeat(100));
    let passages = cut(&text, MediaType::Markdown, whole).passages;
    assert_eq!(passages.len(), 1);
    assert!(passages[0].text.starts_with("# Guide") && passages[0].text.ends_with("inside."));
    assert_eq!(
        cut("", MediaType::Plain, whole).passages[0].text,
        "",
        "its title is still to be found"
    );
}

#[test]
fn tokens_are_counted_about_twice() {
    let counted = std::sync::atomic::AtomicUsize::new(0);
    let count = |text: &str| {
        counted.fetch_add(text.len(), std::sync::atomic::Ordering::Relaxed);
        words(text)
    };
    let text: String = (0..4000).map(sentence).collect();
    let document = document("Guide", &text, MediaType::Plain);
    let options = CutOptions::default();
    assert!(Cutter::new(&count, options).cut(&document).passages.len() > 100);
    let times = counted.into_inner() as f64 / text.len() as f64;
    assert!(times < 3.0, "counted {times} times");
}
