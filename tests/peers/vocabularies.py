"""Trains small tokenizers of each kind that trine reads, and says what their own libraries make of 2,000
strings of mixed scripts, emoji, whitespace and code.

    python vocabularies.py OUT

Into OUT go, for each, NAME.gguf with the vocabulary alone, for byte-level BPE NAME/tokenizer.json as well,
`strings.json`, and `expected.json`: of each NAME the ids of each string. `host/inference/tests/peers.rs`
compares. Byte-level BPE is held to Hugging Face's tokenizers, SentencePiece to llama.cpp.
"""

import io
import json
import pathlib
import random
import sys

import gguf
import llama_cpp
import sentencepiece
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

STRINGS, VOCABULARY = 2000, 1500
SCRIPTS = [
    "The quick brown fox jumps over the lazy dog's 3 friends, doesn't it? I'LL SAY: we've 1234567 reasons.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. L'œuvre naïve d'été où ça gêne.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю в 2026 году.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ἐν ἀρχῇ ἦν ὁ λόγος.",
    "敏捷的棕色狐狸跳过了懒狗。我能吞下玻璃而不伤身体。価格は一二三円です。いろはにほへとちりぬるを。カタカナ",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "نص حكيم له سر قاطع وذو شأن عظيم ١٢٣٤ مكتوب. דג סקרן שט בים מאוכזב",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश। กฎหมายไทย ตัวอย่าง",
    "👩‍👩‍👧‍👦 🇩🇪 ❤️ 😀😃 👍🏽 ✨ ✓ ½ ² Ⅷ ﬁ e\u0301 n\u0303 Å ﷺ ‮ \u200b\u00a0\u3000\ufeff",
    "fn main() { let x: u32 = 0xFF_u32 << 3; println!(\"{x:>8}\\n\"); } // -> a[i]+=b;\n\tfor (;;) {}\r\n",
    "  \t\n\n \r\n   \n  ",
    "https://example.com/a?b=c&d=%20#e <|not|> {{ x }} <b>&amp;</b> $1,234.56 a_b-c.d/e\\f ~`^|@",
]


def strings():
    """Drawn from a fixed seed: words and single characters of all scripts, in all mixtures."""
    draw = random.Random(7)
    words = [word for text in SCRIPTS for word in text.split(" ")]
    characters = [character for text in SCRIPTS for character in text]
    found = list(SCRIPTS) + ["", " ", "a", "  a", "a  ", "\n", "\n\n\na"]
    while len(found) < STRINGS:
        parts = []
        for _ in range(draw.randint(1, 24)):
            parts.append(draw.choice(words if draw.random() < 0.6 else characters))
            parts.append(draw.choice(["", " ", " ", " ", "  ", "\n", "\t", "   ", "\r\n"]))
        found.append("".join(parts))
    return found


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
PRE = {
    "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)],
    "qwen2": [pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"),
              pre_tokenizers.ByteLevel(False, use_regex=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False, use_regex=True)],
    "gpt-2": [pre_tokenizers.ByteLevel(False, use_regex=True)],
}
CONTROL = ["<|begin|>", "<|end|>"]
NORMAL, UNKNOWN_TYPE, CONTROL_TYPE, BYTE_TYPE = 1, 2, 3, 6


def writer(path, model):
    """A GGUF of a decoder's numbers and no tensors."""
    file = gguf.GGUFWriter(path, "llama")
    for add in (file.add_context_length, file.add_embedding_length, file.add_feed_forward_length):
        add(64)
    for add in (file.add_block_count, file.add_head_count, file.add_head_count_kv):
        add(1)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(64)
    file.add_tokenizer_model(model)
    return file


def finish(file, texts, types):
    file.add_vocab_size(len(texts))
    file.add_token_list(texts)
    file.add_token_types(types)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def byte_level(out, name, corpus):
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=name.startswith("llama")))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(PRE[name])
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=CONTROL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus, trainer)
    (out / name).mkdir()
    tokenizer.save(str(out / name / "tokenizer.json"))
    model = json.loads(tokenizer.to_str())["model"]
    texts = sorted(model["vocab"], key=model["vocab"].get)
    file = writer(out / f"{name}.gguf", "gpt2")
    file.add_tokenizer_pre(name)
    file.add_token_merges([" ".join(pair) for pair in model["merges"]])
    file.add_add_bos_token(False)
    finish(file, texts, [CONTROL_TYPE if text in CONTROL else NORMAL for text in texts])
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def sentence_piece(out, name, corpus):
    trained = io.BytesIO()
    lines = (line for text in corpus for line in text.splitlines() if line.strip())
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=trained, model_type="bpe", vocab_size=VOCABULARY, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, character_coverage=0.98, minloglevel=2)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    ids = range(pieces.get_piece_size())

    def kind(id):
        known = [(pieces.is_unknown, UNKNOWN_TYPE), (pieces.is_control, CONTROL_TYPE), (pieces.is_byte, BYTE_TYPE)]
        return next((kind for of, kind in known if of(id)), NORMAL)

    path = out / f"{name}.gguf"
    file = writer(path, "llama")
    file.add_token_scores([pieces.get_score(id) for id in ids])
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_unk_token_id(0)
    finish(file, [pieces.id_to_piece(id) for id in ids], [kind(id) for id in ids])
    return in_llama_cpp(path)


def in_llama_cpp(path):
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    return lambda text: model.tokenize(text.encode(), add_bos=False, special=False)


def main(out):
    all_strings = strings()
    corpus = SCRIPTS * 3 + all_strings[::3]
    expected, apart = {}, {}
    for name in PRE:
        encode = byte_level(out, name, corpus)
        expected[name] = [encode(text) for text in all_strings]
        other = in_llama_cpp(out / f"{name}.gguf")
        apart[name] = sum(other(text) != ids for text, ids in zip(all_strings, expected[name]))
    encode = sentence_piece(out, "sentencepiece", corpus)
    expected["sentencepiece"] = [encode(text) for text in all_strings]
    (out / "strings.json").write_text(json.dumps(all_strings))
    (out / "expected.json").write_text(json.dumps(expected))
    print("strings that llama.cpp and tokenizers cut apart differently:", apart)


main(pathlib.Path(sys.argv[1]))
