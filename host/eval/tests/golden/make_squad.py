"""Makes squad.json: answers measured by the functions of SQuAD's official script.

    python host/eval/tests/golden/make_squad.py

`normalize_answer`, `compute_exact` and `compute_f1` do what evaluate-v2.0.py
(https://rajpurkar.github.io/SQuAD-explorer/) does, step by step, and `best` takes the maximum over
the accepted answers as its `get_raw_scores` does.
"""

import collections
import json
import pathlib
import random
import re
import string

SEED = 20261121
PIECES = [
    "the", "The", "a", "an", "AN", "melt", "magma", "lava", "rock", "1,200", "$5", "U.S.", "Xu's",
    "a-b", "co-op", "the-end", "an.", "(the)", "_a_", "É", "naïve", "ΟΔΟΣ", "İ", "  ", "\t", "\n",
    "\u00a0", "\u2009", "\x1f", "…", "—", "'", "''", "", "theatre", "banana", "42", "a1", "ä",
]


def normalize_answer(s):
    def remove_articles(text):
        regex = re.compile(r"\b(a|an|the)\b", re.UNICODE)
        return re.sub(regex, " ", text)

    def white_space_fix(text):
        return " ".join(text.split())

    def remove_punc(text):
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    return white_space_fix(remove_articles(remove_punc(s.lower())))


def tokens(s):
    return normalize_answer(s).split() if s else []


def compute_exact(a_gold, a_pred):
    return int(normalize_answer(a_gold) == normalize_answer(a_pred))


def compute_f1(a_gold, a_pred):
    gold_toks, pred_toks = tokens(a_gold), tokens(a_pred)
    common = collections.Counter(gold_toks) & collections.Counter(pred_toks)
    num_same = sum(common.values())
    if len(gold_toks) == 0 or len(pred_toks) == 0:
        return int(gold_toks == pred_toks)
    if num_same == 0:
        return 0
    precision = 1.0 * num_same / len(pred_toks)
    recall = 1.0 * num_same / len(gold_toks)
    return (2 * precision * recall) / (precision + recall)


def best(accepted, answer):
    gold = [a for a in accepted if normalize_answer(a)] or [""]
    return max(compute_exact(a, answer) for a in gold), max(compute_f1(a, answer) for a in gold)


def main():
    rng = random.Random(SEED)
    text = lambda: rng.choice(["", " "]).join(rng.choices(PIECES, k=rng.randint(0, 6)))
    cases = []
    for _ in range(400):
        accepted = [text() for _ in range(rng.randint(0, 3))]
        near = rng.choice(accepted + [text()])
        answer = rng.choice([near, near.upper(), "the " + near + ".", near + " " + text()])
        exact, f1 = best(accepted, answer)
        cases.append({
            "answer": answer, "accepted": accepted, "normalized": normalize_answer(answer),
            "exact": exact, "f1": f1,
        })
    lines = ",\n".join(json.dumps(case) for case in cases)
    (pathlib.Path(__file__).parent / "squad.json").write_text(f"[\n{lines}\n]\n")


main()
