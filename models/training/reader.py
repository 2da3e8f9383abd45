"""Trains the reader: start, end and no-answer over (question, passage), as in SQuAD 2.0.

    python reader.py --base MODEL_DIR --data QA_DIR --pairs PAIRS_DIR --dump WHEEL_DIR --work WORK_DIR

The base is all-MiniLM-L6-v2 with a low-rank adapter; a linear layer gives each token a start and an
end logit, and the first token ([CLS]) stands for "no answer" (Devlin et al. 2019, section 4.3). With
`--rivals` a reader goes on to learn to rank: the layer's third logit of the first token says how much
rather than other passages this one answers.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from encoder import Encoder, padded, write_adapter
from examples import LIST, WINDOW, Examples, batches
from schedule import Run
from texts import Pieces

# The share of the steps after which written questions are drawn too: first to find, then to doubt.
FIND = 0.3
# What telling answerable questions of a batch from the others weighs beside marking the answers; those
# of the same passage count once more.
ORDER = 0.3
# What reading as before weighs beside ranking.
HOLD = 2.0


def logits(encoder, head, ids, types):
    """Start and end logits, and of a reader that ranks relevance, `[2 or 3, n, length]`, padding at minus
    infinity. A passage's relevance is that of the first token."""
    ids, lengths = padded(ids)
    x = encoder(ids, lengths, padded(types)[0]).float()
    padding = torch.arange(ids.shape[1])[None] >= lengths[:, None]
    return head(x).permute(2, 0, 1).masked_fill(padding, -1e4)


def gradients(encoder, head, ids, types, starts, ends, passages, part):
    """Adds a batch's gradients, `part` examples at a time to save memory; its figures."""
    sums = {"loss": 0.0, "order": 0.0, "exact": 0.0}
    for at in range(0, len(ids), part):
        some = slice(at, at + part)
        start, end = logits(encoder, head, ids[some], types[some])
        marking = sum(
            nn.functional.cross_entropy(scores, at[some], reduction="sum")
            for scores, at in ((start, starts), (end, ends))
        )
        marking = marking / 2 / len(ids)
        order = disorder(odds(start) + odds(end), starts[some] > 0, passages[some])
        order = order * len(start) / len(ids)
        loss = marking + ORDER * order
        loss.backward()
        sums["order"] += order.item()
        right = (start.argmax(-1) == starts[some]) & (end.argmax(-1) == ends[some])
        sums["loss"] += loss.item()
        sums["exact"] += right.float().sum().item() / len(ids)
    return sums


def odds(scores):
    """The logarithm of the odds of all tokens against [CLS], of `[n, length]`: what trine reads."""
    return scores[:, 1:].logsumexp(-1) - scores[:, 0]


def disorder(odds, answerable, passages):
    """How often, softly, an unanswerable question has higher odds than an answerable one, of all and of
    the same passage."""
    pairs = nn.functional.softplus(odds[~answerable][:, None] - odds[answerable][None])
    same = passages[~answerable][:, None] == passages[answerable][None]
    parts = [some.mean() for some in (pairs, pairs[same]) if some.numel()]
    return sum(parts, odds.sum() * 0)


def ranking(encoder, head, ids, types, part):
    """Adds the gradients of telling the first passage of each list from the others (ListNet's top one, Cao
    et al. 2007); its figures."""
    sums = {"rank": 0.0, "first": 0.0}
    for at in range(0, len(ids), part):
        some = slice(at, at + part)
        relevance = logits(encoder, head, ids[some], types[some])[2, :, 0].view(-1, LIST)
        first = torch.zeros(len(relevance), dtype=torch.long)
        loss = nn.functional.cross_entropy(relevance, first, reduction="sum") * LIST / len(ids)
        loss.backward()
        sums["rank"] += loss.item()
        sums["first"] += (relevance.argmax(-1) == 0).float().sum().item() * LIST / len(ids)
    return sums


def holding(encoder, head, held, ids, types, part):
    """Adds the gradients of reading as the reader `held` does (learning without forgetting, Li & Hoiem
    2016); how far it is from that."""
    sums = {"held": 0.0}
    for at in range(0, len(ids), part):
        some = slice(at, at + part)
        with torch.no_grad():
            was = logits(*held, ids[some], types[some])[:2].log_softmax(-1)
        now = logits(encoder, head, ids[some], types[some])[:2].log_softmax(-1)
        loss = nn.functional.kl_div(now, was, reduction="sum", log_target=True) / len(ids)
        (HOLD * loss).backward()
        sums["held"] += loss.item()
    return sums


def new_head(rows):
    head = nn.Linear(384, rows)
    head.weight.data.normal_(0, 0.02)
    head.bias.data.zero_()
    return head


def kept(checkpoint, base, rank):
    """The encoder and the head of a checkpoint."""
    states = torch.load(checkpoint, weights_only=True)["modules"]
    modules = Encoder(base, rank).eval(), new_head(len(states[1]["bias"]))
    for module, state in zip(modules, states):
        module.load_state_dict(state)
    return modules


def write_reader(path, encoder, head, rank):
    card = {"kind": "reader", "base": "all-MiniLM-L6-v2", "rank": rank, "max_tokens": WINDOW}
    head = {"qa_outputs.weight": head.weight, "qa_outputs.bias": head.bias}
    write_adapter(path, encoder, head, card)
    print(f"wrote {path}")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    options.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    options.add_argument("--pairs", type=Path, required=True, help="folders with run.trec")
    options.add_argument("--dump", type=Path, required=True, help="folder of gensim's wheel")
    options.add_argument("--rivals", type=Path, help="folder of rivals.py, with run.trec: learns to rank")
    options.add_argument("--mined", type=Path, help="file of mine.py: passages to tell apart, harder ones")
    options.add_argument("--work", type=Path, required=True, help="checkpoints and the result")
    options.add_argument("--begin", type=Path, help="a checkpoint whose weights to begin with")
    options.add_argument("--hold", type=Path, help="one whose reading to keep, if not that one's")
    options.add_argument("--epochs", type=float, default=3.0)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--part", type=int, default=16, help="examples in memory at once")
    options.add_argument("--rank", type=int, default=64)
    options.add_argument("--dropout", type=float, default=0.1)
    options.add_argument("--rate", type=float, default=8e-4)
    options.add_argument("--seed", type=int, default=1, help="what is drawn, and in which order")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    o = options.parse_args()
    if o.rivals and not o.begin:
        options.error("--rivals goes on from a reader: give --begin as well")
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    o.work.mkdir(parents=True, exist_ok=True)

    encoder = Encoder(o.base, o.rank, dropout=o.dropout)
    examples = Examples(o.data, o.pairs, o.dump, o.rivals, o.mined, Pieces(o.base), encoder.word)
    head = new_head(3 if o.rivals else 2)
    if o.begin:
        begun = kept(o.begin, o.base, o.rank)
        rows = len(begun[1].bias)
        encoder.load_state_dict(begun[0].state_dict())
        with torch.no_grad():
            head.weight[:rows], head.bias[:rows] = begun[1].weight, begun[1].bias
        held = kept(o.hold, o.base, o.rank) if o.hold else begun
    ranked = o.batch * 3 // 4 if o.rivals else 0
    read = o.batch - ranked
    # Lengths are sorted within a few batches, so that little is padded.
    pool = 16 * read
    steps = int(len(examples.questions) * o.epochs) // o.batch
    run = Run(o.work / "reader.pt", [encoder, head], steps, o.rate, seed=o.seed)
    print(f"{len(examples.questions)} questions, {steps} steps of {o.batch}", flush=True)
    waiting, drawn = [], -1
    while run.step < steps:
        if not waiting or drawn != run.step // 16:
            drawn = run.step // 16
            doubting = o.begin or drawn * 16 >= FIND * steps
            waiting = batches(examples, drawn, pool, read, doubting)
        batch, chance = waiting[run.step % 16], run.random()
        ids, types, *marked = examples.encode(batch, chance)
        if not o.rivals:
            run.learn(**gradients(encoder, head, ids, types, *marked, part=o.part))
            continue
        figures = holding(encoder, head, held, ids, types, o.part)
        ids, types, *_ = examples.encode(examples.lists(chance, ranked // LIST), chance)
        run.learn(**figures, **ranking(encoder, head, ids, types, o.part))
    write_reader(o.work / "reader.safetensors", encoder, head, o.rank)


if __name__ == "__main__":
    main()
