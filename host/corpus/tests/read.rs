//! Every kind of file, and every kind of trouble with one.

mod common;

use std::io::Write;
use std::path::Path;

use common::{complaints, documents, folder, one, open, passages, words};
use flate2::{Compression, write::GzEncoder};
use trine_corpus::{CutOptions, Cutter, Error, MediaType, Passage, Progress, ReadOptions};
use trine_index::{Date, Value};

#[test]
fn titles_come_from_the_document_or_its_name() {
    let title = |name: &str, text: &str| one(name, text.as_bytes()).title;
    assert_eq!(title("a.md", "---\ntitle: \"A \\\"b\\\": c\"\n---\n# D"), "A \"b\": c");
    assert_eq!(title("a.md", "---\ntitle: 'It''s'\n---\n"), "It's");
    assert_eq!(title("a.md", "---\nx: 1\ntitle: Plain # note\n---\n"), "Plain");
    assert_eq!(title("a.md", "---\ntitle: >\n  Two\n  lines\nx: 1\n---\n"), "Two lines");
    assert_eq!(title("a.markdown", "+++\ntitle = 'T'\n+++\n"), "T");
    assert_eq!(title("a.mdx", "title = \"T\"\n[extra]\nurl = \"u\"\n\n---\nText"), "T");
    assert_eq!(title("a.md", "title = \"T\"\nbad = {{ x }}\n---\nText"), "T");
    assert_eq!(title("a.md", "Text\n\n# The *first* `h1`\n\n# Second"), "The first h1");
    assert_eq!(title("some/a-b.c.md", "## Only\n"), "a-b.c");
    assert_eq!(title("a.txt", "# No heading"), "a");
    assert_eq!(title("a.rst", ".. comment\n\nThe Title\n=========\n\nText"), "The Title");
}

#[test]
fn offsets_are_the_files_own() {
    let text = "\u{feff}---\r\ntitle: T\r\n---\r\n# É\r\n\r\nGrüße an alle.\r\nUnd tschüss.\r\n";
    for name in ["a.md", "a.txt"] {
        let folder = folder(&[(name, text.as_bytes())]);
        let (all, _) = passages(&[folder.path()], &words, CutOptions::default());
        let passage: &Passage = &all[0];
        assert_eq!(
            passage.text.as_bytes(),
            &text.as_bytes()[passage.start as usize..passage.end as usize]
        );
        assert!(passage.text.ends_with("Grüße an alle.\r\nUnd tschüss."));
        assert_eq!(passage.text.starts_with("Grüße"), name == "a.md");
    }
}

#[test]
fn html_is_read_as_the_markdown_of_its_article() {
    let page = "<!doctype html><html><head><title> The\n Title </title><style>p{}</style></head><body>\
        <header>Site</header><nav><a href='/'>Home</a></nav><p>Skip</p><main><header><h1>Head</h1></header>\
        <p>One &amp; <b>two</b>, <a href='http://x.y/z'>three</a> <img src=a alt=four>.</p><h2>Sub</h2>\
        <ul><li>Item 1</li><li>Item 2</li></ul><table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>\
        <pre><code>let x;\n</code></pre><script>alert()</script></main><footer>Imprint</footer></body></html>";
    let document = one("a.html", page.as_bytes());
    assert_eq!((document.title.as_str(), document.media_type), ("The Title", MediaType::Markdown));
    for part in
        ["# Head", "One & **two**, three four.", "## Sub", "- Item 1\n- Item 2", "| 1 ", "let x;"]
    {
        assert!(document.text.contains(part), "no {part:?} in {}", document.text);
    }
    for part in ["Skip", "Site", "Home", "Imprint", "alert", "p{}", "http", "Title"] {
        assert!(!document.text.contains(part), "{part:?} in {}", document.text);
    }
    assert_eq!(one("b.htm", b"<h1>Only <i>this</i></h1><p>Text").title, "Only this");
    assert_eq!(one("c.html", b"<p>Text").title, "c");
}

#[test]
fn html_that_would_exhaust_the_stack_is_refused() {
    for (depth, reason) in [
        (3_000, "deep.html nests elements more than 256 deep"),
        (1_000_000, "deep.html leaves more than 4096 elements open"),
    ] {
        let deep = "<div>".repeat(depth) + "deep";
        let found = complaints(&[("deep.html", deep.as_bytes())], ReadOptions::default());
        assert_eq!(found, [reason]);
    }
    let nested = "<div>".repeat(240) + "Still read.";
    assert_eq!(one("nested.html", nested.as_bytes()).text, "Still read.");
}

#[test]
fn other_encodings_are_decoded_and_told() {
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("Grüße".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert!(one("a.txt", &utf16).text.contains("Grüße"));
    assert_eq!(one("a.txt", b"Gr\xfc\xdfe \x96 alle").text, "Grüße – alle");
    let declared = b"<meta charset=\"iso-8859-2\"><p>\xb1</p>";
    assert_eq!(one("a.html", declared).text, "ą");
    let found = complaints(
        &[("a.txt", b"Gr\xfc\xdfe"), ("b.txt", b"a\0b"), ("c.txt", &[0x01, 0x02, 0xff, 0x03])],
        ReadOptions::default(),
    );
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("b.txt is binary") && found[1].starts_with("c.txt is binary"),
        "{found:?}"
    );
    assert_eq!(found[2], "a.txt: was read as windows-1252; offsets refer to the text in UTF-8");
}

const RECORDS: &str = r#"{"_id": "d1", "title": "One", "text": "First text.", "more": [1]}
{"_id": 2, "text": "Second *text*."}

not json
{"title": "No id", "text": "x"}
{"_id": "d3"}
{"_id": "d1", "text": "Again."}
{"_id": "docs/a.md", "title": "", "text": "Text first\n\n# Its title\n\nText."}
"#;

#[test]
fn records_are_read_plain_and_compressed_and_broken_lines_are_told() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(RECORDS.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    for (name, bytes) in [("r.jsonl", RECORDS.as_bytes()), ("r.ndjson.gz", &gzip)] {
        let folder = folder(&[(name, bytes)]);
        let (documents, report) = documents(&[folder.path()], ReadOptions::default());
        let read: Vec<_> =
            documents.iter().map(|d| (d.source.as_str(), d.title.as_str(), d.media_type)).collect();
        let (plain, markdown) = (MediaType::Plain, MediaType::Markdown);
        assert_eq!(
            read,
            [("d1", "One", plain), ("2", "", plain), ("docs/a.md", "Its title", markdown)]
        );
        let skipped: Vec<_> =
            report.skipped.iter().map(|s| (s.path.as_str(), s.reason.as_str())).collect();
        assert_eq!(skipped.len(), 4);
        assert!(
            skipped[0].0.ends_with(":4") && skipped[0].1.starts_with("is no JSON record"),
            "{skipped:?}"
        );
        assert!(skipped[1].0.ends_with(":5") && skipped[1].1 == "has no _id");
        assert!(skipped[2].0.ends_with(":6") && skipped[2].1 == "has no text");
        assert!(
            skipped[3].0.ends_with(":7")
                && skipped[3].1 == "has the name of an earlier document, d1"
        );
        assert_eq!(report.bytes, bytes.len() as u64);
    }
}

#[test]
fn a_record_that_unpacks_to_too_much_is_left_out_without_being_held() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"{\"_id\": \"a\", \"text\": \"Before.\"}\n{\"_id\": \"long\", \"text\": \"")
        .unwrap();
    gzip.write_all(&vec![b'x'; 5_000]).unwrap();
    gzip.write_all(b"\"}\n{\"_id\": \"b\", \"text\": \"Between.\"}\n").unwrap();
    gzip.write_all(&vec![b' '; 50_000_000]).unwrap();
    let folder = folder(&[("bomb.jsonl.gz", &gzip.finish().unwrap())]);
    let options = ReadOptions { max_record_bytes: 1_000, ..ReadOptions::default() };
    let (documents, report) = documents(&[folder.path()], options);
    assert_eq!(documents.iter().map(|d| d.source.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(report.skipped[0].path, "bomb.jsonl.gz:2");
    assert_eq!(report.skipped[0].reason, "is longer than 1000 bytes");
    assert!(report.skipped[1].reason.contains("the rest of the file was left out"), "{report:?}");
}

#[test]
fn a_truncated_gzip_file_is_told() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(RECORDS.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let found = complaints(&[("r.jsonl.gz", &gzip[..90])], ReadOptions::default());
    assert!(found.iter().any(|line| line.contains("cannot be read")), "{found:?}");
}

#[test]
fn folders_are_walked_in_order_without_hidden_files_links_and_other_kinds() {
    let folder = folder(&[
        ("b.md", b"B"),
        ("a/z.txt", b"Z"),
        ("a/y.MD", b"Y"),
        (".hidden.md", b"H"),
        (".git/x.md", b"G"),
        ("code.rs", b"fn"),
        ("Makefile", b"all:"),
        ("data.csv.gz", b"?"),
    ]);
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
    let (documents, report) = documents(&[folder.path()], ReadOptions::default());
    let sources: Vec<_> = documents.iter().map(|d| d.source.as_str()).collect();
    assert_eq!(sources, ["a/y.MD", "a/z.txt", "b.md"]);
    let unread: Vec<_> = report.unread_extensions.iter().map(|(e, n)| (e.as_str(), *n)).collect();
    assert_eq!(unread, [("", 1), ("gz", 1), ("rs", 1)]);
    #[cfg(unix)]
    assert_eq!((report.skipped.len(), report.skipped[0].path.as_str()), (1, "link"));
}

#[test]
fn sources_of_several_roots_do_not_collide() {
    let folder = folder(&[
        ("x/a.md", b"A"),
        ("y/a.md", b"B"),
        ("y/z/c.md", b"C"),
        ("notes", b"Plain words."),
    ]);
    let at = |name: &str| folder.path().join(name);
    let sources = |paths: &[&Path]| {
        let (documents, report) = documents(paths, ReadOptions::default());
        (documents.into_iter().map(|d| d.source).collect::<Vec<_>>(), report.skipped.len())
    };
    assert_eq!(sources(&[&at("x"), &at("y/z")]), (vec!["a.md".into(), "c.md".into()], 0));
    assert_eq!(sources(&[&at("x"), &at("y")]).0, ["x/a.md", "y/a.md", "y/z/c.md"]);
    assert_eq!(sources(&[&at("notes")]), (vec!["notes".into()], 0));
    assert_eq!(sources(&[&at("x"), &at("x/a.md")]), (vec!["a.md".into()], 1));
}

#[test]
fn no_corpus_is_an_error_that_says_what_to_do() {
    let folder = folder(&[("a.rs", b"fn"), ("empty/e.md", b"# Only a title\n")]);
    let missing = open(&[&folder.path().join("none")], ReadOptions::default()).unwrap_err();
    assert!(matches!(missing, Error::Open { .. }), "{missing}");
    std::fs::create_dir(folder.path().join("bare")).unwrap();
    let empty = open(&[&folder.path().join("bare")], ReadOptions::default()).unwrap_err();
    assert!(empty.to_string().contains("files ending in .md, .markdown,"), "{empty}");

    let corpus = open(&[&folder.path().join("empty")], ReadOptions::default()).unwrap();
    let cutter = Cutter::new(&words, CutOptions::default());
    let nothing = corpus.passages(&cutter, &|_| {}, &mut |_| Ok::<(), Error>(())).unwrap_err();
    assert!(nothing.to_string().contains("e.md has no text but its title"), "{nothing}");
}

#[test]
fn large_and_unreadable_files_are_told() {
    let options = ReadOptions { max_file_bytes: 20, ..ReadOptions::default() };
    let found = complaints(&[("large.txt", &[b'a'; 21])], options);
    assert_eq!(found, ["large.txt has 21 bytes, more than the limit of 20"]);

    let folder = folder(&[("a.txt", b"A"), ("b.txt", b"B")]);
    let corpus = open(&[folder.path()], ReadOptions::default()).unwrap();
    std::fs::remove_file(folder.path().join("a.txt")).unwrap();
    let report = corpus.documents(&|_| {}, &mut |_| Ok::<(), Error>(())).unwrap();
    assert!(report.skipped[0].reason.starts_with("cannot be read"), "{report:?}");
}

#[test]
fn progress_ends_at_the_total_and_a_sink_can_stop() {
    let files: Vec<_> = (0..3000).map(|n| (format!("{n:04}.txt"), format!("Text {n}."))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let folder = folder(&files);
    let corpus = open(&[folder.path()], ReadOptions::default()).unwrap();
    let cutter = Cutter::new(&words, CutOptions::default());
    let last = std::cell::Cell::new(Progress::default());
    let mut sources = Vec::new();
    let mut sink = |passages: Vec<Passage>| {
        sources.push(passages[0].source.clone());
        Ok::<(), Error>(())
    };
    let report = corpus.passages(&cutter, &|progress| last.set(progress), &mut sink).unwrap();
    assert!(sources.is_sorted() && sources.len() == 3000);
    let total = corpus.total_bytes();
    assert_eq!(
        last.get(),
        Progress { bytes: total, total_bytes: total, documents: 3000, passages: 3000 }
    );
    assert_eq!(report.bytes, total);

    let mut left = 10;
    let stopped = corpus.passages(&cutter, &|_| {}, &mut |_| {
        left -= 1;
        if left == 0 { Err(Error::Empty(Vec::new())) } else { Ok(()) }
    });
    assert!(stopped.is_err() && left == 0);
}

/// Every document has some fields; front matter and records add theirs.
#[test]
fn documents_have_fields() {
    let text = |text: &str| vec![Value::of_text(text)];
    let folder = folder(&[
        (
            "sub/A.MD",
            b"---\ntitle: T\ntags: [x, y]\nsource: elsewhere\nmodified: 2001-02-03\n---\nText",
        ),
        ("b.txt", b"Plain."),
        (
            "r.jsonl",
            br#"{"_id": "1", "text": "t", "metadata": {"lang": "en", "n": [1, 2]}, "more": true}"#,
        ),
    ]);
    let (documents, report) = documents(&[folder.path()], ReadOptions::default());
    let [plain, record, markdown] = &documents[..] else { panic!("{documents:?}") };
    assert_eq!(plain.fields["source"], text("b.txt"));
    assert_eq!(plain.fields["title"], text("b"));
    assert_eq!(plain.fields["media_type"], text("text/plain"));
    assert_eq!(plain.fields["extension"], text("txt"));
    assert!(
        matches!(plain.fields["modified"][..], [Value::Date(Date(at))] if at > 1_700_000_000_000)
    );

    assert_eq!(markdown.fields["source"], text("sub/A.MD"));
    assert_eq!(markdown.fields["title"], text("T"));
    assert_eq!(markdown.fields["extension"], text("md"));
    assert_eq!(markdown.fields["tags"], [text("x"), text("y")].concat());
    assert_eq!(markdown.fields["modified"], text("2001-02-03"));
    let said = "sub/A.MD: has metadata that was not kept: field source is what trine calls its own";
    assert_eq!(report.warnings, [said]);

    assert_eq!(record.fields["lang"], text("en"));
    assert_eq!(record.fields["n"], [Value::Number(1.0), Value::Number(2.0)]);
    assert_eq!(record.fields["more"], [Value::Boolean(true)]);
    assert!(!record.fields.contains_key("extension") && record.fields.contains_key("modified"));
}
