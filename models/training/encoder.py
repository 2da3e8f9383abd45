"""all-MiniLM-L6-v2 with a low-rank adapter, in plain PyTorch.

The base's weights are frozen; every linear layer of the encoder learns an update of rank r
(LoRA, Hu et al. 2021), and its biases and layer norms learn too. The adapter's update is merged
into the weight before it is used, in training as in trine, so that what was trained is what runs.
Attention is written out: on CPUs its backward pass is twice as fast as the fused one's.
"""

import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

LINEARS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
NORMS = ("attention.output.LayerNorm", "output.LayerNorm")


class Adapted(nn.Module):
    """A linear layer `[out, in]` and its update of rank `rank`."""

    def __init__(self, weight, bias, rank):
        super().__init__()
        self.register_buffer("frozen", weight, persistent=False)
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / math.sqrt(weight.shape[1]))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))
        self.bias = nn.Parameter(bias.clone())

    def merged(self):
        return self.frozen + self.up @ self.down

    def forward(self, x):
        return F.linear(x, self.merged().to(x.dtype), self.bias.to(x.dtype))


class Layer(nn.Module):
    def __init__(self, base, prefix, rank, heads, dropped):
        super().__init__()
        self.heads, self.dropped = heads, dropped
        take = lambda name: (base[f"{prefix}.{name}.weight"], base[f"{prefix}.{name}.bias"])
        self.linear = nn.ModuleList(Adapted(*take(name), rank) for name in LINEARS)
        self.norm = nn.ModuleList()
        for name in NORMS:
            weight, bias = take(name)
            norm = nn.LayerNorm(len(weight), eps=1e-12)
            norm.load_state_dict({"weight": weight, "bias": bias})
            self.norm.append(norm)

    def forward(self, x, mask):
        query, key, value, out, widen, narrow = self.linear
        n, length, width = x.shape
        split = lambda y: y.view(n, length, self.heads, -1).transpose(1, 2)
        q, k, v = split(query(x)), split(key(x)), split(value(x))
        scores = (q * (width // self.heads) ** -0.5) @ k.transpose(-1, -2) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width)
        x = normed(self.norm[0], x + self.dropped(out(mixed)))
        return normed(self.norm[1], x + self.dropped(narrow(F.gelu(widen(x)))))


def normed(norm, x):
    return norm(x.float()).to(x.dtype)


class Dropped(nn.Module):
    """Dropout of the same features for all tokens of a text (Gal and Ghahramani 2016), which asks for
    little chance: on CPUs that is what dropout costs."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, x):
        """`x` is `[n, length, width]`."""
        if not self.share or not self.training:
            return x
        return x * F.dropout(torch.ones_like(x[:, :1]), self.share)


class Encoder(nn.Module):
    """Token ids `[n, length]` -> token vectors `[n, length, 384]`."""

    def __init__(self, folder, rank, heads=12, dtype=torch.bfloat16, dropout=0.0):
        """The base of `folder`; `dropout` is that of embeddings and of what each layer adds."""
        super().__init__()
        base = load_file(Path(folder) / "model.safetensors")
        layers = 1 + max(int(k.split(".")[2]) for k in base if k.startswith("encoder.layer."))
        self.dtype, self.dropped = dtype, Dropped(dropout)
        for name in ("word", "position", "token_type"):
            weight = base[f"embeddings.{name}_embeddings.weight"]
            self.register_buffer(name, weight, persistent=False)
        self.register_buffer("scale", base["embeddings.LayerNorm.weight"], persistent=False)
        self.register_buffer("shift", base["embeddings.LayerNorm.bias"], persistent=False)
        self.layers = nn.ModuleList(
            Layer(base, f"encoder.layer.{i}", rank, heads, self.dropped) for i in range(layers)
        )

    def forward(self, ids, lengths, types=None):
        n, length = ids.shape
        x = self.word[ids] + self.position[:length]
        x = x + (self.token_type[types] if types is not None else self.token_type[0])
        x = F.layer_norm(x, x.shape[-1:], self.scale, self.shift, 1e-12).to(self.dtype)
        x = self.dropped(x)
        padding = torch.arange(length)[None] >= lengths[:, None]
        mask = padding[:, None, None].to(self.dtype) * -30000.0
        for layer in self.layers:
            x = layer(x, mask)
        return x


def adapter_tensors(encoder):
    """The adapter by the base's names: `NAME.down`, `NAME.up`, and whole biases and norms."""
    tensors = {}
    for i, layer in enumerate(encoder.layers):
        for name, linear in zip(LINEARS, layer.linear):
            key = f"encoder.layer.{i}.{name}"
            tensors[f"{key}.weight.down"] = linear.down
            tensors[f"{key}.weight.up"] = linear.up
            tensors[f"{key}.bias"] = linear.bias
        for name, norm in zip(NORMS, layer.norm):
            tensors[f"encoder.layer.{i}.{name}.weight"] = norm.weight
            tensors[f"encoder.layer.{i}.{name}.bias"] = norm.bias
    return tensors


def blended(encoder, base, share):
    """Moves a trained encoder back towards `base`, the same one untrained: `share` of the way from the
    base is left. What was learnt in training's domains then costs less outside them (WiSE-FT,
    Wortsman et al. 2022)."""
    begun = dict(base.named_parameters())
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            # Of an update's two factors one is scaled, and the other left.
            if not name.endswith(".down"):
                weight.lerp_(begun[name], 1 - share)


def write_adapter(path, encoder, head, metadata):
    """The file that trine ships: f16, the head's tensors beside the adapter's."""
    tensors = adapter_tensors(encoder) | head
    tensors = {k: v.detach().to(torch.float16).contiguous() for k, v in tensors.items()}
    save_file(tensors, path, metadata={k: str(v) for k, v in metadata.items()})


def padded(rows, fill=0):
    """Lists of unequal length -> `[n, longest]` and their lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    out = torch.full((len(rows), int(lengths.max())), fill)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.as_tensor(row)
    return out, lengths
