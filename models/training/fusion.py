"""Chooses how the reranker's scores are fused with the first stage's, on collections that nothing is
judged by.

    python fusion.py pairs --data QA_DIR --wheels DJANGO_DIR --out FOLDER
    trine eval FOLDER/... --stage hybrid --run FOLDER/.../run.trec
    python fusion.py choose --base MODEL_DIR --reranker FILE --reader FILE FOLDER...

The collections: written questions of the passages that are held out of the reader's training
(`written.py`), and `needs.jsonl`: what a developer would type to find functions and sections of the
manual in Django's source archive, and what a librarian would ask of PubMedQA's abstracts, 60 each,
written and judged (the best 14 of the first stage and of the reranker) by a language model. The
abstracts are among what the reranker is trained on, and the others like it, so that more of its weight
looks good here than elsewhere.

What is chosen: the reranker's weight, the share that similar passages lend and how many do, the
reader's weight, how many passages it reads, and how what it says becomes a probability
(`host/node/src/build.rs`, `components/reranker`).
"""

import argparse
import json
import random
import re
import tarfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import sources
import written
from encoder import Encoder, adapter_tensors, padded
from examples import WINDOW
from reader import logits
from reranker import PASSAGE, QUERY, maxsim
from texts import CLS, SEP, Pieces, corpus, found, rows

NEEDS = Path(__file__).with_name("needs.jsonl")
CANDIDATES, READ = 50, 20
LONGEST = 40
HEADING = re.compile(r"^(?!\.\.)(\S.*)\n([=\-~^\"'])\2{2,}\n", re.M)
NOW = {"weight": 0.35, "share": 0.3, "lenders": 5, "reader": 2.0, "read": 10}
NOW |= {"says": "margin", "temperature": 3.0}
TRIED = {
    "weight": (0.2, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8),
    "share": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "lenders": (2, 3, 5, 8, 12),
    "reader": (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    "read": (3, 5, 10, 15, 20),
    # The best span's logits less those of none, or the odds that anything answers.
    "says": ("margin", "odds"),
    "temperature": (1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
}
# Numbers of which less is nearer to the first stage.
CAUTIOUS = ("weight", "reader", "read")


def make_pairs(o):
    texts = {k: p for k, p in corpus(o.data / "squadshifts_new_wiki_train").items()}
    asked = [q for q in written.held_out() if q["answer"] is not None and q["passage"] in texts]
    collection(o.out / "held_out", texts, [(q["question"], [q["passage"]]) for q in asked])
    needs = {}
    for row in rows(NEEDS):
        needs.setdefault(row["collection"], []).append((row["query"], row["relevant"]))
    given = {"functions": sources.code(o.wheels, random.Random(5)), "manual": manual(o.wheels)}
    for name, found_there in given.items():
        sources.write(o.out, name, found_there, 4000)
        collection(o.out / name, corpus(o.out / name), needs[name])
    collection(o.out / "abstracts", corpus(o.data / "pubmedqa"), needs["abstracts"])


def collection(folder, texts, asked):
    """A BEIR folder of passages by id, and queries with the ids of those that are relevant."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    lines = lambda values: "".join(json.dumps(v) + "\n" for v in values)
    passages = [{"_id": key, "title": title, "text": text} for key, (title, text) in texts.items()]
    queries = [{"_id": f"q{n}", "text": query} for n, (query, _) in enumerate(asked)]
    judged = [f"q{n}\t{key}\t1" for n, (_, right) in enumerate(asked) for key in right]
    (folder / "corpus.jsonl").write_text(lines(passages))
    (folder / "queries.jsonl").write_text(lines(queries))
    (folder / "qrels/test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n")


def manual(folder):
    """Headings of Django's documentation, and the text below each."""
    for path in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(path) as archive:
            for member in archive:
                if "/docs/" not in member.name or not member.name.endswith(".txt"):
                    continue
                if "/releases/" in member.name:
                    continue
                text = archive.extractfile(member).read().decode("utf-8", "replace")
                parts = HEADING.split(text)
                title = sources.plain(parts[1]) if len(parts) > 3 else ""
                for heading, body in zip(parts[4::3], parts[6::3]):
                    body, heading = sources.plain(body)[:1200], sources.plain(heading)
                    if len(body) > 200 and len(heading.split()) > 1:
                        yield f"{heading} {title}", "", body


def adapted(base, path):
    encoder, tensors = Encoder(base, 64), load_file(path)
    with torch.no_grad():
        for name, weight in adapter_tensors(encoder).items():
            weight.copy_(tensors[name])
    return encoder, tensors


class Models:
    def __init__(self, o):
        self.pieces = Pieces(o.base)
        self.reranker, _ = adapted(o.base, o.reranker)
        self.reader, tensors = adapted(o.base, o.reader)
        self.head = nn.Linear(384, 2)
        with torch.no_grad():
            self.head.weight.copy_(tensors["qa_outputs.weight"])
            self.head.bias.copy_(tensors["qa_outputs.bias"])

    @torch.no_grad()
    def compared(self, query, texts):
        """The reranker's scores `[n]` and the passages' vectors `[n, 384]`."""
        framed = lambda rows, most: [[CLS, *ids[: most - 2], SEP] for ids, _ in rows]
        asked, asked_lengths = padded(framed(self.pieces([query]), QUERY))
        ids, lengths = padded(framed(self.pieces(texts), PASSAGE))
        x = self.reranker(ids, lengths)
        scores = maxsim(self.reranker(asked, asked_lengths), asked_lengths, x, lengths)[0]
        inside = (torch.arange(ids.shape[1])[None] < lengths[:, None]).float()[..., None]
        return scores, F.normalize((x.float() * inside).sum(1), dim=-1)

    @torch.no_grad()
    def answered(self, query, texts):
        """Of each text the best span's margin over no answer, the odds of any, and the character that
        the span begins at: `[n]` each."""
        (q, _), *read = self.pieces([query, *texts])
        places, read, q = [at for _, at in read], [ids for ids, _ in read], q[:64]
        read = [p[: WINDOW - len(q) - 3] for p in read]
        types = [[0] * (len(q) + 2) + [1] * (len(p) + 1) for p in read]
        start, end = logits(self.reader, self.head, [[CLS, *q, SEP, *p, SEP] for p in read], types)
        margins, odds, begins = [], [], []
        for a, b, p, at in zip(start, end, read, places):
            inside = slice(len(q) + 2, len(q) + 2 + len(p))
            pairs = a[inside][:, None] + b[inside][None]
            may = torch.ones_like(pairs).triu().tril(LONGEST - 1).bool()
            best, begin = pairs.masked_fill(~may, -1e4).max(1).values.max(0)
            margins.append(best - a[0] - b[0])
            begins.append(at[begin][0])
            odds.append(sum(x[inside].logsumexp(0) - x[0] for x in (a, b)))
        said = {"margin": torch.stack(margins), "odds": torch.stack(odds)}
        return said | {"begin": torch.tensor(begins)}


def standardised(x):
    return (x - x.mean()) / x.std(correction=0).clamp_min(1e-6)


def fused(first, second, vectors, numbers):
    """As components/reranker/src/fusion.rs does it, before the reader has read."""
    weight, share, lenders = numbers["weight"], numbers["share"], numbers["lenders"]
    scores = (1 - weight) * standardised(first) + weight * standardised(second)
    cosines = (vectors @ vectors.T).fill_diagonal_(-1).clamp_min(0)
    near, at = cosines.topk(min(lenders, len(scores) - 1))
    lent = (near.square() * scores[at]).sum(1) / near.square().sum(1).clamp_min(1e-9)
    return (1 - share) * scores + share * lent


def gain(features, numbers):
    """NDCG@10 of one query; `relevant` says which candidates are, and how many there are at all."""
    first, second, vectors, answers, relevant = features
    scores = fused(first, second, vectors, numbers)
    best = scores.argsort(descending=True)[: numbers["read"]]
    said = torch.sigmoid(answers[numbers["says"]][best] / numbers["temperature"])
    scores[best] += numbers["reader"] * said.nan_to_num(0.0)
    here, count = relevant
    discounts = 1 / torch.arange(2, 12).log2()
    ranked = here[scores.argsort(descending=True)[:10]].float()
    return ((ranked * discounts[: len(ranked)]).sum() / discounts[:count].sum()).item()


def features_of(folder, models):
    passages = corpus(folder)
    queries = {row["_id"]: row["text"] for row in found(folder, "queries")}
    right, ranked = {}, {}
    for line in (folder / "qrels/test.tsv").read_text().splitlines()[1:]:
        query, passage, _ = line.split("\t")
        right.setdefault(query, set()).add(passage)
    for line in (folder / "run.trec").read_text().splitlines():
        query, _, passage, _, score, _ = line.split()
        ranked.setdefault(query, []).append((passage, float(score)))
    for number, (query, relevant) in enumerate(right.items()):
        keys, first = zip(*ranked[query][:CANDIDATES])
        texts = ["\n".join(part for part in passages[k] if part) for k in keys]
        second, vectors = models.compared(queries[query], texts)
        answers = {name: torch.full((len(keys),), torch.nan) for name in TRIED["says"]}
        best = fused(torch.tensor(first), second, vectors, NOW).argsort(descending=True)[:READ]
        said = models.answered(queries[query], [texts[i] for i in best])
        for name in answers:
            answers[name][best] = said[name]
        here = torch.tensor([key in relevant for key in keys])
        yield torch.tensor(first), second, vectors, answers, (here, len(relevant))
        if number % 50 == 49:
            print(f"{folder.name}: {number + 1} of {len(right)} queries", flush=True)


def choose(o):
    models = Models(o)
    sets = {f.name: list(features_of(f, models)) for f in o.folders}
    first = NOW | {"weight": 0.0, "share": 0.0, "reader": 0.0}
    print(" " * 22, *sets)

    def gains(numbers):
        return [torch.tensor([gain(f, numbers) for f in of]) for of in sets.values()]

    def mean(numbers):
        return sum(g.mean().item() for g in gains(numbers)) / len(sets)

    def shown(name, numbers):
        figures = " ".join(f"{g.mean().item():.4f}" for g in gains(numbers))
        print(f"{name:22} {figures} mean {mean(numbers):.4f}", flush=True)

    def short(numbers, best):
        """By how much numbers fall short of the best on average, and the standard error of that."""
        lost = [b - g for b, g in zip(gains(best), gains(numbers))]
        spread = sum(x.var().item() / len(x) for x in lost) ** 0.5 / len(sets)
        return sum(x.mean().item() for x in lost) / len(sets), spread

    shown("first stage", first)
    shown("as it is", NOW)
    best = NOW
    # One number after the other, twice over.
    for name, values in [*TRIED.items()] * 2:
        for value in values:
            shown(f"{name} {value}", best | {name: value})
        best = best | {name: max(values, key=lambda value: mean(best | {name: value}))}
        print(best, flush=True)
    # Then back towards the first stage, as far as nothing is lost that one standard error would not
    # explain (Breiman et al. 1984, section 3.4.3): it is what holds in domains that nobody tried.
    plain = best
    for name in CAUTIOUS:
        for value in TRIED[name]:
            lost, error = short(plain | {name: value}, best)
            print(f"{name} {value}: {lost:.4f} less than the best, standard error {error:.4f}")
            if lost <= error:
                plain = plain | {name: value}
                break
    shown("the most cautious", plain)
    print(plain)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    commands = options.add_subparsers(required=True)
    pairs = commands.add_parser("pairs")
    pairs.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    pairs.add_argument("--wheels", type=Path, required=True, help="folder of Django's source archive")
    pairs.add_argument("--out", type=Path, required=True)
    pairs.set_defaults(run=make_pairs)
    chosen = commands.add_parser("choose")
    chosen.add_argument("folders", type=Path, nargs="+", help="each with run.trec")
    chosen.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    chosen.add_argument("--reranker", type=Path, required=True, help="its adapter.safetensors")
    chosen.add_argument("--reader", type=Path, required=True, help="its adapter.safetensors")
    chosen.set_defaults(run=choose)
    o = options.parse_args()
    o.run(o)


if __name__ == "__main__":
    main()
