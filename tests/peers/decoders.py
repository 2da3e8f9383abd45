"""Makes a random decoder of SmolLM2-135M's shape and what transformers makes of it.

    python decoders.py OUT

Into OUT go the model as a folder of safetensors and as GGUF files (F32, and Q8_0 and Q4_0 as gguf-py
quantises them), `logits` of the prompt's first positions as f32, and `expected.json`: a prompt, greedy
text after its first tokens, and of each quantised file the likeliest token after each of the prompt's,
computed with the dequantised weights. `host/inference/tests/peers.rs` compares.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers

PROMPT, POSITIONS, GREEDY = 512, 64, 200
SHAPE = dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
             num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5,
             rope_theta=10000.0, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def in_gguf(name):
    for ours, theirs in {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}.items():
        if name == f"{ours}.weight":
            return f"{theirs}.weight"
    layer, module = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
    return f"blk.{layer}.{NAMES[module]}.weight"


def turned(name, weight, config):
    """Rows of queries and keys in the order in which GGUF's Llama turns them."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for projection, count in heads.items():
        if projection in name:
            rows, columns = weight.shape
            return weight.reshape(count, 2, rows // count // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return weight


def metadata(writer, config):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)


def write(path, model, kind):
    """The model as GGUF. Returns each weight as the file has it."""
    writer = gguf.GGUFWriter(path, "llama")
    metadata(writer, model.config)
    stored = {}
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        if weight.ndim == 1 or kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(in_gguf(name), np.ascontiguousarray(turned(name, weight, model.config)))
            continue
        # Blocks lie along rows, so that their order does not matter to them.
        quantised = gguf.quants.quantize(weight, kind)
        writer.add_tensor(in_gguf(name), np.ascontiguousarray(turned(name, quantised, model.config)), raw_dtype=kind)
        stored[name] = torch.from_numpy(gguf.quants.dequantize(quantised, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


def main(out):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SHAPE)
    model = transformers.LlamaForCausalLM(config).eval()
    prompt = torch.randint(10, 49000, (1, PROMPT))

    def logits(tokens):
        with torch.no_grad():
            return model(tokens).logits[0]

    start = prompt[:, :POSITIONS]
    model.save_pretrained(out / "folder")
    write(out / "F32.gguf", model, gguf.GGMLQuantizationType.F32)
    logits(start).numpy().astype("<f4").tofile(out / "logits")
    with torch.no_grad():
        greedy = model.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=GREEDY,
                                do_sample=False, eos_token_id=None, pad_token_id=0)[0, POSITIONS:]
    original = {name: parameter.clone() for name, parameter in model.named_parameters()}
    likeliest = {}
    for kind in ("Q8_0", "Q4_0"):
        stored = write(out / f"{kind}.gguf", model, gguf.GGMLQuantizationType[kind])
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(stored.get(name, parameter))
            likeliest[kind] = logits(prompt).argmax(1).tolist()
            for name, parameter in model.named_parameters():
                parameter.copy_(original[name])
    expected = {"prompt": prompt[0].tolist(), "greedy": greedy.tolist(), "likeliest": likeliest}
    (out / "expected.json").write_text(json.dumps(expected))


main(pathlib.Path(sys.argv[1]))
