"""Trains the reranker: late interaction (MaxSim) over token vectors of all-MiniLM-L6-v2.

    python reranker.py --base MODEL_DIR --work WORK_DIR FOLDER... [--mined FILE]

FOLDER is a BEIR folder with `run.trec` beside its corpus. A batch is of one set; each query is
compared with its own passage, with one that the first stage ranks high and that is not relevant, and
with all passages of the other queries (ColBERT, Khattab & Zaharia 2020; in-batch negatives as in
DPR, Karpukhin et al. 2020). FILE is of `mine.py`: its sets are more to learn from, where each query is
compared with passages that the reranker before took for an answer. The score is the one that trine
computes: for each token of the query the largest cosine with any token of the passage, averaged over the
query's tokens.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from encoder import Encoder, blended, padded, write_adapter
from schedule import Run
from texts import Pieces, corpus, found, mined_from

QUERY = 48
PASSAGE = 200
# Hard negatives come from these ranks of the first stage.
RANKS = 24
# Of mined passages so many for each query, of so many.
TOLD, NEAREST = 3, 10


class Pairs:
    """The queries of one set, each with its passages and its hard negatives."""

    def __init__(self, name, passages, queries, hard):
        """`passages` by id: title and text; `queries`: the text, ids of what is relevant and of what is not;
        `hard` is how many of these a query is compared with."""
        self.name, self.passages, self.queries, self.hard = name, passages, queries, hard

    @staticmethod
    def of_folder(folder):
        passages = corpus(folder)
        texts = {row["_id"]: row["text"] for row in found(folder, "queries")}
        relevant, ranked = {}, {}
        for line in (folder / "qrels/test.tsv").read_text().splitlines()[1:]:
            query, passage, grade = line.split("\t")
            if int(grade) > 0:
                relevant.setdefault(query, []).append(passage)
        for line in (folder / "run.trec").read_text().splitlines():
            query, _, passage, *_ = line.split()
            ranked.setdefault(query, []).append(passage)
        queries = [
            (texts[q], right, [p for p in ranked.get(q, [])[:RANKS] if p not in right])
            for q, right in relevant.items()
            if q in texts and all(p in passages for p in right)
        ]
        return Pairs(folder.name, passages, queries, 1)

    @staticmethod
    def of_mined(path):
        """All sets of a file of `mine.py`."""
        texts, rows = mined_from(path)
        passages, sets = {at: ("", text) for at, text in enumerate(texts)}, {}
        for name, query, own, near in rows:
            sets.setdefault(name, []).append((query, [own], near[:NEAREST]))
        return [Pairs(name, passages, queries, TOLD) for name, queries in sets.items()]

    def draw(self, chance, count):
        """Queries, their passages first and then their negatives: ids of the passages. `count` queries, and
        fewer where each has several negatives."""
        picked = chance.sample(self.queries, count if self.hard == 1 else count * 2 // 3)
        right = [chance.choice(q[1]) for q in picked]
        anything = list(self.passages)
        wrong = [chance.sample(q[2] if len(q[2]) >= self.hard else anything, self.hard) for q in picked]
        return picked, right + [of[i] for i in range(self.hard) for of in wrong]


def maxsim(queries, query_lengths, passages, passage_lengths):
    """`[n, lq, h]` and `[m, lp, h]` -> `[n, m]`."""
    n, lq, width = queries.shape
    m, lp, _ = passages.shape
    q = F.normalize(queries.float(), dim=-1).to(queries.dtype)
    p = F.normalize(passages.float(), dim=-1).to(passages.dtype)
    cosines = (q.reshape(-1, width) @ p.reshape(-1, width).T).view(n, lq, m, lp)
    outside = torch.arange(lp)[None] >= passage_lengths[:, None]
    best = cosines.masked_fill(outside[None, None], -2.0).amax(-1).float()
    inside = (torch.arange(lq)[None] < query_lengths[:, None]).float()
    return (best * inside[..., None]).sum(1) / query_lengths[:, None]


class Scale(nn.Module):
    """What cosines are multiplied by before the softmax."""

    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(3.4))


def loss_of(encoder, scale, pieces, pairs, chance, count):
    picked, keys = pairs.draw(chance, count)
    count = len(picked)
    text = lambda key: "\n".join(part for part in pairs.passages[key] if part)
    asked, asked_lengths = padded(pieces.framed([q[0] for q in picked], QUERY))
    read = pieces.framed([text(k) for k in keys], PASSAGE)
    q = encoder(asked, asked_lengths)
    # Two halves by length, so that little is padded.
    order = sorted(range(len(read)), key=lambda i: len(read[i]))
    columns = []
    for half in (order[: len(order) // 2], order[len(order) // 2 :]):
        ids, lengths = padded([read[i] for i in half])
        columns.append(maxsim(q, asked_lengths, encoder(ids, lengths), lengths))
    back = torch.argsort(torch.tensor(order))
    scores = torch.cat(columns, 1)[:, back] * scale.log.exp()
    also = torch.tensor([[k in q[1] for k in keys] for q in picked])
    also[torch.arange(count), torch.arange(count)] = False
    scores = scores.masked_fill(also, -1e4)
    target = torch.arange(count)
    hard = (scores[target, target] > scores[target, target + count]).float().mean().item()
    return F.cross_entropy(scores, target), hard


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folders", type=Path, nargs="+")
    options.add_argument("--mined", type=Path, help="file of mine.py")
    options.add_argument("--begin", type=Path, help="a checkpoint whose weights to begin with")
    options.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    options.add_argument("--work", type=Path, required=True, help="checkpoints and the result")
    options.add_argument("--steps", type=int, default=1000)
    options.add_argument("--batch", type=int, default=24)
    options.add_argument("--rank", type=int, default=64)
    options.add_argument("--blend", type=float, default=0.5, help="share of what was learnt")
    options.add_argument("--rate", type=float, default=3e-4)
    options.add_argument("--seed", type=int, default=1, help="what is drawn, and in which order")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    o = options.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(2)
    o.work.mkdir(parents=True, exist_ok=True)

    pieces = Pieces(o.base)
    sets = [Pairs.of_folder(folder) for folder in o.folders]
    sets += Pairs.of_mined(o.mined) if o.mined else []
    # Large sets more often than small ones, but less than by their size.
    weights = [len(s.queries) ** 0.75 for s in sets]
    for pairs, weight in zip(sets, weights):
        print(f"{pairs.name}: {len(pairs.queries)} queries, {weight / sum(weights):.0%}", flush=True)
    encoder, scale = Encoder(o.base, o.rank), Scale()
    if o.begin:
        for module, state in zip((encoder, scale), torch.load(o.begin, weights_only=True)["modules"]):
            module.load_state_dict(state)
    run = Run(o.work / "reranker.pt", [encoder, scale], o.steps, o.rate, seed=o.seed)
    while run.step < o.steps:
        chance = run.random()
        pairs = chance.choices(sets, weights)[0]
        loss, hard = loss_of(encoder, scale, pieces, pairs, chance, o.batch)
        loss.backward()
        run.learn(loss=loss.item(), hard=hard, scale=scale.log.exp().item())
    blended(encoder, Encoder(o.base, o.rank), o.blend)
    card = {"kind": "late-interaction", "base": "all-MiniLM-L6-v2", "rank": o.rank, "max_tokens": 256}
    write_adapter(o.work / "reranker.safetensors", encoder, {}, card)
    print(f"wrote {o.work / 'reranker.safetensors'}")


if __name__ == "__main__":
    main()
