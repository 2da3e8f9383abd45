"""Pairs of a query and its passage that texts give for free, as BEIR folders.

    python sources.py --data SHARED_DATA --wheels WHEELS_DIR --out PAIRS_DIR

| folder | query | passage | licence |
|---|---|---|---|
| qg | question (Du et al. 2017, from SQuAD's training articles) | its sentence | CC BY-SA 4.0 |
| tldr | what a command does; what one example does | the page, without that line | CC BY 4.0 |
| sections | title and heading | the section | Apache-2.0, MIT, CC BY 4.0, CC0 |
| cloze, cloze_abstracts | a sentence | its passage with it cut out (Lee et al. 2019) | as the passage |
| abstracts | title, a question | the abstract (PubMedQA) | MIT |
| code | first sentence of the docstring | the function without it | BSD, Apache-2.0 |

Questions whose text stands in a passage of the evaluation sets are left out and counted.
"""

import argparse
import ast
import io
import json
import random
import re
import tarfile
import zipfile
from pathlib import Path

from texts import TRAINED_ON, corpus, evaluated, found, rows, squeezed

DOCUMENTS = (
    "component_model_docs",
    "etcd_v3_6_docs",
    "gsa_tts_handbook",
    "nist_800_53_rev5_high",
    "prometheus_docs",
    "rust_book",
    "spin_docs",
)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(`])")
MARKS = re.compile(r"[*_`#>|]+|\[([^\]]*)\]\([^)]*\)|<[^>]*>|\{[{%#].*?[}%#]\}")


def plain(text):
    return re.sub(r"\s+", " ", MARKS.sub(lambda m: m[1] or " ", text)).strip()


def questions_of_sentences(data, seen):
    """(query, title, passage) of squad_qg_pairs; what stands in evaluation passages is left out."""
    for row in rows(data / "qa/squad_qg_pairs/nqg_test.jsonl.gz"):
        if squeezed(row["sentence"]) not in seen:
            yield row["question"], "", row["sentence"]


def commands(data, chance):
    for row in rows(data / "docs/tldr_pages.jsonl.gz"):
        lines = [l for l in row["text"].split("\n") if l.strip()]
        about = [l[2:] for l in lines if l.startswith("> ") and "<http" not in l]
        examples = [i for i, l in enumerate(lines) if l.startswith("- ")]
        rest = lambda drop: "\n".join(l for l in lines if l not in drop)
        if about:
            query = about[0].rstrip(".")
            yield without(query, row["title"]), row["title"], rest({f"> {about[0]}"})
        if examples:
            line = lines[chance.choice(examples)]
            yield line[2:].rstrip(":"), row["title"], rest({line})


def without(text, word):
    return re.sub(rf"\b{re.escape(word)}\b", "", text, flags=re.I).strip() or text


def sections(data, names=DOCUMENTS):
    for name in names:
        for row in rows(data / f"docs/{name}.jsonl.gz"):
            body = re.sub(r"\A---\n.*?\n---\n", "", row["text"], flags=re.S)
            body = re.sub(r"```.*?```", " ", body, flags=re.S)
            parts = re.split(r"^#{1,4} +(.+)$", body, flags=re.M)
            for heading, text in zip(parts[1::2], parts[2::2]):
                text, heading = plain(text)[:1200], plain(heading)
                if len(text) > 200 and heading:
                    yield row["title"], heading, text


def headed(data):
    for title, heading, text in sections(data):
        query = heading if title.lower() in heading.lower() else f"{heading} {title}"
        yield query, "", text


def prose(data):
    """(title, text) of documentation and of the question sets' passages."""
    texts = [(title, f"{heading}. {text}") for title, heading, text in sections(data)]
    return texts + [passage for name in TRAINED_ON for passage in corpus(data / "qa" / name).values()]


def cloze(texts, chance):
    for title, text in texts:
        sentences = [s for s in SENTENCE.split(text) if len(s) > 30]
        if len(sentences) >= 4 and chance.random() < 0.6:
            cut = chance.choice(sentences)
            yield cut[:300], title, text.replace(cut, " ")


def abstracts(data):
    passages = corpus(data / "qa/pubmedqa")
    for row in found(data / "qa/pubmedqa", "qa"):
        yield row["question"], "", passages[row["passage_id"]][1]
        conclusion = " ".join(row.get("long_answers", []))
        if conclusion:
            yield conclusion[:300], "", passages[row["passage_id"]][1]


def modules(folder):
    """Python sources inside wheels and source archives."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".py") and "test" not in name:
                        yield archive.read(name).decode("utf-8", "replace")
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.name.endswith(".py") and "test" not in member.name:
                        file = archive.extractfile(member)
                        yield io.TextIOWrapper(file, "utf-8", "replace").read()


def functions(folder):
    for source in modules(folder):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        lines = source.split("\n")
        for node in ast.walk(tree):
            doc = isinstance(node, ast.FunctionDef) and ast.get_docstring(node)
            if not doc or len(node.body) < 2 or node.name.startswith("__"):
                continue
            first, _, more = doc.partition("\n\n")
            first = " ".join(first.split()).rstrip(".")
            head = lines[node.lineno - 1 : node.body[0].lineno - 1]
            body = lines[node.body[1].lineno - 1 : node.end_lineno]
            kept = f'    """{more.strip()[:300]}"""\n' if more.strip() else ""
            code = "\n".join(head) + "\n" + kept + "\n".join(body)
            if 3 <= len(first.split()) <= 30 and 60 < len(code):
                yield first, code[:1500]


def code(folder, chance):
    seen = set()
    for query, body in functions(folder):
        if query in seen:
            continue
        seen.add(query)
        query = query[0].lower() + query[1:]
        form = chance.random()
        query = f"python {query}" if form < 0.25 else f"{query} python" if form < 0.4 else query
        yield query, "", body


def write(out, name, pairs, most):
    """A BEIR folder; a passage that comes twice keeps one id."""
    pairs, ids = list(pairs), {}
    random.Random(name).shuffle(pairs)
    folder = out / name
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    texts, queries, judged = [], [], ["query-id\tcorpus-id\tscore"]
    for at, (query, title, text) in enumerate(pairs[:most]):
        key = ids.setdefault((title, text), f"{name}-{len(ids)}")
        queries.append({"_id": f"{name}-q{at}", "text": query})
        judged.append(f"{name}-q{at}\t{key}\t1")
    texts = [{"_id": key, "title": title, "text": text} for (title, text), key in ids.items()]
    lines = lambda values: "".join(json.dumps(v) + "\n" for v in values)
    (folder / "corpus.jsonl").write_text(lines(texts))
    (folder / "queries.jsonl").write_text(lines(queries))
    (folder / "qrels/test.tsv").write_text("\n".join(judged) + "\n")
    print(f"{name}: {len(queries)} queries, {len(texts)} passages", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="holds qa/ and docs/")
    options.add_argument("--wheels", type=Path, required=True, help="Python packages, see wheels.txt")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--most", type=int, default=12_000, help="queries of one source")
    o = options.parse_args()
    chance = random.Random(11)
    seen = evaluated(o.data / "qa")
    write(o.out, "qg", questions_of_sentences(o.data, seen), o.most)
    write(o.out, "tldr", commands(o.data, chance), o.most)
    write(o.out, "sections", headed(o.data), o.most)
    write(o.out, "cloze", cloze(prose(o.data), chance), o.most)
    given = corpus(o.data / "qa/pubmedqa")
    write(o.out, "cloze_abstracts", cloze(given.values(), chance), o.most)
    write(o.out, "abstracts", abstracts(o.data), o.most)
    write(o.out, "code", code(o.wheels, chance), o.most)


if __name__ == "__main__":
    main()
