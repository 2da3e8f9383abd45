"""Trains the reader: start, end and no-answer over (question, passage), as in SQuAD 2.0.

    python reader.py --base MODEL_DIR --data QA_DIR --work WORK_DIR

The base is all-MiniLM-L6-v2 with a low-rank adapter; a linear layer gives each token a start and an
end logit, and the first token ([CLS]) stands for "no answer" (Devlin et al. 2019, section 4.3).
"""

import argparse
from collections import Counter
from pathlib import Path
from random import Random

import torch
from torch import nn

import unanswerable
from encoder import Encoder, padded, write_adapter
from schedule import Run
from texts import CLS, SEP, TRAINED_ON, Pieces, corpus, found

WINDOW = 320
QUESTION = 48


class Examples:
    """Questions with their passages; each call makes one example, now answerable, now not."""

    def __init__(self, data, pieces):
        self.pieces, self.questions, self.passages, self.near = pieces, [], {}, {}
        for name in TRAINED_ON:
            texts = {(name, key): value for key, value in corpus(data / name).items()}
            self.passages |= texts
            keys = list(texts)
            for at, key in enumerate(keys):
                # Passages of one article lie beside each other.
                self.near[key] = keys[max(0, at - 4) : at] + keys[at + 1 : at + 5]
            for row in found(data / name, "qa"):
                if row["answers"]:
                    self.questions.append((row["question"], (name, row["passage_id"]), row))

    def draw(self, index, chance):
        """(question, passage, start, end); start is None when the passage does not answer."""
        question, key, row = self.questions[index]
        text = self.passages[key][1]
        votes = Counter(row.get("votes") or [a["text"] for a in row["answers"]])
        answers = [a for a in row["answers"] for _ in range(votes[a["text"]] or 1)]
        answer = chance.choice(answers)
        start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
        if (roll := chance.random()) < 0.62:
            return question, text, start, end
        others = [self.passages[k][1] for k in self.near[key]]
        if roll < 0.70:
            low = min(a["answer_start"] for a in row["answers"])
            high = max(a["answer_start"] + len(a["text"]) for a in row["answers"])
            if rest := unanswerable.without_answer(text, low, high):
                return question, rest, None, None
        if roll < 0.76:
            return question, chance.choice(others), None, None
        spoilt = unanswerable.spoil(question, text, others, chance)
        return (spoilt, text, None, None) if spoilt else (question, text, start, end)

    def encode(self, batch, chance):
        """Ids, segments, and the start and end token, 0 where there is no answer."""
        asked = self.pieces([b[0] for b in batch])
        read = self.pieces([b[1] for b in batch])
        ids, types, starts, ends = [], [], [], []
        for (_, _, start, end), (q, _), (p, places) in zip(batch, asked, read):
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
            shift = len(q) + 2 - skip
            starts.append(0 if first is None else first + shift)
            ends.append(0 if first is None else min(last + shift, len(ids[-1]) - 2))
        return ids, types, torch.tensor(starts), torch.tensor(ends)


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
        entropy = lambda x, y: nn.functional.cross_entropy(x, y, reduction="sum")
        loss = (entropy(start, starts[some]) + entropy(end, ends[some])) / 2 / len(ids)
        loss.backward()
        right = (start.argmax(-1) == starts[some]) & (end.argmax(-1) == ends[some])
        sums["loss"] += loss.item()
        sums["exact"] += right.float().sum().item() / len(ids)
    return sums


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    options.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    options.add_argument("--work", type=Path, required=True, help="checkpoints and the result")
    options.add_argument("--epochs", type=float, default=1.63)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--part", type=int, default=16, help="examples in memory at once")
    options.add_argument("--rank", type=int, default=64)
    options.add_argument("--rate", type=float, default=8e-4)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    o = options.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    o.work.mkdir(parents=True, exist_ok=True)

    examples = Examples(o.data, Pieces(o.base))
    encoder = Encoder(o.base, o.rank)
    head = nn.Linear(384, 2)
    head.weight.data.normal_(0, 0.02)
    head.bias.data.zero_()
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
