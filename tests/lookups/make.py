"""Makes a test collection of exact lookups: codes, flags, paths and rare names.

    python tests/lookups/make.py OUT DOCUMENTS.jsonl.gz...
    trine eval OUT --stage dense,lexical,hybrid

Documents are records with `_id`, `title` and `text` in Markdown. They are cut into passages at
headings and paragraphs, and all go into one BEIR folder. A lookup asks for something that stands in
at most three passages, by itself or in a short question; relevant is every passage in which it
stands whole. Nothing but the documents is read, and the same documents give the same folder.
"""

import collections
import gzip
import json
import pathlib
import random
import re
import sys

SEED = 7
LOOKUPS = 200
MOST_PASSAGES = 3
PASSAGE = 1200
STEM = 5

# What is looked up, and how it is asked for.
KINDS = {
    "flag": (
        r"(?<![\w-])--[a-z][a-z0-9]+(?:-[a-z0-9]+)+",
        ["{}", "what does {} do", "how do I use the {} option?"],
    ),
    "code": (
        r"(?<![\w-])[A-Z]{2,}-\d+(?:\(\d+\))+"  # AC-2(1)
        r"|(?<![\w-])[A-Z]{2}-\d{1,2}(?![\w(])"  # AC-2
        r"|\b[A-Z]{2,}(?:_[A-Z0-9]+)+\b"  # ERR_503
        r"|\b[a-z]+(?:_[a-z0-9]+)+\b"  # snake_case
        r"|\b[a-z]+(?:[A-Z][a-z0-9]+)+\b"  # camelCase
        r"|\b(?:[A-Z][a-z0-9]+){2,}\b"  # PascalCase
        r"|\bv?\d+\.\d+\.\d+\b",  # 1.2.3
        ["{}", "what is {}?", "where is {} explained"],
    ),
    "path": (
        r"(?<![\w/.])(?:[\w.-]+/)+[\w-]+\.[a-z]{1,5}\b|(?<![\w/.:])/(?:[\w.-]+/)+[\w.-]*\w",
        ["{}", "what is in {}?", "where is {} used"],
    ),
    "name": (
        r"(?<=[a-z,] )[A-Z][a-z]{3,}\b",
        ["{}", "what is {}?", "how to use {}"],
    ),
}


def passages(record):
    """(title and headings, text): sections, and paragraphs packed to about PASSAGE characters."""
    headings, text, fenced = [], "", False
    for paragraph in re.split(r"\n\s*\n", record["text"]):
        heading = not fenced and re.match(r"(#{1,6}) (.*)", paragraph.strip())
        if heading or len(text) + len(paragraph) > PASSAGE:
            if text.strip():
                yield " > ".join([record["title"], *(name for _, name in headings)]), text.strip()
            text = ""
        if heading:
            level = len(heading[1])
            headings = [h for h in headings if h[0] < level]
            if heading[2].strip() != record["title"]:
                headings.append((level, heading[2].strip()))
            paragraph = paragraph.strip()[heading.end() :]
        text += paragraph + "\n\n"
        fenced ^= paragraph.count("```") % 2 == 1
    if text.strip():
        yield " > ".join([record["title"], *(name for _, name in headings)]), text.strip()


def corpus(files):
    """Passages of each file: id, title, text."""
    for file in files:
        name = pathlib.Path(file).name.split(".")[0]
        found = []
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                cut = enumerate(passages(record))
                found += [(f"{name}/{record['_id']}#{n}", *passage) for n, passage in cut]
        yield found


def forms(texts):
    """In how many texts words begin with these letters, whatever their case and ending."""
    return collections.Counter(
        stem for text in texts for stem in {w[:STEM].lower() for w in re.findall(r"[^\W\d_]+", text)}
    )


def candidates(texts, kind, common):
    """What of this kind stands in few of the texts, in a fixed order."""
    places = collections.defaultdict(set)
    for number, text in enumerate(texts):
        for match in set(re.findall(KINDS[kind][0], text)):
            places[match].add(number)
    rare = (item for item, found in places.items() if len(found) <= MOST_PASSAGES)
    if kind == "name":
        # "Title" is no name where titles are written about.
        rare = (name for name in rare if common[name[:STEM].lower()] <= MOST_PASSAGES)
    return sorted(item for item in rare if 3 < len(item) < 60)


def relevant(item, texts):
    """The texts in which it stands whole."""
    whole = re.compile(r"(?<![\w-])" + re.escape(item) + r"(?![\w(]|-\w)")
    return [number for number, text in enumerate(texts) if item in text and whole.search(text)]


def lookups(rng, documents, share, texts, common):
    """`share` lookups of one file's passages, of each kind in turn: kind, question, relevant texts."""
    own = [f"{title}\n{text}" for _, title, text in documents]
    pools = {kind: candidates(own, kind, common) for kind in KINDS}
    for pool in pools.values():
        rng.shuffle(pool)
    made = []
    while len(made) < share and any(pools.values()):
        for kind in KINDS:
            if len(made) < share and pools[kind]:
                item = pools[kind].pop()
                found = relevant(item, texts)
                if 1 <= len(found) <= MOST_PASSAGES:
                    made.append((kind, rng.choice(KINDS[kind][1]).format(item), found))
    return made


def write(path, records):
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        for record in records:
            file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())


def main(out, *files):
    rng = random.Random(SEED)
    out = pathlib.Path(out)
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    parts = list(corpus(files))
    everything = [passage for part in parts for passage in part]
    texts = [f"{title}\n{text}" for _, title, text in everything]
    common = forms(texts)
    asked = []
    for number, part in enumerate(parts):
        share = LOOKUPS * (number + 1) // len(parts) - len(asked)
        asked += lookups(rng, part, share, texts, common)
    write(out / "corpus.jsonl.gz", ({"_id": i, "title": t, "text": x} for i, t, x in everything))
    queries = [(f"{kind}{n}", *rest) for n, (kind, *rest) in enumerate(asked)]
    write(out / "queries.jsonl.gz", ({"_id": i, "text": question} for i, question, _ in queries))
    with open(out / "qrels" / "test.tsv", "w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for query, _, found in queries:
            file.writelines(f"{query}\t{everything[number][0]}\t1\n" for number in found)
    print(f"{len(queries)} lookups in {len(everything)} passages")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
