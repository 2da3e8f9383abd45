"""Reading question sets, and token ids with their places in the text."""

import gzip
import json
import re
from pathlib import Path

from tokenizers import Tokenizer

CLS, SEP = 101, 102
TRAINED_ON = ("squadshifts_new_wiki_train", "squadshifts_reddit_train", "squadshifts_amazon_reviews_train")


def rows(path):
    """The objects of a `.jsonl` or `.jsonl.gz` file."""
    path = Path(path)
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as lines:
        return [json.loads(line) for line in lines]


def found(folder, name):
    """`name.jsonl.gz` or `name.jsonl` of a folder."""
    packed = Path(folder) / f"{name}.jsonl.gz"
    return rows(packed if packed.exists() else Path(folder) / f"{name}.jsonl")


def corpus(folder):
    """Passages by id: title and text."""
    return {row["_id"]: (row.get("title", ""), row["text"]) for row in found(folder, "corpus")}


def mined_from(path):
    """What `mine.py` found: the passages, and rows (set, question, number of its passage, numbers of those to
    tell it from)."""
    with open(path) as lines:
        return json.loads(next(lines)), [json.loads(line) for line in lines]


SENTENCE = re.compile(r"(?<=[.!?])\s+")


def squeezed(text):
    """Letters and digits of a sentence's beginning: what stays the same in every tokenisation."""
    return re.sub(r"[^a-z0-9]", "", text.lower())[:60]


def evaluated(data):
    """The sentences, squeezed, of every set that is kept for evaluation."""
    judged = [p for p in data.iterdir() if p.name.endswith(("_dev", "_visible"))]
    return {
        squeezed(sentence)
        for folder in judged
        for _, text in corpus(folder).values()
        for sentence in SENTENCE.split(text)
    }


class Pieces:
    """The base's tokenizer without special tokens, window or padding."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def __call__(self, texts):
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [(e.ids, e.offsets) for e in encoded]

    def framed(self, texts, most):
        """The ids of each text between special tokens, at most `most` in all."""
        return [[CLS, *ids[: most - 2], SEP] for ids, _ in self(texts)]


def beside(text, start, end):
    """The characters of the sentences that `start..end` touches, with the one before and the one after."""
    cuts = [0, *(m.end() for m in SENTENCE.finditer(text)), len(text)]
    first = max(n for n, cut in enumerate(cuts[:-1]) if cut <= start)
    last = next((n for n, cut in enumerate(cuts) if n > first and cut >= end), len(cuts) - 1)
    return cuts[max(0, first - 1)], cuts[min(len(cuts) - 1, last + 1)]
