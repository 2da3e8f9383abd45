"""The three stages as tutorials build them in Python: FastAPI and uvicorn, sentence-transformers for the
bi-encoder and the cross-encoder, faiss for the search, the best sentence as the answer.

    uvicorn service:app        # SERVICE_FOLDER says where passages.jsonl and the models lie

The folder is made by load.py.
"""

import json
import os
import pathlib
import re

import faiss
import numpy
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import CrossEncoder, SentenceTransformer

FOLDER = pathlib.Path(os.environ["SERVICE_FOLDER"])
TOP_K, TOP_N = 50, 5
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class Question(BaseModel):
    query: str


def embed(texts):
    return encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def read_index():
    """The passages' vectors: computed once, read from then on."""
    path = FOLDER / "index.faiss"
    if path.exists():
        return faiss.read_index(str(path))
    vectors = embed([passage["input"] for passage in passages])
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(path))
    return index


encoder = SentenceTransformer(str(FOLDER / "encoder"), device="cpu")
reranker = CrossEncoder(str(FOLDER / "cross-encoder"), device="cpu", max_length=256)
passages = [json.loads(line) for line in open(FOLDER / "passages.jsonl", encoding="utf-8")]
index = read_index()
app = FastAPI()


@app.post("/v1/answer")
def answer(question: Question):
    _, found = index.search(embed([question.query]), TOP_K)
    candidates = [passages[number] for number in found[0]]
    pairs = [(question.query, candidate["input"]) for candidate in candidates]
    scores = reranker.predict(pairs, batch_size=32, show_progress_bar=False)
    best = [candidates[at] for at in numpy.argsort(-scores)[:TOP_N]]
    sentences = [(s, p) for p in best for s in SENTENCE.split(p["input"]) if s.strip()]
    vectors = embed([question.query] + [sentence for sentence, _ in sentences])
    cosines = vectors[1:] @ vectors[0]
    sentence, passage = sentences[int(cosines.argmax())]
    return {
        "query": question.query,
        "answer": sentence,
        "evidence": float(cosines.max()),
        "source": passage["source"],
        "passages": best,
    }


@app.get("/health")
def health():
    return {"status": "ok", "passages": len(passages)}
