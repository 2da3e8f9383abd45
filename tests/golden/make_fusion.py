"""Writes fusion.json: scores of two stages, vectors, what models/training/fusion.py fuses of them, what a
reader says of passages, and what they gain by it.

    python make_fusion.py
"""

import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../../models/training"))

from fusion import NOW, SPREAD, answering, ranked  # noqa: E402

NUMBERS = {name: NOW[name] for name in ("weight", "share", "lenders")}
READING = {name: NOW[name] for name in NOW if name not in NUMBERS}

CANDIDATES, WIDTH = 12, 6


def main():
    chance = torch.Generator().manual_seed(4)
    drawn = lambda *shape: torch.randn(*shape, generator=chance)
    first, second, vectors = drawn(CANDIDATES) * 3 + 10, drawn(CANDIDATES) / 5, drawn(CANDIDATES, WIDTH)
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    values = {"retrieval": first, "reranked": second, "vectors": vectors.flatten()}
    values["ranked"] = ranked(first, second, vectors, **NUMBERS)
    values |= {"margins": drawn(CANDIDATES) * 3, "relevance": drawn(CANDIDATES) * 3}
    said = values["margins"], values["relevance"], second
    values["answering"] = answering(*said, **READING)
    rounded = {name: [round(x, 6) for x in value.tolist()] for name, value in values.items()}
    (HERE / "fusion.json").write_text(json.dumps(NUMBERS | READING | {"spread": SPREAD} | rounded) + "\n")


if __name__ == "__main__":
    main()
