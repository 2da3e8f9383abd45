#!/usr/bin/env python3
"""The speed of PyTorch on this machine, at what `trine bench gpu --json` measures.

A model of MiniLM-L6-H384's shape with random weights (nothing is downloaded) scores pairs and embeds a
text; beside it matrix products by cuBLAS and the bandwidth of a copy. Every measurement is warmed up and
is the median of --rounds. The JSON, on stdout or in --out, which is rewritten after every figure:

  device            the GPU's name, or "cpu"
  copy_gb_per_s     bytes read plus bytes written, 10^9 a second, copying 1 GiB within the device
  gemm              m, n, k, dtype, tflops: C[m,n] = A[m,k] B[k,n], inputs and output of dtype
  rerank            pairs, tokens (of each pair), dtype, mode, ms, pairs_per_s, logit_error
  embed             tokens, dtype, mode, ms: one text, mean-pooled and normalised
  failures          what could not be measured, and why

dtype is f32, tf32 (f32 whose products run on tensor cores), f16 or bf16. mode is eager, compile
(torch.compile) or graph (the compiled model replayed as a CUDA graph). Rerank and embed count from token
ids in the host's memory to results in the host's memory. logit_error is the largest difference of a
logit from f32 in eager mode.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, HIDDEN, HEADS, INTERMEDIATE, VOCABULARY, POSITIONS = 6, 384, 12, 1536, 30522, 512

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "tf32": torch.float32, "f32": torch.float32}
MODES = ("eager", "compile", "graph")

SQUARES = [(size, size, size) for size in (1024, 2048, 4096, 8192)]
# A layer's four products over 200 pairs of 128 tokens: queries, keys and values; output; up; down.
MINILM = [(25600, 1152, 384), (25600, 384, 384), (25600, 1536, 384), (25600, 384, 1536)]


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.output = nn.Linear(HIDDEN, HIDDEN)
        self.attention_norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.up = nn.Linear(HIDDEN, INTERMEDIATE)
        self.down = nn.Linear(INTERMEDIATE, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)

    def forward(self, x):  # [texts, tokens, hidden]
        texts, tokens, _ = x.shape
        heads = self.qkv(x).view(texts, tokens, 3, HEADS, HIDDEN // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)  # [texts, heads, tokens, hidden / heads]
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).reshape(texts, tokens, HIDDEN)
        x = self.attention_norm(x + self.output(mixed))
        return self.norm(x + self.down(F.gelu(self.up(x))))


class MiniLm(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.types = nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, types):  # [texts, tokens] each
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types(types)
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x)
        return x


class CrossEncoder(nn.Module):
    """A score a pair, from the first token by BERT's pooler."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.pooler = nn.Linear(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, ids, types):
        first = self.encoder(ids, types)[:, 0]
        return self.head(torch.tanh(self.pooler(first))).squeeze(1)


class Embedder(nn.Module):
    """A vector of length one a text, the mean over its tokens."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids, types):
        return F.normalize(self.encoder(ids, types).mean(dim=1), dim=1)


class Bench:
    def __init__(self, options):
        self.cuda = torch.cuda.is_available() and not options.cpu
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.out = options.out
        self.rounds = options.rounds
        self.modes = [mode for mode in options.modes if self.cuda or mode != "graph"]
        self.dtypes = [dtype for dtype in options.dtypes if self.cuda or dtype != "tf32"]
        self.compiled, self.compiled_for = None, None
        self.report = {
            "device": torch.cuda.get_device_name() if self.cuda else "cpu",
            "software": f"torch {torch.__version__}",
            "copy_gb_per_s": None,
            "gemm": [],
            "rerank": [],
            "embed": [],
            "failures": [],
        }

    def save(self):
        """Rewrites --out, so that what is measured is kept whatever happens next."""
        if self.out:
            with open(self.out + ".part", "w", encoding="utf-8") as file:
                json.dump(self.report, file, indent=1)
            os.replace(self.out + ".part", self.out)

    def attempt(self, what, measure):
        """Measures; a failure (no memory, no compiler) is reported and the others go on."""
        try:
            figure = measure()
            print(f"{what}: {figure}", file=sys.stderr, flush=True)
        except Exception as error:  # noqa: BLE001: torch raises its compilers' errors of any kind
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            self.report["failures"].append({"what": what, "error": reason})
            print(f"{what}: FAILED: {reason}", file=sys.stderr, flush=True)
        self.save()

    def synchronize(self):
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, work, launches=1):
        """Median wall-clock time of one call of work, which may return before the device is done."""
        times = []
        for _ in range(self.rounds):
            self.synchronize()
            start = time.perf_counter()
            for _ in range(launches):
                work()
            self.synchronize()
            times.append((time.perf_counter() - start) / launches)
        return statistics.median(times)

    def device_seconds(self, work):
        """As seconds, with so many calls in a row (10 ms) that starting them does not count."""
        for _ in range(3):
            work()
        once = self.seconds(work)
        return self.seconds(work, launches=max(1, min(1000, int(0.01 / once))))

    def copy(self, count):
        source = torch.ones(count, dtype=torch.float32, device=self.device)
        target = torch.empty_like(source)
        rate = 2 * 4 * count / self.device_seconds(lambda: target.copy_(source)) / 1e9
        self.report["copy_gb_per_s"] = rate
        return f"{rate:.1f} GB/s"

    def gemm(self, m, n, k, dtype):
        a = torch.randn(m, k, device=self.device).to(DTYPES[dtype])
        b = torch.randn(k, n, device=self.device).to(DTYPES[dtype])
        c = torch.empty(m, n, device=self.device, dtype=DTYPES[dtype])
        tflops = 2e-12 * m * n * k / self.device_seconds(lambda: torch.matmul(a, b, out=c))
        self.report["gemm"].append({"m": m, "n": n, "k": k, "dtype": dtype, "tflops": tflops})
        return f"{tflops:.3f} TFLOP/s"

    def compile(self, model, shape):
        """The model compiled for one shape; the modes that follow each other share it."""
        if self.compiled_for != (model, shape):
            # Past a few shapes of one model, dynamo would silently go on in eager mode.
            torch.compiler.reset()
            self.compiled = torch.compile(model, dynamic=False, fullgraph=True)
            self.compiled_for = (model, shape)
        return self.compiled

    def run(self, model, mode, batch):
        """A function that takes the batch from the host through the model and back to the host."""
        if mode != "eager":
            model = self.compile(model, batch[0].shape)
        if mode != "graph":
            return lambda: model(*(part.to(self.device, non_blocking=True) for part in batch)).cpu()
        static = [part.to(self.device) for part in batch]
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(3):
                model(*static)
        self.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = model(*static)

        def replay():
            for target, part in zip(static, batch):
                target.copy_(part, non_blocking=True)
            graph.replay()
            return result.cpu()

        return replay

    def milliseconds(self, model, mode, batch):
        """The median time in milliseconds, and the results."""
        work = self.run(model, mode, batch)
        for _ in range(3):
            results = work()
        return 1e3 * self.seconds(work), results.float()

    def batch(self, texts, tokens):
        ids = torch.randint(1000, VOCABULARY, (texts, tokens))
        types = (torch.arange(tokens) >= 16).long().repeat(texts, 1)
        return [part.pin_memory() if self.cuda else part for part in (ids, types)]

    def rerank(self, model, dtype, mode, batch, reference):
        pairs, tokens = batch[0].shape
        ms, logits = self.milliseconds(model, mode, batch)
        figures = {"ms": ms, "pairs_per_s": 1e3 * pairs / ms}
        figures["logit_error"] = (logits - reference).abs().max().item()
        figure = {"pairs": pairs, "tokens": tokens, "dtype": dtype, "mode": mode, **figures}
        self.report["rerank"].append(figure)
        return f"{ms:.2f} ms, {figures['pairs_per_s']:.0f} pairs/s"

    def embed(self, model, dtype, mode, batch):
        ms, _ = self.milliseconds(model, mode, batch)
        tokens = batch[0].shape[1]
        self.report["embed"].append({"tokens": tokens, "dtype": dtype, "mode": mode, "ms": ms})
        return f"{ms:.3f} ms"

    def models(self, reranks, embeds):
        """Both tasks in every dtype and mode."""
        torch.manual_seed(0)
        cross_encoder = CrossEncoder(MiniLm()).eval().to(self.device)
        batches = [self.batch(pairs, tokens) for pairs, tokens in reranks]
        queries = [self.batch(1, tokens) for tokens in embeds]
        set_products("f32")
        references = [self.run(cross_encoder, "eager", batch)().float() for batch in batches]
        for dtype in self.dtypes:
            set_products(dtype)
            model = copy.deepcopy(cross_encoder).to(DTYPES[dtype])
            for batch, reference in zip(batches, references):
                pairs, tokens = batch[0].shape
                for mode in self.modes:
                    self.attempt(
                        f"rerank {pairs} x {tokens} {dtype} {mode}",
                        lambda: self.rerank(model, dtype, mode, batch, reference),
                    )
            embedder = Embedder(model.encoder)
            for batch in queries:
                for mode in self.modes:
                    self.attempt(
                        f"embed 1 x {batch[0].shape[1]} {dtype} {mode}",
                        lambda: self.embed(embedder, dtype, mode, batch),
                    )


def set_products(dtype):
    """Whether products of 32-bit floats may run on tensor cores as TF32."""
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")


def names(known):
    def parse(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name}: one of {', '.join(known)}")
        return chosen

    return parse


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", help="the file that the JSON goes to (default: stdout)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--cpu", action="store_true", help="on the CPU, also where there is a GPU")
    parser.add_argument("--rounds", type=int, help="measurements of which the median counts")
    parser.add_argument("--modes", type=names(MODES), default=list(MODES))
    parser.add_argument("--dtypes", type=names(DTYPES), default=list(DTYPES))
    options = parser.parse_args()
    if options.rounds is None:
        options.rounds = 3 if options.quick else 20
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main():
    options = parse_arguments()
    bench = Bench(options)
    torch.manual_seed(0)
    quick = options.quick
    with torch.inference_mode():
        bench.attempt("copy", lambda: bench.copy(1 << 24 if quick else 1 << 28))
        for dtype in bench.dtypes:
            set_products(dtype)
            for shape in [(256, 256, 256), (1024, 1152, 384)] if quick else SQUARES + MINILM:
                bench.attempt(
                    f"gemm {'x'.join(map(str, shape))} {dtype}", lambda: bench.gemm(*shape, dtype)
                )
        reranks = [(4, 32)] if quick else [(pairs, tokens) for pairs in (50, 200) for tokens in (128, 256)]
        bench.models(reranks, [16])
    if not options.out:
        print(json.dumps(bench.report, indent=1))


if __name__ == "__main__":
    main()
