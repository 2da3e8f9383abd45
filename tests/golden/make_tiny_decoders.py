"""Makes tiny-decoders.json: small random decoders of the Llama family, each given by its configuration
and the seed of its weights, and what transformers makes of some tokens: logits and greedy text.

The weights are not kept: a tensor is numbers of a linear congruential generator that begins with its
name, which `host/inference/tests/decoders.rs` makes again.

    python make_tiny_decoders.py
"""

import json
import pathlib

import numpy as np
import torch
import transformers

FILE = pathlib.Path(__file__).parent / "tiny-decoders.json"
VOCABULARY, TOKENS, GREEDY = 320, 64, 40
SCALING = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 32},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
}
SMALL = dict(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
             rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
CASES = {
    "llama": ("Llama", {}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    "llama-odd-heads": ("Llama", {"hidden_size": 72, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 18,
                                  "attention_bias": True}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_theta": 10000.0, **SCALING["linear"]}}),
    "llama-llama3": ("Llama", {"rope_parameters": {"rope_theta": 500000.0, **SCALING["llama3"]}}),
    "llama-yarn": ("Llama", {"rope_parameters": {"rope_theta": 10000.0, **SCALING["yarn"]}}),
    "mistral": ("Mistral", {"sliding_window": 20}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2-window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
}


def numbers(name, count):
    """Numbers in [-1, 1), as `trine_kernels::parity::numbers` makes them."""
    seed = 1
    for byte in name.encode():
        seed = (seed * 131 + byte) % (1 << 40)
    state, mask = (seed * 0x9E3779B97F4A7C15) & (2**64 - 1) | 1, 2**64 - 1
    drawn = np.empty(count, np.float32)
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        drawn[i] = np.float32(state >> 40) / np.float32(1 << 23) - np.float32(1)
    return drawn


def fill(name, parameter):
    """Norms about 1, matrices wide enough that attention is not flat."""
    drawn = torch.from_numpy(numbers(name, parameter.numel())).reshape(parameter.shape)
    parameter.copy_(1 + drawn * 0.2 if "norm" in name else drawn * 0.2)


def main():
    cases = []
    for name, (family, changes) in CASES.items():
        config = getattr(transformers, f"{family}Config")(**{**SMALL, **changes})
        model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
        tokens = torch.tensor([[(i * 37 + 11) % VOCABULARY for i in range(TOKENS)]])
        with torch.no_grad():
            for tensor, parameter in model.named_parameters():
                fill(tensor, parameter)
            logits = model(tokens).logits[0]
            greedy = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=GREEDY, do_sample=False,
                                    eos_token_id=None, pad_token_id=0, use_cache=True)[0, TOKENS:]
        cases.append({
            "name": name,
            "config": config.to_dict() | {"architectures": [f"{family}ForCausalLM"]},
            "shapes": {tensor: list(p.shape) for tensor, p in model.named_parameters()},
            "tokens": tokens[0].tolist(),
            # Of each position, three of its logits, other ones each time, and where the largest is.
            "logits": [[float(row[(at * 5 + i * 101) % VOCABULARY]) for i in range(3)]
                       for at, row in enumerate(logits)],
            "likeliest": logits.argmax(1).tolist(),
            "greedy": greedy.tolist(),
        })
        print(name, float(logits.std()))
    made_with = {"transformers": transformers.__version__, "torch": torch.__version__}
    FILE.write_text(json.dumps({"made_with": made_with, "cases": cases}, indent=0) + "\n")
    print(FILE.stat().st_size)


main()
