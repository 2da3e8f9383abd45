"""Trains the reader: start, end and no-answer over (question, passage), as in SQuAD 2.0.

    python reader.py --base MODEL_DIR --data QA_DIR --pairs PAIRS_DIR --work WORK_DIR

The base is all-MiniLM-L6-v2 with a low-rank adapter; a linear layer gives each token a start and an
end logit, and the first token ([CLS]) stands for "no answer" (Devlin et al. 2019, section 4.3).
"""

import argparse
from collections import Counter
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from torch import nn

import unanswerable
from encoder import Encoder, padded, write_adapter
from schedule import Run
from texts import CLS, SEP, TRAINED_ON, Pieces, corpus, evaluated, found, rows, squeezed

WINDOW = 320
QUESTION = 48


class Question(NamedTuple):
    """A question, its passage, and where in the passage answers lie."""

    text: str
    passage: str
    # Of each answer its first and last character's end, as often as annotators gave it; or the one
    # sentence that holds the answer, where nobody said which words.
    answers: list
    exact: bool
    # Passages that are near or rank high, and do not hold the answer.
    near: list


class Examples:
    """Questions with their passages; each call makes one example, now answerable, now not."""

    def __init__(self, data, pairs, pieces, table):
        self.pieces, self.changes = pieces, unanswerable.Changes(pieces, table)
        self.questions = [q for name in TRAINED_ON for q in marked(data, pairs, name)]
        self.questions += sentences(data)

    def draw(self, index, chance):
        """(question, passage, start, end, exact); start is None when the passage does not answer."""
        q = self.questions[index]
        roll = chance.random()
        if roll < 0.3:
            return answered(q, q.text, q.passage, q.answers, chance)
        if roll < 0.42 and q.near:
            return q.text, chance.choice(q.near), None, None, True
        if roll < 0.46:
            low, high = min(a for a, _ in q.answers), max(b for _, b in q.answers)
            if rest := unanswerable.without_answer(q.passage, low, high):
                return q.text, rest, None, None, True
        if roll < 0.54:
            if twisted := unanswerable.twisted(q.text, q.passage, chance):
                return twisted, q.passage, None, None, True
        return self.changed(q, chance) or answered(q, q.text, q.passage, q.answers, chance)

    def changed(self, q, chance):
        """The question, the passage or both with something exchanged; None when nothing could be."""
        if chance.random() < 0.15:
            old_new = self.changes.elsewhere(q.text, q.passage, chance)
            passage = old_new and around(q, old_new)
            return answered(q, q.text, *passage, chance) if passage else None
        old_new = self.changes.exchange(q.text, q.passage, q.near or [q.passage], chance)
        question = old_new and unanswerable.exchanged(q.text, *old_new)
        if not question:
            return None
        passage = around(q, old_new)
        if not passage or (roll := chance.random()) < 0.35:
            return question, q.passage, None, None, True
        if roll < 0.65:
            return q.text, passage[0], None, None, True
        return answered(q, question, *passage, chance)

    def encode(self, batch, chance):
        """Ids, segments, and which tokens may start and end the answer: [CLS] where there is none."""
        asked = self.pieces([b[0] for b in batch])
        read = self.pieces([b[1] for b in batch])
        ids, types, starts, ends = [], [], [], []
        for (_, _, start, end, exact), (q, _), (p, places) in zip(batch, asked, read):
            q = q[:QUESTION]
            room = WINDOW - len(q) - 3
            first, last = token_span(places, start, end)
            skip = 0
            if len(p) > room:
                highest = len(p) - room
                low = 0 if first is None else min(highest, max(0, last - room + 1))
                high = highest if first is None else min(highest, first)
                skip = chance.randint(low, max(low, high))
            ids.append([CLS, *q, SEP, *p[skip : skip + room], SEP])
            types.append([0] * (len(q) + 2) + [1] * (len(ids[-1]) - len(q) - 2))
            shift, final = len(q) + 2 - skip, len(ids[-1]) - 2
            first, last = (0, 0) if first is None else (first + shift, min(last + shift, final))
            starts.append((first, first if exact else last))
            ends.append((last if exact else first, last))
        return ids, types, torch.tensor(starts), torch.tensor(ends)


def around(q, old_new):
    return unanswerable.exchanged_around(q.passage, q.answers, *old_new, inside=not q.exact)


def answered(q, text, passage, answers, chance):
    start, end = chance.choice(answers)
    return text, passage, start, end, q.exact


def marked(data, pairs, name):
    """The questions of a SQuADShifts set: annotators marked their answers."""
    passages = {key: text for key, (_, text) in corpus(data / name).items()}
    keys = list(passages)
    at = {key: i for i, key in enumerate(keys)}
    ranked = {}
    for line in (pairs / name.removesuffix("_train") / "run.trec").read_text().splitlines():
        query, _, passage, rank, *_ = line.split()
        if int(rank) <= 12:
            ranked.setdefault(query, []).append(passage)
    for row in found(data / name, "qa"):
        if not row["answers"]:
            continue
        own = row["passage_id"]
        votes = Counter(row.get("votes") or [a["text"] for a in row["answers"]])
        answers = [
            (a["answer_start"], a["answer_start"] + len(a["text"]))
            for a in row["answers"]
            for _ in range(votes[a["text"]] or 1)
        ]
        # Passages of one article lie beside each other.
        others = keys[max(0, at[own] - 2) : at[own] + 3] + ranked.get(row["_id"], [])
        held = [a["text"].lower() for a in row["answers"]]
        near = [passages[k] for k in dict.fromkeys(others) if k != own]
        near = [text for text in near if not any(h in text.lower() for h in held)]
        yield Question(row["question"], passages[own], answers, True, near)


def sentences(data):
    """The questions of squad_qg_pairs: the sentence that answers is known, and its neighbours are, for
    sentences come in the order of their articles."""
    judged = evaluated(data)
    given = rows(data / "squad_qg_pairs/nqg_test.jsonl.gz")
    pairs = [(unspaced(row["question"]), unspaced(row["sentence"])) for row in given]
    pairs = [(q, s) for q, s in pairs if squeezed(s) not in judged]
    order = list(dict.fromkeys(s for _, s in pairs))
    at = {s: i for i, s in enumerate(order)}
    out = []
    for number, (question, sentence) in enumerate(pairs):
        chance, here = Random(number), at[sentence]
        before, after = chance.randint(0, 3), chance.randint(1, 3)
        first = max(0, here - before)
        texts = order[first : here + 1 + after]
        start = sum(len(t) + 1 for t in order[first:here])
        # What stands before and after it.
        last = here + after
        places = (first - 5, first - 11, last + 1, last + 7)
        near = [" ".join(order[max(0, i) : max(0, i + 5)]) for i in places]
        span = (start, start + len(sentence))
        out.append(Question(question, " ".join(texts), [span], False, [t for t in near if t]))
    return out


MARKS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "``": '"', "''": '"'}


def unspaced(text):
    """What the Penn Treebank's tokens were before: brackets and quotes (the base's tokenizer parts
    punctuation anyway)."""
    for token, mark in MARKS.items():
        text = text.replace(token, mark)
    return text


def token_span(places, start, end):
    """The first and last token that touch the characters `start..end`."""
    if start is None:
        return None, None
    touched = [i for i, (a, b) in enumerate(places) if a < end and b > start]
    return (touched[0], touched[-1]) if touched else (None, None)


def logits(encoder, head, ids, types):
    """Start and end logits `[2, n, length]`, padding at minus infinity."""
    ids, lengths = padded(ids)
    x = encoder(ids, lengths, padded(types)[0]).float()
    padding = torch.arange(ids.shape[1])[None] >= lengths[:, None]
    return head(x).permute(2, 0, 1).masked_fill(padding, -1e4)


def gradients(encoder, head, ids, types, starts, ends, part):
    """Adds a batch's gradients, `part` examples at a time to save memory; its figures."""
    sums = {"loss": 0.0, "exact": 0.0}
    for at in range(0, len(ids), part):
        some = slice(at, at + part)
        start, end = logits(encoder, head, ids[some], types[some])
        loss = (surprise(start, starts[some]) + surprise(end, ends[some])) / 2 / len(ids)
        loss.backward()
        right = within(start.argmax(-1), starts[some]) & within(end.argmax(-1), ends[some])
        sums["loss"] += loss.item()
        sums["exact"] += right.float().sum().item() / len(ids)
    return sums


def within(at, span):
    return (at >= span[:, 0]) & (at <= span[:, 1])


def surprise(scores, span):
    """-log of the probability `[n, length]` that falls into `span`, summed: the cross-entropy where it
    is one token, and its marginal where any of several is right (Clark & Gardner 2018)."""
    at = torch.arange(scores.shape[1])[None]
    inside = (at >= span[:, :1]) & (at <= span[:, 1:])
    right = scores.masked_fill(~inside, -1e4).logsumexp(-1)
    return (scores.logsumexp(-1) - right).sum()


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    options.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    options.add_argument("--pairs", type=Path, required=True, help="folders with run.trec")
    options.add_argument("--work", type=Path, required=True, help="checkpoints and the result")
    options.add_argument("--begin", type=Path, help="a checkpoint whose weights to begin with")
    options.add_argument("--epochs", type=float, default=2.0)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--part", type=int, default=16, help="examples in memory at once")
    options.add_argument("--rank", type=int, default=64)
    options.add_argument("--rate", type=float, default=8e-4)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    o = options.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    o.work.mkdir(parents=True, exist_ok=True)

    encoder = Encoder(o.base, o.rank)
    examples = Examples(o.data, o.pairs, Pieces(o.base), encoder.word)
    head = nn.Linear(384, 2)
    head.weight.data.normal_(0, 0.02)
    head.bias.data.zero_()
    if o.begin:
        kept = torch.load(o.begin, weights_only=True)["modules"]
        for module, state in zip([encoder, head], kept):
            module.load_state_dict(state)
    # Lengths are sorted within a few batches, so that little is padded.
    pool = 16 * o.batch
    steps = int(len(examples.questions) * o.epochs) // o.batch
    run = Run(o.work / "reader.pt", [encoder, head], steps, o.rate)
    print(f"{len(examples.questions)} questions, {steps} steps of {o.batch}", flush=True)
    waiting, drawn = [], -1
    while run.step < steps:
        if not waiting or drawn != run.step // 16:
            drawn = run.step // 16
            waiting = batches(examples, drawn, pool, o.batch)
        batch, chance = waiting[run.step % 16], run.random()
        run.learn(**gradients(encoder, head, *examples.encode(batch, chance), part=o.part))
    card = {"kind": "reader", "base": "all-MiniLM-L6-v2", "rank": o.rank, "max_tokens": WINDOW}
    head = {"qa_outputs.weight": head.weight, "qa_outputs.bias": head.bias}
    write_adapter(o.work / "reader.safetensors", encoder, head, card)
    print(f"wrote {o.work / 'reader.safetensors'}")


def batches(examples, number, pool, batch):
    """The 16 batches of draw `number`, the same however often it is made."""
    count = len(examples.questions)
    picked = []
    for at in range(number * pool, (number + 1) * pool):
        order = epoch_order(count, at // count)
        chance = Random(at * 7919 + 3)
        picked.append(examples.draw(order[at % count], chance))
    picked.sort(key=lambda e: len(e[0]) + len(e[1]))
    parts = [picked[i : i + batch] for i in range(0, pool, batch)]
    Random(number).shuffle(parts)
    return parts


ORDERS = {}


def epoch_order(count, epoch):
    if epoch not in ORDERS:
        ORDERS.clear()
        order = list(range(count))
        Random(epoch).shuffle(order)
        ORDERS[epoch] = order
    return ORDERS[epoch]


if __name__ == "__main__":
    main()
