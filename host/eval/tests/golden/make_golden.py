"""Makes run.trec, qrels.tsv and expected.json: random rankings measured by pytrec_eval.

    pip install pytrec-eval-terrier==0.5.11
    python host/eval/tests/golden/make_golden.py

The ids and scores are random (seed below), with everything that implementations differ on: equal
scores, scores that differ only beyond 32 bits, graded, zero and negative judgements, queries that
the run lacks, queries that the qrels lack, queries with nothing relevant, ids whose order by bytes
is not their order by number, ids that are not ASCII.
"""

import importlib.metadata
import json
import pathlib
import random

import pytrec_eval

HERE = pathlib.Path(__file__).parent
SEED = 20260917
MEASURES = {
    "ndcg@10": "ndcg_cut_10",
    "recall@5": "recall_5",
    "recall@10": "recall_10",
    "recall@50": "recall_50",
    "recall@100": "recall_100",
    "hit@5": "success_5",
    "p@1": "P_1",
    "map": "map",
}


def document_ids(rng, count):
    kinds = ["d{}", "D{}", "doc-{:04}", "é{}", "{}"]
    return [rng.choice(kinds).format(n) for n in rng.sample(range(10_000), count)]


def score(rng, style):
    if style == "ties":
        return float(rng.randint(-2, 3))
    if style == "beyond f32":
        return 0.5 + rng.randint(0, 30) * 1e-9
    return rng.gauss(0.0, 1.0)


def make(rng):
    pool = document_ids(rng, 400)
    run, qrels = {}, {}
    for number in range(48):
        query = f"q{number}"
        length = rng.choice([1, 3, 12, 40, 160]) if number % 3 else 20
        style = ["spread", "ties", "beyond f32"][number % 3]
        found = rng.sample(pool, length)
        run[query] = {document: score(rng, style) for document in found}
        judged = rng.sample(found, min(length, rng.randint(1, 9))) + rng.sample(pool, rng.randint(1, 25))
        grades = [[0, 1], [-1, 0, 1, 2, 3], [1], [0, -2], [0, 0, 0, 4]][number % 5]
        qrels[query] = {document: rng.choice(grades) for document in judged}
    for query in ["q1", "q7"]:
        del run[query]  # counts 0 where something is relevant
    for query in ["q2", "q8"]:
        del qrels[query]  # left out
    return run, qrels


def relevant(judgements):
    return any(grade > 0 for grade in judgements.values())


def expected(run, qrels):
    measures = set(MEASURES.values()) | {"recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    per_query = {}
    for query in sorted(query for query, judgements in qrels.items() if relevant(judgements)):
        values = found.get(query, dict.fromkeys(measures, 0.0))
        per_query[query] = {ours: values[theirs] for ours, theirs in MEASURES.items()}
        reciprocal = values["recip_rank"]  # trec_eval does not cut it
        per_query[query]["mrr@10"] = reciprocal if reciprocal > 1 / 10.5 else 0.0
    names = [*MEASURES, "mrr@10"]
    mean = {name: sum(m[name] for m in per_query.values()) / len(per_query) for name in names}
    return {"per_query": per_query, "mean": mean}


def main():
    rng = random.Random(SEED)
    run, qrels = make(rng)
    lines = [
        f"{query} Q0 {document} {rng.randint(1, 999)} {value!r} golden"
        for query, documents in run.items()
        for document, value in documents.items()
    ]
    rng.shuffle(lines)
    (HERE / "run.trec").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = ["query-id\tcorpus-id\tscore"]
    rows += [f"{q}\t{d}\t{grade}" for q, judged in qrels.items() for d, grade in judged.items()]
    (HERE / "qrels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    golden = {"pytrec-eval-terrier": importlib.metadata.version("pytrec-eval-terrier"), "seed": SEED}
    golden |= expected(run, qrels)
    (HERE / "expected.json").write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
