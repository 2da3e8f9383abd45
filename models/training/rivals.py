"""The written questions of Wikipedia's paragraphs as a BEIR folder.

    python rivals.py --data QA_DIR --dump WHEEL_DIR --out FOLDER
    trine eval FOLDER --stage hybrid --run FOLDER/run.trec

The reranker and the reader learn to tell the paragraph that answers from those that the first stage ranks
beside it. Paragraphs and questions that are held out are not among them.
"""

import argparse
import json
from pathlib import Path

import written
from fusion import collection


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    options.add_argument("--dump", type=Path, required=True, help="folder of gensim's wheel")
    options.add_argument("--out", type=Path, required=True)
    o = options.parse_args()
    asked = [
        (key, question, text, (start, end))
        for key, question, text, start, end in written.questions(o.data, o.dump)
        if key.startswith("wiki-") and start is not None
    ]
    texts = {key: ("", text) for key, _, text, _ in asked}
    collection(o.out, texts, [(question, [key]) for key, question, *_ in asked])
    # Where the answer stands, beside the question.
    queries = [{"_id": f"q{n}", "text": q, "answer": span} for n, (_, q, _, span) in enumerate(asked)]
    (o.out / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    print(f"{len(asked)} questions, {len(texts)} paragraphs")


if __name__ == "__main__":
    main()
