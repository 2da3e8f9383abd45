"""Fits how strong an answer's evidence is: a logistic function of the reader's odds, the reranker's score,
and the odds of a second reading, of the sentence of the best span and the two beside it.

    python evidence.py --data QA_DIR --dump WHEEL_DIR --base MODEL_DIR --reranker FILE --reader FILE HELD_OUT

By the written questions of the passages that are held out of the training (`written.py`): those that
their passage answers, against those that it does not and against passages that `HELD_OUT/run.trec`
(of `fusion.py pairs`) ranks first for a question they do not answer. Half of either kind of each side.
The result is `CALIBRATION` in `host/node/src/build.rs`.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

import written
from fusion import Models
from texts import beside, corpus, found

TRIED = (("odds", [0]), ("odds and score", [0, 1]), ("odds and odds again", [0, 2]))
TRIED += (("all", [0, 1, 2]),)


def answerable_and_not(data, dump, folder):
    """(question, passage, kind): answered, unanswerable, or near."""
    texts = written.passages(data, dump)
    for row in written.held_out():
        yield row["question"], texts[row["passage"]], "answered" if row["answer"] else "unanswerable"
    passages = corpus(folder)
    asked = {row["_id"]: row["text"] for row in found(folder, "queries")}
    right = dict(l.split("\t")[:2] for l in (folder / "qrels/test.tsv").read_text().splitlines()[1:])
    for line in (folder / "run.trec").read_text().splitlines():
        query, _, passage, rank, *_ = line.split()
        if query in right and int(rank) <= 3 and passage != right[query]:
            yield asked[query], " ".join(passages[passage][1].split()), "near"


def features(models, questions):
    """The odds that anything answers, the score by late interaction, and the odds again: `[n, 3]`."""
    rows = []
    for number, (question, passage, _) in enumerate(questions):
        said = models.answered(question, [passage])
        begin = said["begin"].item()
        low, high = beside(passage, begin, begin + 1)
        closely = models.answered(question, [passage[low:high]])["odds"][0]
        score = models.compared(question, [passage])[0][0]
        rows.append(torch.stack([said["odds"][0], score, closely]))
        if number % 200 == 199:
            print(f"{number + 1} of {len(questions)}", flush=True)
    return torch.stack(rows)


def fitted(x, right, weight):
    """Bias and weights of a logistic regression."""
    model = nn.Linear(x.shape[1], 1)
    shift, scale = x.mean(0), x.std(0)
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=200)

    def loss():
        optimiser.zero_grad()
        logits = model((x - shift) / scale)[:, 0]
        value = nn.functional.binary_cross_entropy_with_logits(logits, right, weight)
        value.backward()
        return value

    optimiser.step(loss)
    weights = (model.weight[0] / scale).detach()
    return (model.bias[0] - weights @ shift).item(), weights.tolist()


def auroc(scores, right):
    """How often an answerable question has the higher score."""
    better = scores[right][:, None] - scores[~right][None]
    return ((better > 0).float() + 0.5 * (better == 0).float()).mean().item()


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, help="held_out, with run.trec")
    options.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    options.add_argument("--dump", type=Path, required=True, help="folder of gensim's wheel")
    options.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    options.add_argument("--reranker", type=Path, required=True, help="its adapter.safetensors")
    options.add_argument("--reader", type=Path, required=True, help="its adapter.safetensors")
    o = options.parse_args()
    questions = list(answerable_and_not(o.data, o.dump, o.folder))
    kinds = [kind for _, _, kind in questions]
    share = {"answered": 0.5, "unanswerable": 0.25, "near": 0.25}
    weight = torch.tensor([share[kind] / kinds.count(kind) for kind in kinds]) * len(kinds)
    with torch.no_grad():
        x = features(Models(o), questions)
    right = torch.tensor([float(kind == "answered") for kind in kinds])
    for kind in share:
        of = x[[k == kind for k in kinds]]
        print(f"{kind}: {len(of)}, odds {of[:, 0].mean():.2f}, score {of[:, 1].mean():.3f}")
    for name, columns in TRIED:
        bias, weights = fitted(x[:, columns], right, weight)
        scores = x[:, columns] @ torch.tensor(weights) + bias
        print(f"{name}: bias {bias:.2f}, weights", *(f"{w:.2f}" for w in weights))
        for kind in ("unanswerable", "near"):
            some = torch.tensor([k in ("answered", kind) for k in kinds])
            print(f"  AUROC of {kind}: {auroc(scores[some], right[some] > 0):.3f}")


if __name__ == "__main__":
    main()
