"""Makes tiny-cross-encoder/: a random BertForSequenceClassification of 32 hidden units and two
layers, a WordPiece tokenizer trained on our own words, and golden.json: the token ids and logits
that transformers makes of pairs of texts.

    python make_tiny_cross_encoder.py
"""

import json
import pathlib

import tokenizers
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from texts import FOREIGN, ODD, ORDINARY

FOLDER = pathlib.Path(__file__).parent / "tiny-cross-encoder"
WINDOW = 64


def make_tokenizer():
    """A lower-case WordPiece tokenizer with BERT's special tokens."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(ORDINARY, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def main():
    torch.manual_seed(7)
    tokenizer = make_tokenizer()
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=72,
        max_position_embeddings=WINDOW,
        num_labels=1,
        # Wide enough that attention, GELU and tanh leave their linear parts.
        initializer_range=0.4,
    )
    model = transformers.BertForSequenceClassification(config).eval()
    with torch.no_grad():
        # transformers starts biases at 0 and norms at 1, which would hide a mix-up.
        for name, weight in model.named_parameters():
            if name.endswith(".bias") or "LayerNorm" in name:
                weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(FOLDER, safe_serialization=True)
    tokenizer.save(str(FOLDER / "tokenizer.json"))

    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=WINDOW,
        pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    pairs = [(ORDINARY[i], ORDINARY[(i * 7 + 3) % 50]) for i in range(0, 50, 5)]
    pairs += [
        (ORDINARY[0], " ".join(ORDINARY[:20])),
        (" ".join(ORDINARY[20:40]), ORDINARY[2]),
        (" ".join(ORDINARY[:20]), " ".join(FOREIGN)),
        ("", ORDINARY[1]),
        (FOREIGN[10], ODD[3]),
        (ODD[13], ODD[5]),
    ]
    cases = []
    with torch.no_grad():
        for first, second in pairs:
            cut = fast(first, second, truncation="longest_first", max_length=WINDOW,
                       return_token_type_ids=True)
            whole = fast(first, second)
            logits = model(
                input_ids=torch.tensor([cut["input_ids"]]),
                attention_mask=torch.tensor([cut["attention_mask"]]),
                token_type_ids=torch.tensor([cut["token_type_ids"]]),
            ).logits[0]
            cases.append({
                "first": first,
                "second": second,
                "ids": cut["input_ids"],
                "type_ids": cut["token_type_ids"],
                "truncated": len(whole["input_ids"]) - len(cut["input_ids"]),
                "logits": logits.tolist(),
            })
    golden = {
        "made_with": {
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__,
        },
        "window": WINDOW,
        "cases": cases,
    }
    (FOLDER / "golden.json").write_text(json.dumps(golden, ensure_ascii=True, indent=0) + "\n")
    for file in sorted(FOLDER.iterdir()):
        print(file.name, file.stat().st_size)


main()
