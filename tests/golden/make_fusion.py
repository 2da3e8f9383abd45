"""Writes fusion.json: scores of two stages, vectors, and what models/training/fusion.py fuses of them.

    python make_fusion.py
"""

import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../../models/training"))

from fusion import NOW, fused  # noqa: E402

CANDIDATES, WIDTH = 12, 6


def main():
    chance = torch.Generator().manual_seed(4)
    drawn = lambda *shape: torch.randn(*shape, generator=chance)
    first, second, vectors = drawn(CANDIDATES) * 3 + 10, drawn(CANDIDATES) / 5, drawn(CANDIDATES, WIDTH)
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    values = {"retrieval": first, "reranked": second, "vectors": vectors.flatten()}
    values["fused"] = fused(first, second, vectors, NOW)
    rounded = {name: [round(x, 6) for x in value.tolist()] for name, value in values.items()}
    numbers = {"weight": NOW["weight"], "share": NOW["share"]}
    (HERE / "fusion.json").write_text(json.dumps(numbers | rounded) + "\n")


if __name__ == "__main__":
    main()
