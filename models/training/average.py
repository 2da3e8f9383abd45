"""The mean of readers that are parts of one training.

    python average.py --base MODEL_DIR --out FOLDER CHECKPOINT... [--shares S...]

Weights that were trained from one beginning may be averaged, and what comes of it is often better than each
(model soups, Wortsman et al. 2022). FOLDER gets a checkpoint to go on from and an adapter.
"""

import argparse
from pathlib import Path

import torch

from reader import kept, write_reader


def average(readers, shares):
    """Makes the first the mean. Where another has no relevance, the first's stays."""
    parameters = [[w for module in modules for w in module.parameters()] for modules in readers]
    with torch.no_grad():
        for first, *others in zip(*parameters):
            own = first.clone()
            first.mul_(shares[0])
            for share, other in zip(shares[1:], others):
                first.add_(torch.cat([other, own[len(other) :]]), alpha=share)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("checkpoints", type=Path, nargs="+")
    options.add_argument("--base", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--rank", type=int, default=64)
    options.add_argument("--shares", type=float, nargs="+", help="of each, 1 in all; equal")
    o = options.parse_args()
    shares = o.shares or [1 / len(o.checkpoints)] * len(o.checkpoints)
    if len(shares) != len(o.checkpoints) or abs(sum(shares) - 1) > 1e-6:
        options.error("give a share for each checkpoint, 1 in all")
    readers = [kept(path, o.base, o.rank) for path in o.checkpoints]
    average(readers, shares)
    o.out.mkdir(parents=True, exist_ok=True)
    torch.save({"modules": [m.state_dict() for m in readers[0]]}, o.out / "reader.pt")
    write_reader(o.out / "reader.safetensors", *readers[0], o.rank)


if __name__ == "__main__":
    main()
