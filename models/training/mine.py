"""Passages that look like an answer: of each question whose answer is marked, those of its set that the
reranker ranks high and that do not hold an answer. Both models go on to learn from them.

    python mine.py --base MODEL_DIR --reranker FILE --data QA_DIR --pairs PAIRS_DIR [--rivals FOLDER] --out FILE

What is merely near is soon told from what answers; what the model before takes for an answer teaches more
(hard negatives of a current model, ANCE, Xiong et al. 2021). FILE has the passages, a JSON list, in its
first line, and in each other line the name of a set, a question, the number of its passage and the numbers
of those to tell it from.
"""

import argparse
import json
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from encoder import padded
from examples import marked, of_stretches, ranked_beside
from fusion import adapted
from reranker import PASSAGE, QUERY, maxsim
from texts import TRAINED_ON, Pieces

# So many passages by their mean vectors are compared token by token, and so many of them kept.
COMPARED, KEPT = 40, 12


class Tokens:
    """Texts as token vectors."""

    def __init__(self, encoder, pieces):
        self.encoder, self.pieces = encoder, pieces

    @torch.no_grad()
    def __call__(self, texts, most, batch=32):
        """Of each text its token vectors `[length, 384]`, and their means `[n, 384]`, of length 1."""
        vectors = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for some in (order[i : i + batch] for i in range(0, len(order), batch)):
            ids, lengths = padded(self.pieces.framed([texts[i] for i in some], most))
            for i, row, length in zip(some, self.encoder(ids, lengths), lengths):
                vectors[i] = row[:length].clone()
        means = torch.stack([F.normalize(v.float(), dim=-1).mean(0) for v in vectors])
        return vectors, F.normalize(means, dim=-1)


def mined(questions, tokens):
    """Of each question the numbers of its passage and of those to tell it from, and all passages."""
    texts = list(dict.fromkeys(text for q in questions for text in (q.passage, *q.near)))
    at, lower = {text: i for i, text in enumerate(texts)}, [text.lower() for text in texts]
    passages, means = tokens(texts, PASSAGE)
    asked, wanted = tokens([q.text for q in questions], QUERY)
    found = []
    for q, vectors, like in zip(questions, asked, wanted):
        held = {q.passage[low:high].lower() for low, high in q.answers}
        near = (means @ like).topk(min(COMPARED, len(texts))).indices.tolist()
        near = dict.fromkeys(near + [at[text] for text in q.near])
        near = [i for i in near if i != at[q.passage] and not any(h in lower[i] for h in held)]
        if near:
            read = [passages[i] for i in near]
            lengths = torch.tensor([len(vectors), *map(len, read)])
            scores = maxsim(vectors[None], lengths[:1], pad_sequence(read, batch_first=True), lengths[1:])
            best = scores[0].topk(min(KEPT, len(near))).indices.tolist()
            found.append((q.text, at[q.passage], [near[i] for i in best]))
    return found, texts


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    options.add_argument("--reranker", type=Path, required=True, help="its adapter.safetensors")
    options.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    options.add_argument("--pairs", type=Path, required=True, help="folders with run.trec")
    options.add_argument("--rivals", type=Path, help="folder of rivals.py, with run.trec")
    options.add_argument("--out", type=Path, required=True)
    o = options.parse_args()
    encoder, _ = adapted(o.base, o.reranker)
    tokens = Tokens(encoder.eval(), Pieces(o.base))
    sets = {name: marked(o.data, o.pairs, name) for name in TRAINED_ON}
    sets["stretches"] = of_stretches(o.data)
    if o.rivals:
        sets["wikipedia"] = ranked_beside(o.rivals)
    passages, lines = [], []
    for name, questions in sets.items():
        found, texts = mined(list(questions), tokens)
        before = len(passages)
        lines += [[name, q, before + own, [before + i for i in near]] for q, own, near in found]
        passages += texts
        print(f"{name}: {len(found)} questions, {len(texts)} passages", flush=True)
    new = o.out.with_suffix(".new")
    new.write_text("".join(json.dumps(line) + "\n" for line in [passages, *lines]))
    new.replace(o.out)


if __name__ == "__main__":
    main()
