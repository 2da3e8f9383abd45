"""Paragraphs of Wikipedia, from the excerpt of a dump that gensim's wheel holds (CC BY-SA 3.0).

Written questions know them by their number, so what is kept here must stay as it is. `wikipedia.txt`
pins the wheel; nothing else of it is used.
"""

import bz2
import re
import zipfile
from xml.etree import ElementTree

import mwparserfromhell

DUMP = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
# Characters of a paragraph; how many of an article come first.
SHORTEST, LONGEST, MOST = 300, 2500, 45
TABLES = ("ref", "table", "gallery", "math", "blockquote", "ul", "ol", "li", "dl", "dd", "dt", "sup", "sub")
ELSEWHERE = re.compile(r"(file|image|category|[a-z-]{2,12}):", re.I)
# What a template left behind that is gone, and marks that the text should not have.
HOLE = re.compile(r"\(\s*\)|\(\s*[,;:]|[,;:]\s*\)| [,;.)]|\bof (in|and|or)\b|  ")
MARKUP = re.compile(r"[{}|\[\]<>*=]|thumb|&\w+;|http")


def paragraphs(dump):
    """(id, text) of the paragraphs that came through whole: first the middling ones that articles begin
    with, then the others."""
    first, rest = [], []
    for markup in articles(dump):
        kept = 0
        for text in dict.fromkeys(" ".join(line.split()) for line in plain(markup).split("\n")):
            if not SHORTEST <= len(text) <= LONGEST or text[-1] not in '."':
                continue
            if HOLE.search(text) or MARKUP.search(text):
                continue
            middling = 400 <= len(text) <= 1300 and text.count(". ") >= 2
            kept += middling
            (first if middling and kept <= MOST else rest).append(text)
    return [(f"wiki-{number}", text) for number, text in enumerate(dict.fromkeys(first + rest))]


def articles(dump):
    """The markup of the dump's articles."""
    [wheel] = dump.glob("gensim-*.whl")
    with zipfile.ZipFile(wheel) as archive, archive.open(f"gensim/test/test_data/{DUMP}") as packed:
        for _, page in ElementTree.iterparse(bz2.open(packed)):
            if not page.tag.endswith("}page"):
                continue
            space = page.tag.removesuffix("page")
            title = page.findtext(f"{space}title")
            markup = page.findtext(f"{space}revision/{space}text") or ""
            page.clear()
            if not markup.lower().startswith("#redirect") and not re.search("List of|disambig", title):
                yield markup


def plain(markup):
    """The text of an article, a paragraph a line."""
    code = mwparserfromhell.parse(markup)
    for template in code.filter_templates():
        name = str(template.name).strip().lower()
        values = [str(p.value).strip() for p in template.params if not p.showkey]
        text = " ".join(values[:2]) if name in ("convert", "cvt") else ""
        if name in ("lang", "nowrap", "transl") and values:
            text = values[-1]
        swap(code, template, text)
    for tag in code.filter_tags(matches=lambda tag: str(tag.tag).lower() in TABLES):
        swap(code, tag, "")
    for link in code.filter_wikilinks(matches=lambda link: ELSEWHERE.match(str(link.title))):
        swap(code, link, "")
    text = code.strip_code(normalize=True, collapse=True)
    # References stood before the spaces and marks that follow them.
    return re.sub(r" +([,.;:)])", r"\1", re.sub(r"\( ?[,;] ?", "(", text.replace("\xa0", " ")))


def swap(code, node, text):
    """Puts `text` in the node's place, unless a node that held it has gone before."""
    try:
        code.replace(node, text)
    except ValueError:
        pass
