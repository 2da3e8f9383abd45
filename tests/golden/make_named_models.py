"""Makes named-models.json: what sentence-transformers and transformers compute with tiny models of
each kind that people bring by name: sentence encoders (multi-qa-MiniLM and its like, mean or CLS
pooling), cross-encoders (ms-marco-MiniLM), and DPR's two encoders.

    python make_named_models.py

No weights are kept: tensor number `n` of a model, in the order of its state, has as element `i` the
upper 24 bits of SplitMix64's number `i` from the seed `n << 32`, as a share of 2^24, less 0.5; half
of that for vectors, plus 1 for the gains of normalisations. Readers make the same numbers.
"""

import json
import pathlib
import tempfile

import numpy
import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as models

from texts import FOREIGN, ODD, ORDINARY

HERE = pathlib.Path(__file__).parent
SHAPE = dict(vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
             intermediate_size=64, max_position_embeddings=48)


def numbers(number, shape):
    count = int(numpy.prod(shape))
    with numpy.errstate(over="ignore"):
        steps = numpy.arange(1, count + 1, dtype=numpy.uint64)
        x = numpy.uint64(number << 32) + steps * numpy.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        x = x ^ (x >> numpy.uint64(31))
    values = (x >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(1 << 24) - numpy.float32(0.5)
    return values.reshape(shape)


def fill(model):
    """Gives the model its numbers; the names and shapes of its tensors."""
    tensors = []
    with torch.no_grad():
        for number, (name, parameter) in enumerate(sorted(model.named_parameters())):
            shape = list(parameter.shape)
            values = numbers(number, shape)
            if len(shape) == 1:
                values = values / numpy.float32(2)
                if name.endswith("LayerNorm.weight"):
                    values = values + numpy.float32(1)
            parameter.copy_(torch.from_numpy(values))
            tensors.append([name, shape])
    return tensors


def tokenizer():
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(HERE / "tiny-cross-encoder" / "tokenizer.json"), model_max_length=48,
        pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


TEXTS = ORDINARY[:5] + [" ".join(ORDINARY[:20]), FOREIGN[0], ODD[3]]


def case(encoded, output):
    return {
        "ids": encoded["input_ids"], "type_ids": encoded["token_type_ids"],
        "output": [round(float(value), 7) for value in output],
    }


def encode(*texts):
    return tokenizer()(*texts, truncation=True, max_length=48, return_token_type_ids=True)


def tensors_of(encoded):
    return {name: torch.tensor([ids]) for name, ids in encoded.items()}


def files(folder):
    """The folder's JSON files that decide what a model computes."""
    wanted = ["config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
              "tokenizer_config.json"]
    found = [name for name in wanted if (folder / name).is_file()]
    return {name: json.loads((folder / name).read_text()) for name in found}


def sentence_encoder(name, pooling, normalized):
    model = transformers.BertModel(transformers.BertConfig(**SHAPE)).eval()
    with tempfile.TemporaryDirectory() as raw, tempfile.TemporaryDirectory() as folder:
        tensors = fill(model)
        model.save_pretrained(raw)
        tokenizer().save_pretrained(raw)
        transformer = models.Transformer(raw, max_seq_length=40)
        parts = [transformer, models.Pooling(SHAPE["hidden_size"], pooling_mode=pooling)]
        parts += [models.Normalize()] if normalized else []
        whole = SentenceTransformer(modules=parts, device="cpu")
        whole.save(folder)
        outputs = whole.encode(TEXTS)
        cases = [case(tokenizer()(text, truncation=True, max_length=40), output)
                 for text, output in zip(TEXTS, outputs)]
        return {"name": name, "files": files(pathlib.Path(folder)), "tensors": tensors, "cases": cases}


def cross_encoder(name):
    config = transformers.BertConfig(**SHAPE, num_labels=1)
    model = transformers.BertForSequenceClassification(config).eval()
    tensors = fill(model)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        pairs = [(ORDINARY[0], text) for text in TEXTS]
        encoded = [encode(*pair) for pair in pairs]
        cases = [case(e, model(**tensors_of(e)).logits[0]) for e in encoded]
        return {"name": name, "files": files(pathlib.Path(folder)), "tensors": tensors, "cases": cases}


def dpr(name, kind):
    model = kind(transformers.DPRConfig(**SHAPE)).eval()
    tensors = fill(model)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        encoded = [encode(text) for text in TEXTS]
        cases = [case(e, model(**tensors_of(e)).pooler_output[0]) for e in encoded]
        return {"name": name, "files": files(pathlib.Path(folder)), "tensors": tensors, "cases": cases}


def main():
    golden = {
        "made_with": {
            "sentence_transformers": sentence_transformers.__version__,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        },
        "models": [
            sentence_encoder("mean pooling, normalised", "mean", True),
            sentence_encoder("cls pooling", "cls", False),
            cross_encoder("cross-encoder"),
            dpr("dpr question encoder", transformers.DPRQuestionEncoder),
            dpr("dpr context encoder", transformers.DPRContextEncoder),
        ],
    }
    # A line a case.
    text = json.dumps(golden, ensure_ascii=True).replace('{"ids"', '\n{"ids"')
    (HERE / "named-models.json").write_text(text + "\n")
    for model in golden["models"]:
        print(model["name"], model["files"].keys(), model["cases"][0]["output"][:3])


main()
