"""Questions that their passage does not answer, made from ones that it does.

The kinds are those that annotators of SQuAD 2.0 used (Rajpurkar et al. 2018, table 2): negation,
antonyms, swapped entities and numbers, other words; and the passage without the sentence that answers.

A changed text is easily told from one that a person wrote, and a model would learn to tell that alone.
So what is exchanged is exchanged in the question, in the passage, or in both: in both, the passage
answers again; and every kind of text is now answerable and now not.
"""

import re
from functools import cache

import torch
from torch import nn

ANTONYMS = """
first/last earliest/latest early/late before/after oldest/youngest old/new largest/smallest
larger/smaller large/small biggest/smallest big/small highest/lowest higher/lower high/low
longest/shortest longer/shorter long/short best/worst better/worse good/bad more/fewer most/least
more/less increase/decrease increased/decreased rise/fall rose/fell north/south northern/southern
east/west eastern/western begin/end began/ended start/stop started/stopped open/close opened/closed
won/lost win/lose winner/loser success/failure successful/unsuccessful accept/reject
accepted/rejected allow/forbid allowed/forbidden support/oppose supported/opposed positive/negative
male/female men/women man/woman son/daughter father/mother husband/wife king/queen internal/external
inside/outside above/below upper/lower major/minor majority/minority maximum/minimum public/private
rich/poor strong/weak stronger/weaker hot/cold hard/soft hardest/easiest easy/difficult fast/slow
fastest/slowest heavy/light cheap/expensive common/rare same/different similar/different
include/exclude included/excluded create/destroy created/destroyed build/demolish built/demolished
arrive/leave arrived/left gain/lose gained/lost buy/sell bought/sold like/dislike liked/disliked
love/hate loved/hated happy/unhappy friend/enemy war/peace summer/winter day/night left/right
many/few always/never everyone/nobody ancient/modern true/false cause/prevent caused/prevented
advantage/disadvantage legal/illegal formal/informal direct/indirect simple/complex safe/dangerous
""".split()
OPPOSITE = {}
for pair in ANTONYMS:
    one, other = pair.split("/")
    OPPOSITE.setdefault(one, other)
    OPPOSITE.setdefault(other, one)

NAME = re.compile(r"(?<![.?!] )(?<!^)\b[A-Z][\w'-]+(?: (?:of |the |de )?[A-Z][\w'-]+)*")
NUMBER = re.compile(r"\b\d[\d,.]*\b(?<![.,])")
WORD = re.compile(r"\b[a-z]{3,}\b")
VERB = re.compile(r"\b(is|are|was|were|did|does|do|can|could|will|would|has|have|had|should)\b")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
# Words without a meaning that could be exchanged.
PLAIN = set(
    """
    about after again all also although among and another any are because been before being between both
    but can could did does doing done during each either every few for from had has have having her here
    hers him his how however into its itself just many may might more most much must neither nor not off
    once one only onto other others our out over own per rather same shall she should since some such than
    that the their them then there these they this those though through thus too under until upon very via
    was way were what when where whether which while who whom whose why will with within without would yet
    you your name named called type kind
    """.split()
)


class Alike:
    """Words that stand for things of one kind, by the cosine of a model's own word embeddings."""

    def __init__(self, pieces, table):
        """`table` is `[vocabulary, hidden]`, of the tokenizer `pieces`."""
        self.pieces = pieces
        self.table = table - table.mean(0)
        vocabulary = pieces.tokenizer.get_vocab()
        words = sorted(w for w in vocabulary if w.isalpha() and w.islower() and len(w) > 3)
        self.words = [w for w in words if w not in PLAIN]
        rows = self.table[[vocabulary[w] for w in self.words]]
        self.rows = nn.functional.normalize(rows, dim=-1)
        self.vector = cache(self._vector)
        self.neighbours = cache(self._neighbours)

    def _vector(self, word):
        ids = self.pieces([word])[0][0]
        return nn.functional.normalize(self.table[ids].mean(0), dim=-1)

    def _neighbours(self, word):
        near = (self.rows @ self.vector(word)).topk(24).indices
        return [w for w in (self.words[i] for i in near) if not related(w, word)]

    def of_text(self, word, text, chance):
        """One of the three words of `text` most like `word`; None when none is like it."""
        found = sorted({w for w in WORD.findall(text) if w not in PLAIN and not related(w, word)})
        if not found:
            return None
        cosines = torch.stack([self.vector(w) for w in found]) @ self.vector(word)
        best = [(c.item(), w) for c, w in zip(cosines, found) if c > 0.2]
        return chance.choice(sorted(best, reverse=True)[:3])[1] if best else None


def related(one, other):
    """Whether two words seem forms of one."""
    short = min(len(one), len(other), 4)
    return one[:short] == other[:short]


class Changes:
    """Exchanges in a question and its passage."""

    def __init__(self, pieces, table):
        self.alike = Alike(pieces, table)

    def exchange(self, question, passage, others, chance):
        """What stands in the question, and what to put in its place; None when nothing could be.
        `others` are texts to take foreign names from."""
        ways = [antonym, name, name, number, self.word, self.word, self.word, self.foreign]
        chance.shuffle(ways)
        for way in ways:
            old_new = way(question, passage, others, chance)
            if old_new and old_new[0].lower() != old_new[1].lower():
                return old_new
        return None

    def word(self, question, passage, _others, chance):
        """A word of question and passage for one of the passage that is like it."""
        if spot := shared(question, passage, chance):
            new = self.alike.of_text(spot, passage, chance)
            return (spot, new) if new and new not in question.lower() else None

    def foreign(self, question, passage, _others, chance):
        """A word of question and passage for one like it that stands in neither."""
        if spot := shared(question, passage, chance):
            texts = (question + " " + passage).lower()
            found = [w for w in self.alike.neighbours(spot) if w not in texts]
            return (spot, chance.choice(found)) if found else None

    def elsewhere(self, question, passage, chance):
        """A word of the passage that the question does not ask with, and one like it."""
        words = sorted({w for w in WORD.findall(passage) if w not in PLAIN and w not in question.lower()})
        if not words:
            return None
        spot = chance.choice(words)
        found = self.alike.neighbours(spot)
        return (spot, chance.choice(found)) if found else None


def shared(question, passage, chance):
    words = {w for w in WORD.findall(question) if w not in PLAIN}
    words = sorted(words & set(WORD.findall(passage.lower())))
    return chance.choice(words) if words else None


def antonym(question, _passage, _others, chance):
    spots = [w for w in re.findall(r"[A-Za-z]+", question) if w.lower() in OPPOSITE]
    if spots:
        spot = chance.choice(spots)
        return spot, OPPOSITE[spot.lower()]


def swapped(question, pattern, pool, chance):
    spots = pattern.findall(question)
    pool = [p for p in pool if p.lower() not in question.lower()]
    return (chance.choice(spots), chance.choice(pool)) if spots and pool else None


def name(question, passage, others, chance):
    pool = NAME.findall(passage) if chance.random() < 0.7 else NAME.findall(chance.choice(others))
    return swapped(question, NAME, pool, chance)


def number(question, passage, _others, chance):
    pool = NUMBER.findall(passage) or [str(chance.randint(1, 2030))]
    return swapped(question, NUMBER, pool, chance)


def exchanged(text, old, new):
    """`text` with every `old`, whole words in whatever case, made `new`; None when it holds none."""
    changed, count = re.subn(rf"\b{re.escape(old)}\b", lambda _: new, text, flags=re.I)
    return changed if count else None


def exchanged_around(text, spans, old, new):
    """The same, with the spans where they are afterwards; None when none is there, or when a span would
    change."""
    spots = list(re.finditer(rf"\b{re.escape(old)}\b", text, re.I))
    touches = any(s.start() < b and s.end() > a for s in spots for a, b in spans)
    if not spots or touches:
        return None
    grown = len(new) - len(old)
    moved = lambda place: place + grown * sum(s.end() <= place for s in spots)
    return exchanged(text, old, new), [(moved(a), moved(b)) for a, b in spans]


def twisted(question, passage, chance):
    """The question with its words in other places; None when it has none that could go there."""
    ways = [negated, beheaded, beheaded, narrowed, narrowed, turned]
    chance.shuffle(ways)
    changes = (way(question, passage, chance) for way in ways)
    return next((text for text in changes if text), None)


def negated(question, _passage, chance):
    spot = VERB.search(question)
    if spot and chance.random() < 0.4:
        return f"{question[: spot.end()]} not{question[spot.end() :]}"


def beheaded(question, passage, chance):
    """Without the second of two words that the passage has together: "vacuum pump", "vacuum"."""
    pairs = [
        pair
        for pair in re.finditer(r"\b([a-z]{3,}) ([a-z]{4,})\b", question)
        if pair[0] in passage and pair[1] not in PLAIN and pair[2] not in PLAIN
    ]
    if pairs:
        pair = chance.choice(pairs)
        return question[: pair.end(1)] + question[pair.end() :]


def narrowed(question, passage, chance):
    """With a word before a noun that the passage has there once, and not everywhere."""
    found = []
    for spot in WORD.finditer(question):
        before = re.findall(rf"\b(\w+) {spot[0]}\b", passage)
        words = {w for w in before if w.isalpha() and len(w) > 3 and w.lower() not in PLAIN}
        words = {w for w in words if w.lower() not in question.lower()}
        if spot[0] not in PLAIN and words and len(set(before)) > 1:
            found += [(spot.start(), word) for word in sorted(words)]
    if found:
        at, word = chance.choice(found)
        return f"{question[:at]}{word} {question[at:]}"


def turned(question, passage, chance):
    """With two of its words, or two of its names, in each other's place."""
    names = list(NAME.finditer(question))
    words = [m for m in WORD.finditer(question) if m[0] not in PLAIN and m[0] in passage]
    spots = names if len(names) > 1 and chance.random() < 0.7 else words
    if len(spots) > 1:
        one, other = sorted(chance.sample(spots, 2), key=lambda m: m.start())
        between = question[one.end() : other.start()]
        return question[: one.start()] + other[0] + between + one[0] + question[other.end() :]


def without_answer(passage, start, end):
    """The passage without the sentences that hold `start..end`; None when nothing else is left."""
    cuts = [0] + [m.end() for m in SENTENCE.finditer(passage)] + [len(passage)]
    kept = [passage[a:b] for a, b in zip(cuts, cuts[1:]) if b <= start or a >= end]
    rest = "".join(kept).strip()
    return rest if len(rest) > 80 else None
