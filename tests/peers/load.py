"""trine beside the same pipeline as a Python service, on one machine, under the same load.

    python tests/peers/load.py --trine target/release/trine --corpus DOCS --model all-MiniLM-L6-v2

Both answer from the same passages with the same two models: the bi-encoder in the folder --model, and a
cross-encoder of its shape with a random head (50 pairs, 5 kept). Measured are the time from a
process's start to its first answer, its memory (proportional set size, all its processes) at rest and
under load, and what `trine bench serve` counts at several numbers of clients, in turn on both.

Needs Linux and a Python with fastapi, uvicorn, sentence-transformers and faiss-cpu.
"""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("trine", "python")
LINK = re.compile(r"\]\([^)\s]*\)")


def main():
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    prepare(args)
    measured = {peer: {"start_s": []} for peer in PEERS}
    with trine(args, cache=args.work / "no-cache") as (process, url):
        measured["trine"]["first_start_s"] = first_answer(process, url)
    shutil.rmtree(args.work / "no-cache")
    start = {"trine": trine, "python": python}
    for _ in range(args.starts):
        for peer in PEERS:
            with start[peer](args) as (process, url):
                measured[peer]["start_s"].append(first_answer(process, url))
    with trine(args) as (ours, our_url), python(args) as (theirs, their_url):
        running = {"trine": (ours, our_url), "python": (theirs, their_url)}
        for peer, (process, url) in running.items():
            first_answer(process, url)
            time.sleep(2)
            measured[peer].update(rest_mib=memory(process.pid), peak_mib=0, steps=[])
        for clients in args.clients.split(","):
            for peer, (process, url) in running.items():
                with watched(process.pid) as peak:
                    step = bench(args, url, clients)
                measured[peer]["steps"].append(step)
                measured[peer]["peak_mib"] = max(measured[peer]["peak_mib"], peak())
                print(f"{peer} {json.dumps(step)}", file=sys.stderr, flush=True)
    (args.work / "load.json").write_text(json.dumps(measured, indent=1))
    print(table(measured))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])

    def folder(text):
        return pathlib.Path(text).resolve()

    parser.add_argument("--trine", type=folder, default="target/release/trine", help="the command")
    parser.add_argument("--corpus", type=folder, required=True, help="documents to index")
    parser.add_argument("--model", type=folder, required=True, help="folder of the bi-encoder")
    parser.add_argument("--questions", type=folder, help="a question a line")
    parser.add_argument("--work", type=folder, default="target/peers", help="what is made once")
    parser.add_argument("--clients", default="1,8,64,256")
    parser.add_argument("--seconds", type=int, default=10, help="in which requests are begun")
    parser.add_argument("--patience", type=int, default=300, help="seconds to wait for the rest")
    parser.add_argument("--starts", type=int, default=3, help="starts to take the median of")
    parser.add_argument("--precision", default="auto", help="trine's")
    return parser.parse_args()


def prepare(args):
    """The models, the bundle and its passages, each made when it is not there."""
    encoder, cross_encoder = args.work / "encoder", args.work / "cross-encoder"
    if not encoder.exists():
        encoder.symlink_to(args.model.resolve())
    if not cross_encoder.exists():
        make_cross_encoder(args.model, cross_encoder)
    bundle = args.work / "load.trine"
    if not bundle.exists():
        subprocess.run(
            [args.trine, "index", args.corpus, "--output", bundle, "--quiet"]
            + ["--embedder", encoder, "--reranker", cross_encoder],
            check=True,
        )
    passages = args.work / "passages.jsonl"
    if not passages.exists():
        with trine(args) as (process, url):
            first_answer(process, url)
            found = fetch_passages(url)
        passages.write_text("".join(json.dumps(passage) + "\n" for passage in found))
    if not (args.work / "index.faiss").exists():
        with python(args) as (process, url):
            first_answer(process, url)


def make_cross_encoder(model, folder):
    """The bi-encoder's layers under a random head of one output."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(7)
    network = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    network.save_pretrained(folder, safe_serialization=True)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)


def fetch_passages(url):
    """All passages of a bundle: what is near to a passage that is known, until none is new."""
    total = json.load(urllib.request.urlopen(f"{url}/health"))["passages"]
    found, queries = {}, ["How do I begin?"]
    while queries and len(found) < total:
        body = {"query": queries.pop(), "top_k": 200, "exact": True}
        for candidate in post(url, "/v1/retrieve", body)["candidates"]:
            if candidate["id"] not in found:
                found[candidate["id"]] = candidate
                queries.append(candidate["text"][:500])
    if len(found) < total:
        print(f"{total - len(found)} of {total} passages were not found", file=sys.stderr)
    return [
        {
            "source": passage["source"],
            # What trine's models read too: titles, headings, the text without links' targets.
            "input": "\n".join(
                [passage["title"], *passage["headings"], LINK.sub("]", passage["text"])]
            ),
        }
        for passage in found.values()
    ]


@contextlib.contextmanager
def trine(args, cache=None):
    models = [f"{name}={args.work / name}" for name in ("encoder", "cross-encoder")]
    command = [args.trine, "--precision", args.precision, "--device", "cpu"]
    command += [word for model in models for word in ("--model", model)]
    command += ["--cache", cache or args.work / "cache"]
    port = free_port()
    command += ["serve", args.work / "load.trine", "--listen", f"127.0.0.1:{port}"]
    with service(command, port) as running:
        yield running


@contextlib.contextmanager
def python(args):
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "service:app", "--log-level", "warning"]
    command += ["--app-dir", HERE, "--port", str(port)]
    environment = {"SERVICE_FOLDER": str(args.work.resolve()), "TOKENIZERS_PARALLELISM": "true"}
    with service(["env", *(f"{k}={v}" for k, v in environment.items()), *command], port) as running:
        yield running


@contextlib.contextmanager
def service(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    process.began = time.monotonic()
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(url, path, body):
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request))


def first_answer(process, url):
    """Seconds from the process's start to its first answer."""
    while process.poll() is None:
        try:
            post(url, "/v1/answer", {"query": "How do I ask for a day off?"})
            return time.monotonic() - process.began
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.005)
    sys.exit("a service ended before it answered")


def memory(pid):
    """MiB of a process and its children: each page shared by n processes counts as 1/n."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    sizes = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = int(re.search(r"^Pss: +(\d+) kB", sizes, re.M)[1]) / 1024
    return own + sum(memory(child) for child in children)


@contextlib.contextmanager
def watched(pid):
    """Yields a function that gives the greatest memory seen since."""
    seen, done = [memory(pid)], threading.Event()

    def watch():
        while not done.wait(0.25):
            seen.append(memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(seen)
    finally:
        done.set()
        thread.join()


def bench(args, url, clients):
    command = [args.trine, "bench", "serve", "--url", url, "--clients", clients, "--json"]
    command += ["--seconds", str(args.seconds), "--patience", str(args.patience)]
    command += ["--questions", args.questions] if args.questions else []
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(found.stdout)["steps"][0]


def table(measured):
    ours, theirs = (measured[peer] for peer in PEERS)
    lines = ["| | trine | Python | ratio |", "|---|---|---|---|"]

    def line(what, a, b, digits):
        lines.append(f"| {what} | {a:.{digits}f} | {b:.{digits}f} | {a / b:.3f} |")

    for a, b in zip(ours["steps"], theirs["steps"]):
        clients = a["clients"]
        line(f"{clients} clients, requests/s", a["requests_per_second"], b["requests_per_second"], 2)
        for share in ("p50", "p99"):
            pair = (step["latency_ms"][share] / 1000 for step in (a, b))
            line(f"{clients} clients, {share}, s", *pair, 2)
        for step, peer in ((a, "trine"), (b, "Python")):
            bad = {k: step[k] for k in ("refused", "other", "unfinished") if step[k]}
            if bad:
                lines.append(f"| {clients} clients, {peer}: {bad} | | | |")
    line("memory at rest, MiB", ours["rest_mib"], theirs["rest_mib"], 0)
    line("memory at most, MiB", ours["peak_mib"], theirs["peak_mib"], 0)
    starts = (statistics.median(peer["start_s"]) for peer in (ours, theirs))
    line("start to first answer, s", *starts, 2)
    first = ours["first_start_s"]
    lines.append(f"| the same, nothing compiled yet, s | {first:.2f} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
