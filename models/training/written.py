"""Questions that were written for the training's passages, answerable ones and ones that are not.

    python written.py --data QA_DIR --dump WHEEL_DIR --out FOLDER   # the passages, to write questions of

`written.jsonl.gz` holds them: `passage` is the id of one of SQuADShifts' passages, the number of a
stretch of squad_qg_pairs (`stretches`), of a section of documentation (`documents`) or of a paragraph of
Wikipedia (`wikipedia.py`); `answer` is null where nothing in the passage answers. Those are of the kinds
that annotators of SQuAD 2.0 used (Rajpurkar et al. 2018, table 2), each with a plausible wrong answer in
its passage; most have an answerable twin. They were written by a language model that read the passage
and what people asked of it.
`marked.jsonl.gz` holds where the answers to people's questions stand in those stretches, marked by the
same. `written.md` is what it was told.
"""

import argparse
from pathlib import Path
from random import Random

import wikipedia
from sources import DOCUMENTS, sections
from texts import SENTENCE, corpus, evaluated, found, rows, squeezed

FILE = Path(__file__).with_name("written.jsonl.gz")
MARKED = Path(__file__).with_name("marked.jsonl.gz")
# Characters and sentences of a stretch, at least and at most; characters of a passage that is shown.
STRETCH, SENTENCES, SHOWN = 650, 5, 1500
HELD = {"ne": 10, "wiki": 25}


def passages(data, dump):
    """Passages by id, their white space made single: what the answers' places refer to."""
    texts = {
        key: " ".join(text.split())
        for folder in sorted(data.glob("squadshifts_*_train"))
        for key, (_, text) in corpus(folder).items()
    }
    texts |= {key: text for key, text, _ in stretches(data)}
    return texts | dict(documents(data)) | dict(wikipedia.paragraphs(dump))


def stretches(data):
    """(id, text, questions) of neighbouring sentences of squad_qg_pairs: what people asked, and where
    the sentence begins that they asked of."""
    asked = {}
    for row in rows(data / "squad_qg_pairs/nqg_test.jsonl.gz"):
        asked.setdefault(row["sentence"], []).append(unspaced(row["question"]))
    part, number = [], 0
    for sentence in asked:
        part.append(sentence)
        if sum(map(len, part)) >= STRETCH or len(part) == SENTENCES:
            yield f"qg-{number}", *joined(part, asked)
            part, number = [], number + 1
    if part:
        yield f"qg-{number}", *joined(part, asked)


def joined(sentences, asked):
    text, questions = "", []
    for sentence in sentences:
        questions += [(question, len(text)) for question in asked[sentence]]
        text += unspaced(sentence) + " "
    return text.strip(), questions


def documents(data):
    """Sections of documentation, drawn at random; none of the handbooks that trine's threshold is set
    by."""
    kept = [name for name in DOCUMENTS if name not in ("gsa_tts_handbook", "spin_docs")]
    texts = [f"{heading}. {text}" for _, heading, text in sections(data.parent, kept)]
    texts = [text for text in dict.fromkeys(texts) if len(text) > 350]
    drawn = Random(8).sample(texts, min(300, len(texts)))
    return ((f"doc-{number}", text) for number, text in enumerate(drawn))


def held(row):
    """Whether a question is kept to choose by: those of one passage in `HELD` of either Wikipedia."""
    source, _, number = row["passage"].partition("-")
    return source in HELD and int(number.removeprefix("t")) % HELD[source] == 0


def held_out():
    return [row for row in rows(FILE) if held(row)]


def questions(data, dump):
    """(id, question, passage, start, end) to train on: where the answer stands, or None twice."""
    texts, judged = passages(data, dump), evaluated(data)
    for row in rows(FILE):
        if held(row):
            continue
        text = texts[row["passage"]]
        if row["passage"].startswith(("qg-", "wiki-")) and shared(text, judged):
            continue
        if row["answer"] is None:
            yield row["passage"], row["question"], text, None, None
            continue
        start = text.lower().find(row["answer"].lower())
        if start >= 0:
            yield row["passage"], row["question"], text, start, start + len(row["answer"])


def shared(text, judged):
    """Whether a sentence of the text stands in a set that is kept for evaluation."""
    return any(squeezed(s) in judged for s in SENTENCE.split(text) if len(s) > 40)


def marked(data):
    """(id of the stretch, question, span): people's questions of squad_qg_pairs, with their answers."""
    asked = {key: (text, questions) for key, text, questions in stretches(data)}
    judged = evaluated(data)
    for row in rows(MARKED):
        text, questions = asked[row["passage"]]
        question, begin = questions[row["number"]]
        # Mostly in its own sentence.
        start = text.find(row["answer"], begin)
        start = start if start >= 0 else text.find(row["answer"])
        if start >= 0 and not shared(text, judged):
            yield row["passage"], question, (start, start + len(row["answer"]))


MARKS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "``": '"', "''": '"'}


def unspaced(text):
    """What the Penn Treebank's tokens were before: brackets and quotes (the base's tokenizer parts
    punctuation anyway)."""
    for token, mark in MARKS.items():
        text = text.replace(token, mark)
    return text


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder of the question sets")
    options.add_argument("--dump", type=Path, required=True, help="folder of gensim's wheel")
    options.add_argument("--out", type=Path, required=True)
    o = options.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    for folder in sorted(o.data.glob("squadshifts_*_train")):
        asked = {}
        for row in found(folder, "qa"):
            answer = f"  => {row['answers'][0]['text'][:80]}" if row["answers"] else ""
            asked.setdefault(row["passage_id"], []).append(row["question"].strip() + answer)
        texts = corpus(folder).items()
        show(o.out / f"{folder.name}.txt", ((k, " ".join(t.split()), asked.get(k, [])) for k, (_, t) in texts))
    parts = ((key, text, [q for q, _ in asked]) for key, text, asked in stretches(o.data))
    show(o.out / "squad_qg_pairs.txt", parts)
    show(o.out / "documents.txt", ((key, text, []) for key, text in documents(o.data)))
    show(o.out / "wikipedia.txt", ((key, text, []) for key, text in wikipedia.paragraphs(o.dump)))


def show(path, items):
    with open(path, "w") as out:
        for key, text, asked in items:
            print(f"### {key}\n{text[:SHOWN]}", *(f"  - {q}" for q in asked[:6]), sep="\n", file=out)


if __name__ == "__main__":
    main()
