#!/usr/bin/env python3
"""A query's embedding inside the server beside ONNX Runtime, in turn on one machine.

    python tests/peers/query.py TRINE BUNDLE ENCODER.onnx [--model NAME=DIR] [--rounds 5] [--threads 2]

TRINE is the `trine` binary, BUNDLE one whose embedder is the encoder that ENCODER.onnx holds in f32, as
`rerank.py` exports it. Serves the bundle at f32 and at bf16 and asks for candidates with a query of 16
tokens: `Server-Timing` says how long the guest waited for its call of wasi:nn, from call to result.
"""
import argparse, contextlib, http.client, json, re, statistics, subprocess, time

import numpy as np
import onnxruntime as ort

# 14 words of one token each, and the two that every text has.
QUERY = "what are the main rules that apply to travel booking for new staff members"

parser = argparse.ArgumentParser()
parser.add_argument("trine")
parser.add_argument("bundle")
parser.add_argument("encoder")
parser.add_argument("--model", action="append", default=[])
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()


@contextlib.contextmanager
def served(precision):
    command = [args.trine, "--precision", precision, "--device", "cpu", "--threads", str(args.threads)]
    command += [word for model in args.model for word in ("--model", model)]
    process = subprocess.Popen(command + ["serve", args.bundle, "--listen", "127.0.0.1:0"],
                               stdout=subprocess.PIPE, text=True)
    try:
        address = next(line.split("//")[1].strip() for line in process.stdout if "listening" in line)
        yield http.client.HTTPConnection(address)
    finally:
        process.terminate()
        process.wait()


def ours(connection):
    connection.request("POST", "/v1/retrieve", json.dumps({"query": QUERY, "top_k": 10}))
    response = connection.getresponse()
    response.read()
    return float(re.search(r"inference;dur=([\d.]+)", response.headers["server-timing"])[1])


def theirs(session):
    inputs = {"input_ids": np.random.default_rng(0).integers(1000, 28000, (1, 16)),
              "attention_mask": np.ones((1, 16), np.int64), "token_type_ids": np.zeros((1, 16), np.int64)}
    begun = time.perf_counter()
    session.run(None, {i.name: inputs[i.name] for i in session.get_inputs()})
    return 1e3 * (time.perf_counter() - begun)


options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
seen = {}
with served("f32") as f32, served("bf16") as bf16:
    for _ in range(args.rounds):
        for name, once in (("trine f32", lambda: ours(f32)), ("trine bf16", lambda: ours(bf16))):
            seen.setdefault(name, []).append(statistics.median(once() for _ in range(100)))
        # Made anew: its threads would wait beside ours.
        session = ort.InferenceSession(args.encoder, options, providers=["CPUExecutionProvider"])
        seen.setdefault("ort f32", []).append(statistics.median(theirs(session) for _ in range(100)))
        del session
peer = statistics.median(seen["ort f32"])
for name, times in seen.items():
    print(f"{name:10} {statistics.median(times):6.3f} ms, {statistics.median(times) / peer:.2f} of ort f32")
