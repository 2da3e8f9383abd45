"""Makes minilm.json: what sentence-transformers makes of our texts with all-MiniLM-L6-v2.

    python make_minilm_golden.py FOLDER_OF_THE_MODEL

The file records the versions that made it. Embeddings are f32 in base64, rounded to six
significant digits.
"""

import base64
import json
import pathlib
import sys

import numpy as np
import sentence_transformers
import tokenizers
import torch
import transformers

from texts import ODD, ORDINARY, TEXTS

# (first, second, window): short and long sides, equal lengths, odd and even room, nothing to cut.
PAIRS = [
    (ORDINARY[0], ORDINARY[1], 256),
    (ORDINARY[0], " ".join(ORDINARY), 64),
    (" ".join(ORDINARY), ORDINARY[0], 64),
    (" ".join(ORDINARY), " ".join(reversed(ORDINARY)), 63),
    (" ".join(ORDINARY), " ".join(reversed(ORDINARY)), 64),
    (ORDINARY[4], ORDINARY[12], 24),
    ("", ORDINARY[3], 32),
    (ORDINARY[3], "", 32),
    ("", "", 32),
    (ODD[13], ODD[14], 20),
    ("word " * 30, "word " * 30, 31),
    (ORDINARY[5], ORDINARY[6], 4),
]
# (query, passages) by number in TEXTS, for late interaction.
INTERACTIONS = [(0, [1, 2, 9, 30, 50, 70, 94]), (36, [18, 24, 72, 94, 95]), (94, [94, 0, 96])]


def rounded(array):
    """To six significant digits, as f32 in base64."""
    text = [float(f"{x:.5e}") for x in np.asarray(array, dtype=np.float64).ravel()]
    return base64.b64encode(np.array(text, dtype="<f4").tobytes()).decode()


def maxsim(query, passage):
    """Mean over the query's tokens of the largest cosine with a token of the passage."""
    query = query / np.linalg.norm(query, axis=1, keepdims=True)
    passage = passage / np.linalg.norm(passage, axis=1, keepdims=True)
    return float((query @ passage.T).max(axis=1).mean())


def main():
    folder = sys.argv[1]
    torch.set_num_threads(2)
    model = sentence_transformers.SentenceTransformer(folder, device="cpu")
    tokenizer = model.tokenizer
    assert model.max_seq_length == 256, model.max_seq_length

    # One text at a time: no padding, so nothing of a neighbour in the numbers.
    embeddings, tokens, ids = [], [], []
    for text in TEXTS:
        embeddings.append(model.encode([text], convert_to_numpy=True)[0])
        token = model.encode([text], output_value="token_embeddings")[0]
        encoded = tokenizer(text, truncation=True, max_length=256)["input_ids"]
        tokens.append(token.double().numpy())
        ids.append(encoded)
        assert len(token) == len(encoded), (len(token), len(encoded))

    pairs = []
    for first, second, window in PAIRS:
        # As a batch: given alone, transformers takes an empty second text for none at all.
        batch = [(first, second)]
        cut = tokenizer(batch, truncation="longest_first", max_length=window)
        whole = tokenizer(batch)["input_ids"][0]
        pairs.append({
            "first": first,
            "second": second,
            "window": window,
            "ids": cut["input_ids"][0],
            "type_ids": cut["token_type_ids"][0],
            "truncated": len(whole) - len(cut["input_ids"][0]),
        })

    golden = {
        "made_with": {
            "sentence-transformers": sentence_transformers.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__,
        },
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "texts": [
            {
                "text": text,
                "ids": i,
                "truncated": len(tokenizer(text)["input_ids"]) - len(i),
                "embedding": rounded(e),
            }
            for text, i, e in zip(TEXTS, ids, embeddings)
        ],
        "pairs": pairs,
        "interactions": [
            {
                "query": query,
                "passages": passages,
                "scores": [round(maxsim(tokens[query], tokens[p]), 7) for p in passages],
            }
            for query, passages in INTERACTIONS
        ],
    }
    out = pathlib.Path(__file__).parent / "minilm.json"
    out.write_text(json.dumps(golden, ensure_ascii=True, indent=0) + "\n")
    print(out, out.stat().st_size, "bytes")


main()
