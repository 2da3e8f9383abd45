//! What is left of Markdown without its markup, and where its blocks lie.

use trine_text::markdown::{BlockKind, FrontMatterKind, blocks, front_matter, plain};
use trine_text::passage_input;

const PAGE: &str = "\u{feff}---
title: Leave
---
# Annual *leave* {#leave}

You earn **4 hours** a pay period; see [the table](https://example.org/a.b?c=d \"t\")
and ![a calendar](cal.png).<!-- not shown --> Ask `hr --leave`.

- First, ask your `lead`.
  - Then file <b>form</b> 71.
- [ ] Wait.

| Years | Hours |
|-------|------:|
| 0-3   | 4     |
| 3-15  | **6** |

```sh
# not a heading
leave request --hours 4
```

<details><summary>Who is eligible?</summary>
Everyone &amp; all.
</details>

[ref]: https://example.org
See [this][ref] and [that][elsewhere], not a[0].[^1]

[^1]: Since 2019.
";

#[test]
fn plain_is_what_a_reader_sees() {
    assert_eq!(
        plain(PAGE),
        "Annual leave\n\
         You earn 4 hours a pay period; see the table and a calendar. Ask hr --leave.\n\
         First, ask your lead.\nThen file form 71.\nWait.\n\
         Years | Hours\n0-3 | 4\n3-15 | 6\n\
         # not a heading\nleave request --hours 4\n\
         Who is eligible?\nEveryone & all.\n\
         See this and that, not a[0].\nSince 2019."
    );
}

#[test]
fn plain_works_on_fragments() {
    assert_eq!(plain("6. Sign it.\n7. Send it."), "Sign it.\nSend it.");
    assert_eq!(
        plain("of **bold** text.\n\n---\nNot front matter.\n\n---\nSo."),
        "of bold text.\nNot front matter.\nSo."
    );
    assert_eq!(
        plain("---\nNo field, so no front matter.\n\n---\n"),
        "No field, so no front matter."
    );
    assert_eq!(plain("| 3-15 | 6 |\n| 15+ | 8 |"), "| 3-15 | 6 | | 15+ | 8 |");
    assert_eq!(plain(""), "");
    assert_eq!(plain("a < b and b > c"), "a < b and b > c");
}

#[test]
fn template_tags_are_markup_except_in_code() {
    let page = "Read [the guide]({% page \"/travel/guide\" %}) first.\n\n{% include \"note.html\" %}\n\n\
                {{ startTab \"Rust\" }}\n\nWrite `{{ name }}` there.\n\n```\n{% raw %}\n```\n";
    assert_eq!(plain(page), "Read the guide first.\nRust\nWrite {{ name }} there.\n{% raw %}");
}

#[test]
fn blocks_are_ordered_and_have_their_markers() {
    let found = blocks(PAGE);
    let texts: Vec<_> =
        found.iter().map(|block| (block.kind, &PAGE[block.range.clone()])).collect();
    assert_eq!(texts[0], (BlockKind::Heading(1), "# Annual *leave* {#leave}"));
    assert_eq!(texts[1].0, BlockKind::Text);
    assert_eq!(texts[2], (BlockKind::Text, "- First, ask your `lead`."));
    assert_eq!(texts[3], (BlockKind::Text, "- Then file <b>form</b> 71."));
    assert_eq!(texts[4], (BlockKind::Text, "- [ ] Wait."));
    assert_eq!(texts[5], (BlockKind::TableHead, "| Years | Hours |"));
    assert_eq!(texts[6], (BlockKind::TableRow, "| 0-3   | 4     |"));
    assert_eq!(texts[8], (BlockKind::Code, "```sh\n# not a heading\nleave request --hours 4\n```"));
    assert_eq!(texts[9], (BlockKind::Text, "<details><summary>Who is eligible?"));
    assert_eq!(&PAGE[found[8].content.clone()], "# not a heading\nleave request --hours 4");
    assert_eq!(texts.last().unwrap(), &(BlockKind::Text, "[^1]: Since 2019."));
}

#[test]
fn front_matter_in_three_forms() {
    let yaml = front_matter("---\ntitle: A\ntags: [b]\n---\nText").unwrap();
    assert_eq!((yaml.kind, yaml.fields), (FrontMatterKind::Yaml, "title: A\ntags: [b]\n"));
    let toml = front_matter("+++\ntitle = \"A\"\n+++\nText").unwrap();
    assert_eq!((toml.kind, toml.fields), (FrontMatterKind::Toml, "title = \"A\"\n"));
    let open =
        "title = \"A\"\ntext = \"\"\"\nfree words\n\"\"\"\n[extra]\nurl = \"b\"\n\n---\nText";
    let unfenced = front_matter(open).unwrap();
    assert_eq!((unfenced.kind, &open[unfenced.end..]), (FrontMatterKind::Toml, "Text"));
    for none in [
        "title = 3 of us\nwent home\n---\n",
        "---\nprose\n---\n",
        "---\ntitle: never closed\n",
        "",
        "x",
    ] {
        assert_eq!(front_matter(none), None, "{none:?}");
    }
    let windows = "---\r\ntitle: A\r\n---\r\nText";
    assert_eq!(&windows[front_matter(windows).unwrap().end..], "Text");
}

#[test]
fn passage_input_puts_title_and_headings_first() {
    let headings = ["Leave".to_owned(), String::new(), "Sick".to_owned()];
    assert_eq!(
        passage_input("Handbook", &headings, "**Ask**.", true),
        "Handbook\nLeave\nSick\nAsk."
    );
    assert_eq!(passage_input("", &[], "**Ask**.", false), "**Ask**.");
}
