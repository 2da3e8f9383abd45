"""For each query of a BEIR folder the passages that BM25 ranks high and nobody judged relevant.

    python negatives.py FOLDER...

Writes `FOLDER/run.trec`. Question sets get theirs from trine's own first stage instead, by
`trine eval FOLDER --stage hybrid --run FOLDER/run.trec`: the passages a reranker will really see.
"""

import sys
from pathlib import Path

import bm25s

from texts import corpus, found


def mine(folder, most=30):
    passages = corpus(folder)
    keys = list(passages)
    words = bm25s.tokenize([f"{t} {x}" for t, x in passages.values()], show_progress=False)
    index = bm25s.BM25(method="lucene")
    index.index(words, show_progress=False)
    queries = found(folder, "queries")
    asked = bm25s.tokenize([q["text"] for q in queries], show_progress=False)
    best, scores = index.retrieve(asked, k=min(most, len(keys)), show_progress=False)
    with open(Path(folder) / "run.trec", "w") as out:
        for query, numbers, values in zip(queries, best, scores):
            for rank, (number, score) in enumerate(zip(numbers, values), 1):
                out.write(f"{query['_id']} Q0 {keys[number]} {rank} {score:.4f} bm25s\n")


for folder in sys.argv[1:]:
    mine(folder)
    print(folder, flush=True)
