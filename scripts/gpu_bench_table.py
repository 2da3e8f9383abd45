#!/usr/bin/env python3
"""Two reports of a GPU's speed as one Markdown page: gpu_bench_table.py TRINE.json [TORCH.json]

The reports have the keys that torch_minilm.py documents. Every ratio is above one where trine is faster.
"""

import json
import sys

# Title, the list in a report, what tells its rows apart, the figure, whether more of it is better.
TABLES = [
    ("Reranking, pairs a second", "rerank", ("pairs", "tokens", "dtype"), "pairs_per_s", True),
    ("Embedding one text, milliseconds", "embed", ("tokens", "dtype"), "ms", False),
    ("Matrix products, TFLOP/s", "gemm", ("m", "n", "k", "dtype"), "tflops", True),
]


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def ratio(ours, theirs, more_is_better):
    if not ours or not theirs:
        return "-"
    return f"{ours / theirs if more_is_better else theirs / ours:.2f}"


def row(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def figures(report, section, keys, value):
    """The figures of a section: {row's key: {mode: figure}}."""
    found = {}
    for entry in report.get(section, []):
        key = tuple(entry.get(name) for name in keys)
        found.setdefault(key, {})[entry.get("mode", "")] = entry.get(value)
    return found


def best(modes, more_is_better):
    known = [figure for figure in modes.values() if figure is not None]
    return (max if more_is_better else min)(known, default=None)


def table(trine, torch, title, section, keys, value, more_is_better):
    ours = figures(trine, section, keys, value)
    theirs = figures(torch, section, keys, value)
    modes = list(dict.fromkeys(mode for row_modes in theirs.values() for mode in row_modes))
    heads = [*keys, "trine", *(f"torch {mode}".strip() for mode in modes), "trine : best of torch"]
    yield f"\n## {title}\n"
    yield row(heads)
    yield row(["---"] * len(keys) + ["---:"] * (len(heads) - len(keys)))
    for key in dict.fromkeys([*ours, *theirs]):
        our_best = best(ours.get(key, {}), more_is_better)
        their_modes = theirs.get(key, {})
        their_best = best(their_modes, more_is_better)
        cells = [number(our_best), *(number(their_modes.get(mode)) for mode in modes)]
        yield row([*key, *cells, ratio(our_best, their_best, more_is_better)])


def page(trine, torch):
    yield "# trine beside PyTorch\n" if torch else "# trine"
    yield f"- trine: {trine.get('device', '-')}"
    if torch:
        yield f"- PyTorch: {torch.get('device', '-')}, {torch.get('software', 'torch')}"
    copies = [report.get("copy_gb_per_s") for report in (trine, torch)]
    yield (
        f"- copy within the device, read plus written, GB/s: trine {number(copies[0])}, "
        f"torch {number(copies[1])}, ratio {ratio(*copies, True)}"
    )
    yield "- ratios are above one where trine is faster"
    for arguments in TABLES:
        yield from table(trine, torch, *arguments)
    failures = torch.get("failures", [])
    if failures:
        yield "\n## Not measured by PyTorch\n"
        for failure in failures:
            yield f"- {failure['what']}: {failure['error']}"


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    print("\n".join(page(load(sys.argv[1]), load(sys.argv[2]) if len(sys.argv) == 3 else {})))


if __name__ == "__main__":
    main()
