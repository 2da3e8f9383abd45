#!/usr/bin/env python3
"""Reranking and embedding beside ONNX Runtime, in turn on one machine.

    python tests/peers/rerank.py TRINE MODEL [--rounds 3] [--threads 2] [--pairs 50] [--work DIR]

TRINE is the `trine` binary, MODEL a folder of a sentence encoder such as all-MiniLM-L6-v2. Wants torch,
transformers, onnx and onnxruntime. Exports the encoder and a cross-encoder (the same with a random head
of one output) to ONNX in DIR, in f32 and quantised to int8 as onnxruntime's `quantize_dynamic` does, then
runs each peer and `trine bench rerank` and `embed` in turn, and prints medians and ratios of medians, and how far
logits are from those in f32.
"""
import argparse, gc, json, pathlib, shutil, statistics, subprocess, time

import numpy as np
import onnxruntime as ort

parser = argparse.ArgumentParser()
parser.add_argument("trine")
parser.add_argument("model")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--pairs", type=int, default=50)
parser.add_argument("--tokens", type=int, nargs="+", default=[128, 256])
parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("rerank-peers"))
args = parser.parse_args()


def export():
    """The encoder and the cross-encoder as transformers' folders and as ONNX, f32 and int8."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    args.work.mkdir(parents=True, exist_ok=True)
    config = BertConfig.from_pretrained(args.model, num_labels=1)
    cross = BertForSequenceClassification.from_pretrained(args.model, config=config).eval()
    cross.save_pretrained(args.work / "cross")
    shutil.copy(pathlib.Path(args.model) / "tokenizer.json", args.work / "cross")
    encoder = AutoModel.from_pretrained(args.model).eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones((2, 8), dtype=torch.long) for _ in names)
    axes = {name: {0: "n", 1: "s"} for name in names}

    class Named(torch.nn.Module):
        """A model that takes its inputs in order and gives its first output."""

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, *inputs):
            return self.model(**dict(zip(names, inputs)))[0]

    for name, model in (("cross", cross), ("encoder", encoder)):
        # The graph that ONNX Runtime fuses best.
        model.set_attn_implementation("eager")
        path = args.work / f"{name}.onnx"
        torch.onnx.export(Named(model), example, path, input_names=names, output_names=["out"],
                          dynamic_axes=axes, opset_version=17, dynamo=False)
        quantize_dynamic(path, args.work / f"{name}.int8.onnx", weight_type=QuantType.QInt8)


def session(name):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    return ort.InferenceSession(str(args.work / name), options, providers=["CPUExecutionProvider"])


def seconds(session, texts, tokens, repeats):
    """Median of a call of `texts` texts, in batches of 32 as reranking libraries take them."""
    generator = np.random.default_rng(0)
    full = {"input_ids": generator.integers(1000, 28000, (texts, tokens)),
            "attention_mask": np.ones((texts, tokens), np.int64),
            "token_type_ids": np.zeros((texts, tokens), np.int64)}
    known = [i.name for i in session.get_inputs()]
    parts = [{k: full[k][at:at + 32] for k in known} for at in range(0, texts, 32)]
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        for part in parts:
            session.run(None, part)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def logits(session, texts=32, tokens=128):
    """The cross-encoder's logits of random texts."""
    generator = np.random.default_rng(1)
    full = {"input_ids": generator.integers(1000, 28000, (texts, tokens)),
            "attention_mask": np.ones((texts, tokens), np.int64),
            "token_type_ids": np.zeros((texts, tokens), np.int64)}
    return session.run(None, {i.name: full[i.name] for i in session.get_inputs()})[0].ravel()


def trine(*words):
    command = [args.trine, "--device", "cpu", "--threads", str(args.threads), *map(str, words), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if not (args.work / "encoder.int8.onnx").exists():
    export()
exact, rounded = logits(session("cross.onnx")), logits(session("cross.int8.onnx"))
off = {("ort", "int8"): float(np.abs(rounded - exact).max() / np.ptp(exact))}
seen = {}
for _ in range(args.rounds):
    for precision, suffix in (("f32", ""), ("int8", ".int8")):
        cross, encoder = session(f"cross{suffix}.onnx"), session(f"encoder{suffix}.onnx")
        for tokens in args.tokens:
            rate = args.pairs / seconds(cross, args.pairs, tokens, 3)
            seen.setdefault(("ort", precision, tokens), []).append(rate)
        seen.setdefault(("ort", precision, "ms"), []).append(1e3 * seconds(encoder, 1, 16, 100))
        del cross, encoder
        gc.collect()  # its threads would wait beside ours
    for precision in ("f32", "bf16", "int8"):
        for tokens in args.tokens:
            report = trine("--precision", precision, "bench", "rerank", "--pairs", args.pairs, "--tokens", tokens,
                           "--reranker", args.work / "cross", "--rounds", 3)
            seen.setdefault(("trine", precision, tokens), []).append(report["pairs_per_second"])
            off["trine", precision] = (report["error"] or {}).get("of_range", 0.0)
        report = trine("--precision", precision, "bench", "embed", "--embedder", args.model, "--rounds", 100)
        seen.setdefault(("trine", precision, "ms"), []).append(report["ms"])

median = {key: statistics.median(values) for key, values in seen.items()}
print(f"{args.pairs} pairs, {args.threads} threads, {args.rounds} rounds; ort {ort.__version__}")
for (who, precision, what), value in median.items():
    unit = "ms for one text of 16 tokens" if what == "ms" else f"pairs/s of {what} tokens"
    beside = [f"{value / median['ort', peer, what]:.2f} of ort {peer}" for peer in ("f32", "int8")]
    print(f"{who:5} {precision:4} {value:9.2f} {unit}; " + ", ".join(beside))
for (who, precision), error in off.items():
    print(f"{who:5} {precision:4} largest error of a logit: {100 * error:.2f} % of the logits' range in f32")
