"""Chooses how the reranker's scores are fused with the first stage's, on collections that nothing is
judged by.

    python fusion.py pairs --data QA_DIR --wheels DJANGO_DIR --dump WHEEL_DIR --out FOLDER
    trine eval FOLDER/... --stage hybrid --run FOLDER/.../run.trec
    python fusion.py choose --base MODEL_DIR --reranker FILE --reader FILE FOLDER...

The collections: written questions of passages that are held out of the reader's training, of
SQuADShifts and of Wikipedia (`written.py`), and `needs.jsonl`: what a developer would type to find
functions and sections of the manual in Django's source archive, and what a librarian would ask of
PubMedQA's abstracts, 60 each, written and judged (the best 14 of the first stage and of the reranker) by
a language model.

The reranker is trained on functions, sections, those abstracts and questions of Wikipedia's paragraphs.
Chosen with it, its weight would be what suits where it was trained. So `--reranker` is a proxy, trained in
the same way without them, and `functions`, `manual`, `abstracts` and `wikipedia` are to it what a user's
documents are to the one that is shipped.

What is chosen: the reranker's weight, the share that similar passages lend and how many do, the reader's
weight, from what margin on it says that a passage answers, how sharply, and how sharply it and the reranker
tell which (`host/node/src/build.rs`, `components/reranker`). Of the reranker's weights the first that is "as good" is
taken; many numbers of the reader are, and the models' card says why these.
"""

import argparse
import itertools
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
from reranker import maxsim
from texts import CLS, SEP, Pieces, corpus, evaluated, found, rows
from wikipedia import paragraphs

NEEDS = Path(__file__).with_name("needs.jsonl")
# Of so many candidates so many are read. Here more are, by numbers in the middle of those tried, so that
# what others would have read has been read.
CANDIDATES, READ, MORE = 50, 16, 8
# Tokens of a query or a passage that the reranker compares, as its card says.
COMPARED = 256
MIDDLING = {"weight": 0.4, "share": 0.3, "lenders": 5}
LONGEST = 40
# A heading of the manual and what it is underlined with.
HEADING = re.compile(r"^(?!\.\.)(\S.*)\n([=\-~^\"'])\2{2,}\n", re.M)
# How many times the first stage's deviation the reranker's scores deviate in general, and by how much
# more or less than usual a list may count.
SPREAD, MOST = 0.5, 2.0
# Written questions of Wikipedia.
ASKED = 400
NOW = {"weight": 0.4, "share": 0.3, "lenders": 8}
NOW |= {"reader": 4.0, "threshold": 0.0, "temperature": 2.0, "sharpness": 25.0}
TRIED = {
    "weight": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "share": (0.0, 0.1, 0.2, 0.3, 0.4),
    "lenders": (3, 5, 8),
    "reader": (0.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0),
    "threshold": (0.0, 1.0),
    "temperature": (1.0, 2.0),
    "sharpness": (0.0, 10.0, 15.0, 20.0, 25.0, 30.0),
}
# The first three say which passages are read, the others `[n, 4]` what is made of what the reader says.
RANKING = list(itertools.product(*list(TRIED.values())[:3]))
READING = torch.tensor(list(itertools.product(*list(TRIED.values())[3:])))
DISCOUNTS = 1 / torch.arange(2, 12).log2()


def make_pairs(o):
    judged = evaluated(o.data)
    own = {key: ("", text) for key, text in paragraphs(o.dump) if not written.shared(text, judged)}
    held_out = [(q["question"], [q["passage"]]) for q in written.held_out() if q["answer"] is not None]
    asked = lambda texts: [(question, at) for question, at in held_out if at[0] in texts]
    collection(o.out / "wikipedia", own, random.Random(4).sample(asked(own), ASKED))
    texts = corpus(o.data / "squadshifts_new_wiki_train")
    collection(o.out / "held_out", texts, asked(texts))
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
        self.head = nn.Linear(384, 3)
        with torch.no_grad():
            self.head.weight.copy_(tensors["qa_outputs.weight"])
            self.head.bias.copy_(tensors["qa_outputs.bias"])

    @torch.no_grad()
    def compared(self, query, texts):
        """The reranker's scores `[n]` and the passages' vectors `[n, 384]`."""
        asked, asked_lengths = padded(self.pieces.framed([query], COMPARED))
        ids, lengths = padded(self.pieces.framed(texts, COMPARED))
        x = self.reranker(ids, lengths)
        scores = maxsim(self.reranker(asked, asked_lengths), asked_lengths, x, lengths)[0]
        inside = (torch.arange(ids.shape[1])[None] < lengths[:, None]).float()[..., None]
        return scores, F.normalize((x.float() * inside).sum(1), dim=-1)

    @torch.no_grad()
    def answered(self, query, texts):
        """Of each text the best span's margin over no answer, the odds of any, its relevance, and the
        character that the span begins at: `[n]` each."""
        (q, _), *read = self.pieces([query, *texts])
        places, read, q = [at for _, at in read], [ids for ids, _ in read], q[:64]
        read = [p[: WINDOW - len(q) - 3] for p in read]
        types = [[0] * (len(q) + 2) + [1] * (len(p) + 1) for p in read]
        framed = [[CLS, *q, SEP, *p, SEP] for p in read]
        start, end, relevance = logits(self.reader, self.head, framed, types)
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
        return said | {"relevance": relevance[:, 0], "begin": torch.tensor(begins)}


def standardised(x):
    return (x - x.mean()) / x.std(correction=0).clamp_min(1e-6)


def ranked(first, second, vectors, weight, share, lenders):
    """As components/reranker/src/fusion.rs does it: what the reader reads the best of."""
    clearer = (second.std() / first.std().clamp_min(1e-6) / SPREAD).clamp(1 / MOST, MOST)
    weight = weight * clearer / (weight * clearer + 1 - weight)
    scores = (1 - weight) * standardised(first) + weight * standardised(second)
    cosines = (vectors @ vectors.T).fill_diagonal_(-1).clamp_min(0)
    near, at = cosines.topk(min(lenders, len(scores) - 1))
    lent = (near.square() * scores[at]).sum(1) / near.square().sum(1).clamp_min(1e-9)
    return (1 - share) * scores + share * lent


def answering(margins, relevance, compared, reader, threshold, temperature, sharpness):
    """As components/reranker/src/reading.rs does it: the probability that any of the passages answers, given
    to each by how relevant it is and how the reranker compares it, weighted. `[n]` of `[n]` each, or `[m, n]`
    where the numbers are `[m, 1]`."""
    found_any = torch.sigmoid((margins.max() - threshold) / temperature)
    return reader * found_any * (relevance + sharpness * compared).softmax(-1)


def gains(features, weight, share, lenders, reading=READING):
    """NDCG@10 of one query for each row of `reading`."""
    first, second, vectors, (margins, relevance), (relevant, count) = features
    scores = ranked(first, second, vectors, weight, share, lenders)
    best = scores.argsort(descending=True)[:READ]
    scores = scores.repeat(len(reading), 1)
    said = margins[best], relevance[best], second[best]
    scores[:, best] += answering(*said, *reading.T[:, :, None])
    found_at = relevant[scores.argsort(1, descending=True)[:, :10]].float()
    return found_at @ DISCOUNTS[: found_at.shape[1]] / DISCOUNTS[:count].sum()


def features_of(folder, models):
    """Of each query its candidates' scores, vectors, what the reader says, and which are relevant, of how
    many."""
    passages = corpus(folder)
    queries = {row["_id"]: row["text"] for row in found(folder, "queries")}
    right, candidates = {}, {}
    for line in (folder / "qrels/test.tsv").read_text().splitlines()[1:]:
        query, passage, _ = line.split("\t")
        right.setdefault(query, set()).add(passage)
    for line in (folder / "run.trec").read_text().splitlines():
        query, _, passage, _, score, _ = line.split()
        candidates.setdefault(query, []).append((passage, float(score)))
    for number, (query, relevant) in enumerate(right.items()):
        keys, first = zip(*candidates[query][:CANDIDATES])
        texts = ["\n".join(part for part in passages[k] if part) for k in keys]
        first, (second, vectors) = torch.tensor(first), models.compared(queries[query], texts)
        best = ranked(first, second, vectors, **MIDDLING).argsort(descending=True)[: READ + MORE]
        said = models.answered(queries[query], [texts[i] for i in best])
        # What is not read answers nothing.
        read = torch.full((2, len(keys)), -1e4)
        read[:, best] = torch.stack([said["margin"], said["relevance"]])
        here = torch.tensor([key in relevant for key in keys])
        yield first, second, vectors, read, (here, len(relevant))
        if number % 50 == 49:
            print(f"{folder.name}: {number + 1} of {len(right)} queries", flush=True)


def short(best, figures):
    """By how much NDCG@10 falls short of the best, and the standard error of that."""
    lost = [b - g for b, g in zip(best, figures)]
    error = sum(x.var() / len(x) for x in lost).sqrt() / len(lost)
    return sum(x.mean() for x in lost) / len(lost), error


def choose(o):
    models = Models(o)
    sets = {f.name: list(features_of(f, models)) for f in o.folders}
    deviations = [torch.stack([f[1].std() / f[0].std() for f in of]).mean() for of in sets.values()]
    print(" " * 8, *sets)
    print("deviations", *(f"{d:.3f}" for d in deviations), f"mean {sum(deviations) / len(deviations):.3f}")

    def shown(name, figures):
        means = [g.mean().item() for g in figures]
        print(name, *(f"{m:.4f}" for m in means), f"mean {sum(means) / len(means):.4f}", flush=True)

    of_sets = lambda *numbers: [torch.stack([gains(f, *numbers) for f in of]) for of in sets.values()]
    shown("first stage", of_sets(0.0, 0.0, 1, torch.tensor([[0.0, 0.0, 1.0, 0.0]])))
    now = [*NOW.values()]
    as_it_is = of_sets(*now[:3], torch.tensor([now[3:]]))
    shown("as it is", as_it_is)
    tried = {ranking: of_sets(*ranking) for ranking in RANKING}
    means = {ranking: sum(g.mean(0) for g in figures) for ranking, figures in tried.items()}

    def top(rankings):
        """The best of `rankings`, what is read of them, and its figures of each collection."""
        ranking = max(rankings, key=lambda r: means[r].max())
        at = means[ranking].argmax()
        figures = [g[:, at, None] for g in tried[ranking]]
        shown(dict(zip(TRIED, [*ranking, *(round(x, 1) for x in READING[at].tolist())])), figures)
        return figures

    best = top(RANKING)

    def beside_best(name, figures):
        lost, error = short(best, figures)
        note = "as good" if lost <= error else "worse"
        print(f"{name}: {lost:.4f} less, standard error {error:.4f}: {note}")

    beside_best("as it is", as_it_is)
    # The first of these has the least weight that loses nothing that one standard error would not
    # explain (Breiman et al. 1984, section 3.4.3).
    for weight in TRIED["weight"]:
        beside_best(f"weight {weight}", top([r for r in RANKING if r[0] == weight]))


def main():
    options = argparse.ArgumentParser(description=__doc__)
    commands = options.add_subparsers(required=True)
    pairs = commands.add_parser("pairs")
    pairs.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    pairs.add_argument("--wheels", type=Path, required=True, help="folder of Django's source archive")
    pairs.add_argument("--dump", type=Path, required=True, help="folder of gensim's wheel")
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
