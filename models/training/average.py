"""The mean of readers that are parts of one training.

    python average.py --base MODEL_DIR --out FOLDER CHECKPOINT...

Weights that were trained from one beginning may be averaged, and what comes of it is often better than each
(model soups, Wortsman et al. 2022). FOLDER gets a checkpoint to go on from and an adapter.
"""

import argparse
from pathlib import Path

import torch

from reader import kept, write_reader


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("checkpoints", type=Path, nargs="+")
    options.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--rank", type=int, default=64)
    o = options.parse_args()
    readers = [kept(path, o.base, o.rank) for path in o.checkpoints]
    with torch.no_grad():
        for weights in zip(*([w for m in modules for w in m.parameters()] for modules in readers)):
            weights[0].copy_(sum(weights) / len(weights))
    o.out.mkdir(parents=True, exist_ok=True)
    torch.save({"modules": [m.state_dict() for m in readers[0]]}, o.out / "reader.pt")
    write_reader(o.out / "reader.safetensors", *readers[0], o.rank)


if __name__ == "__main__":
    main()
