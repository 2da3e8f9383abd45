"""Makes tiny-reader/: an adapter, random like its base tiny-cross-encoder/, that makes a
BertForQuestionAnswering of it, and golden.json: the start and end logits of transformers with the
adapter merged.

    python make_tiny_reader.py
"""

import json
import pathlib

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
BASE, FOLDER = HERE / "tiny-cross-encoder", HERE / "tiny-reader"
RANK = 3


def main():
    torch.manual_seed(8)
    config = transformers.BertConfig.from_pretrained(BASE, num_labels=2)
    model = transformers.BertForQuestionAnswering(config).eval()
    weights = load_file(BASE / "model.safetensors")
    random = lambda *shape: (torch.randn(*shape) * 0.3).half()
    adapter = {"qa_outputs.weight": random(2, config.hidden_size), "qa_outputs.bias": random(2)}
    merged = {k: v for k, v in weights.items() if k.startswith("bert.") and "pooler" not in k}
    for name, weight in list(merged.items()):
        own = name.removeprefix("bert.")
        if not own.startswith("encoder.layer."):
            continue
        if weight.ndim == 2:
            up, down = random(weight.shape[0], RANK), random(RANK, weight.shape[1])
            adapter[f"{own}.up"], adapter[f"{own}.down"] = up, down
            merged[name] = weight + up.float() @ down.float()
        else:
            adapter[own] = (weight + random(*weight.shape).float()).half()
            merged[name] = adapter[own].float()
    head = {k: v.float() for k, v in adapter.items() if k.startswith("qa_outputs")}
    left = model.load_state_dict(merged | head, strict=False)
    assert not left.missing_keys and not left.unexpected_keys, left
    FOLDER.mkdir(exist_ok=True)
    said = {"base": "tiny-cross-encoder", "kind": "reader", "max_tokens": "48"}
    save_file(adapter, FOLDER / "adapter.safetensors", metadata=said)

    cases = []
    with torch.no_grad():
        for case in json.loads((BASE / "golden.json").read_text())["cases"]:
            found = model(
                input_ids=torch.tensor([case["ids"]]),
                token_type_ids=torch.tensor([case["type_ids"]]),
            )
            cases.append({
                "ids": case["ids"],
                "type_ids": case["type_ids"],
                "start": found.start_logits[0].tolist(),
                "end": found.end_logits[0].tolist(),
            })
    made_with = {"torch": torch.__version__, "transformers": transformers.__version__}
    golden = {"made_with": made_with, "cases": cases}
    (FOLDER / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
