"""What the reader learns from: questions with a passage, now answerable, now not.

Every passage stands with questions that it answers and with such as it does not; every way to make an
unanswerable question has its answerable counterpart, so that neither tells by its style alone. The
written questions come in pairs: one that the passage does not answer, and one like it that it does
(contrast sets, Gardner et al. 2020).
"""

import re
from collections import Counter
from random import Random
from typing import NamedTuple

import torch

import unanswerable
import written
from texts import CLS, SEP, TRAINED_ON, beside, corpus, found, mined_from

WINDOW, SHORTEST = 320, 128
QUESTION = 48
# The share of the pairs, once they are drawn; of them, of those of Wikipedia's paragraphs, of those whose
# questions are as alike as can be, and of those that are read without most of the passage.
WRITTEN, WIKIPEDIA, ALIKE, CLOSE = 0.6, 0.5, 0.7, 0.2
# A question's passages that are told from each other, and of how many that are nearest they are drawn.
LIST, NEAREST = 4, 6


class Question(NamedTuple):
    """A question, its passage, and where in the passage answers lie."""

    text: str
    passage: str
    # Of each answer its first and last character's end, as often as annotators gave it.
    answers: list
    # Passages that are near or rank high, and do not hold the answer.
    near: list


class Examples:
    """Questions with their passages; each call makes one example, now answerable, now not."""

    def __init__(self, data, pairs, dump, rivals, mined, pieces, table):
        self.pieces, self.changes = pieces, unanswerable.Changes(pieces, table)
        self.questions = [q for name in TRAINED_ON for q in marked(data, pairs, name)]
        self.questions += of_stretches(data)
        # Those of Wikipedia's paragraphs, and the others.
        self.pairs = {True: [], False: []}
        for passage, *pair in paired(self.questions, written.questions(data, dump)):
            self.pairs[passage.startswith("wiki-")].append(pair)
        if rivals:
            near = [q for q in self.questions if q.near]
            self.rivals = {False: near, True: list(ranked_beside(rivals))}
        if mined:
            told = told_from(mined)
            with_told = lambda q: q._replace(near=told.get((q.text, q.passage), []))
            for key, some in self.rivals.items():
                self.rivals[key] = [q for q in map(with_told, some) if q.near]

    def pair(self, chance):
        """An unanswerable question and an answerable one of the same passage, each as `draw` has it."""
        asked, answerable = chance.choice(self.pairs[chance.random() < WIKIPEDIA])
        other = answerable[0] if chance.random() < ALIKE else chance.choice(answerable)
        if chance.random() < CLOSE:
            # What looks like an answer is read a second time, with little around it.
            text, passage, start, end = other
            low, high = beside(passage, start, end)
            passage = passage[low:high]
            return (asked[0], passage, None, None), (text, passage, start - low, end - low)
        return asked, other

    def lists(self, chance, count):
        """`count` questions of about the same length, each with the passage that answers and, after it,
        `LIST - 1` that are near, rank high, or were mined."""
        drawn = []
        for _ in range(4 * count):
            q = chance.choice(self.rivals[chance.random() < WIKIPEDIA])
            near = chance.sample(q.near[:NEAREST], min(len(q.near), LIST - 1))
            while len(near) < LIST - 1:
                near.append(chance.choice(self.questions).passage)
            others = [(q.text, text, None, None) for text in near]
            drawn.append([answered(q.text, q.passage, q.answers, chance), *others])
        drawn.sort(key=lambda rows: max(len(row[1]) for row in rows))
        first = count * chance.randrange(4)
        return [row for rows in drawn[first : first + count] for row in rows]

    def draw(self, index, chance):
        """(question, passage, start, end); start is None when the passage does not answer: four of ten."""
        q = self.questions[index]
        roll = chance.random()
        if roll < 0.5:
            return answered(q.text, q.passage, q.answers, chance)
        if roll < 0.68 and q.near:
            return q.text, chance.choice(q.near), None, None
        if roll < 0.74:
            low, high = min(a for a, _ in q.answers), max(b for _, b in q.answers)
            if rest := unanswerable.without_answer(q.passage, low, high):
                return q.text, rest, None, None
        if roll < 0.8:
            if twisted := unanswerable.twisted(q.text, q.passage, chance):
                return twisted, q.passage, None, None
        return self.changed(q, chance) or answered(q.text, q.passage, q.answers, chance)

    def changed(self, q, chance):
        """The question, the passage or both with something exchanged; None when nothing could be."""
        if chance.random() < 0.15:
            old_new = self.changes.elsewhere(q.text, q.passage, chance)
            passage = old_new and around(q, old_new)
            return answered(q.text, *passage, chance) if passage else None
        old_new = self.changes.exchange(q.text, q.passage, q.near or [q.passage], chance)
        question = old_new and unanswerable.exchanged(q.text, *old_new)
        if not question:
            return None
        passage = around(q, old_new)
        if not passage or (roll := chance.random()) < 0.35:
            return question, q.passage, None, None
        if roll < 0.65:
            return q.text, passage[0], None, None
        return answered(question, *passage, chance)

    def encode(self, batch, chance):
        """Ids, segments, the tokens that start and end the answer, [CLS] where there is none, and which
        examples have the same passage: the same number."""
        asked = self.pieces([b[0] for b in batch])
        read = self.pieces([b[1] for b in batch])
        ids, types, starts, ends = [], [], [], []
        for (_, _, start, end), (q, _), (p, places) in zip(batch, asked, read):
            q = q[:QUESTION]
            # Readers meet passages of every length.
            room = chance.choice((WINDOW, chance.randint(SHORTEST, WINDOW))) - len(q) - 3
            first, last = token_span(places, start, end)
            skip = 0
            if len(p) > room:
                highest = len(p) - room
                low = 0 if first is None else min(highest, max(0, last - room + 1))
                high = highest if first is None else min(highest, first)
                skip = chance.randint(low, max(low, high))
            ids.append([CLS, *q, SEP, *p[skip : skip + room], SEP])
            types.append([0] * (len(q) + 2) + [1] * (len(ids[-1]) - len(q) - 2))
            shift, final = len(q) + 2 - skip, len(ids[-1]) - 2
            first, last = (0, 0) if first is None else (first + shift, min(last + shift, final))
            starts.append(first)
            ends.append(last)
        numbers = {}
        same = [numbers.setdefault(spaced(b[1]), len(numbers)) for b in batch]
        return ids, types, torch.tensor(starts), torch.tensor(ends), torch.tensor(same)


def around(q, old_new):
    return unanswerable.exchanged_around(q.passage, q.answers, *old_new)


def answered(text, passage, answers, chance):
    start, end = chance.choice(answers)
    return text, passage, start, end


def spaced(text):
    return " ".join(text.split())


def paired(people, kept):
    """The passage's id of each unanswerable question of `kept`, the question, and the answerable ones of
    its passage, those of people too, the most similar first."""
    answerable, kept = {}, list(kept)
    for q in people:
        answerable.setdefault(spaced(q.passage), []).append((q.text, q.passage, *q.answers[0]))
    for _, *q in kept:
        if q[2] is not None:
            answerable.setdefault(q[1], []).append(q)
    words = lambda text: set(re.findall(r"\w+", text.lower()))
    for key, *q in kept:
        if q[2] is None and (others := answerable.get(q[1])):
            own = words(q[0])
            alike = lambda other: len(own & words(other[0])) / len(own | words(other[0]))
            yield key, q, sorted(others, key=alike, reverse=True)


def marked(data, pairs, name):
    """The questions of a SQuADShifts set: annotators marked their answers."""
    passages = {key: text for key, (_, text) in corpus(data / name).items()}
    keys = list(passages)
    at = {key: i for i, key in enumerate(keys)}
    ranked = {}
    for line in (pairs / name.removesuffix("_train") / "run.trec").read_text().splitlines():
        query, _, passage, rank, *_ = line.split()
        if int(rank) <= 12:
            ranked.setdefault(query, []).append(passage)
    for row in found(data / name, "qa"):
        if not row["answers"]:
            continue
        own = row["passage_id"]
        votes = Counter(row.get("votes") or [a["text"] for a in row["answers"]])
        answers = [
            (a["answer_start"], a["answer_start"] + len(a["text"]))
            for a in row["answers"]
            for _ in range(votes[a["text"]] or 1)
        ]
        # Passages of one article lie beside each other.
        others = keys[max(0, at[own] - 2) : at[own] + 3] + ranked.get(row["_id"], [])
        held = [a["text"].lower() for a in row["answers"]]
        near = [passages[k] for k in dict.fromkeys(others) if k != own]
        near = [text for text in near if not any(h in text.lower() for h in held)]
        yield Question(row["question"], passages[own], answers, near)


def ranked_beside(folder):
    """The questions of Wikipedia's paragraphs (`rivals.py`), with the paragraphs that rank beside theirs."""
    passages = {key: text for key, (_, text) in corpus(folder).items()}
    own = dict(line.split("\t")[:2] for line in (folder / "qrels/test.tsv").read_text().splitlines()[1:])
    ranked = {}
    for line in (folder / "run.trec").read_text().splitlines():
        query, _, passage, rank, *_ = line.split()
        if int(rank) <= 12 and passage != own[query]:
            ranked.setdefault(query, []).append(passage)
    for row in found(folder, "queries"):
        text, (low, high) = passages[own[row["_id"]]], row["answer"]
        near = [passages[key] for key in ranked.get(row["_id"], [])]
        near = [other for other in near if text[low:high].lower() not in other.lower()]
        if near:
            yield Question(row["text"], text, [(low, high)], near)


def told_from(mined):
    """By question and passage, the passages of `mine.py` to tell it from."""
    texts, rows = mined_from(mined)
    return {(q, texts[own]): [texts[i] for i in near] for _, q, own, near in rows}


def of_stretches(data):
    """The questions of squad_qg_pairs, whose answers were marked in stretches of their sentences."""
    texts = [(key, text) for key, text, _ in written.stretches(data)]
    at = {key: i for i, (key, _) in enumerate(texts)}
    for key, question, span in written.marked(data):
        # Stretches come in the order of their articles.
        here = at[key]
        near = [text for _, text in texts[max(0, here - 2) : here + 3]]
        near.remove(texts[here][1])
        yield Question(question, texts[here][1], [span], near)


def token_span(places, start, end):
    """The first and last token that touch the characters `start..end`."""
    if start is None:
        return None, None
    touched = [i for i, (a, b) in enumerate(places) if a < end and b > start]
    return (touched[0], touched[-1]) if touched else (None, None)


def batches(examples, number, pool, batch, with_written):
    """The 16 batches of draw `number`, the same however often it is made."""
    count = len(examples.questions)
    picked = []
    for at in range(number * pool, (number + 1) * pool, 2):
        order = epoch_order(count, at // count)
        chance = Random(at * 7919 + 3)
        if with_written and chance.random() < WRITTEN:
            picked.append(examples.pair(chance))
        else:
            picked += [[examples.draw(order[i % count], chance)] for i in (at, at + 1)]
    # Pairs stay together.
    picked.sort(key=lambda some: len(some[0][0]) + len(some[0][1]))
    picked = [example for some in picked for example in some]
    parts = [picked[i : i + batch] for i in range(0, pool, batch)]
    Random(number).shuffle(parts)
    return parts


ORDERS = {}


def epoch_order(count, epoch):
    if epoch not in ORDERS:
        ORDERS.clear()
        order = list(range(count))
        Random(epoch).shuffle(order)
        ORDERS[epoch] = order
    return ORDERS[epoch]
