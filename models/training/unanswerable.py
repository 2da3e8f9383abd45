"""Questions that their passage does not answer, made from ones that it does.

The kinds are those that annotators of SQuAD 2.0 used (Rajpurkar et al. 2018, table 2): negation,
antonyms, swapped entities and numbers; and the passage without the sentence that answers.
"""

import re

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
WORD = re.compile(r"[a-z]{4,}")
VERB = re.compile(r"\b(is|are|was|were|did|does|do|can|could|will|would|has|have|had|should)\b")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")


def spoil(question, passage, others, chance):
    """The question changed so that `passage` hardly answers it; None when nothing could be changed.
    `others` are texts to take foreign names from."""
    ways = [antonym, name, name, number, word, word, negated]
    chance.shuffle(ways)
    for way in ways:
        changed = way(question, passage, others, chance)
        if changed and changed.lower() != question.lower():
            return changed
    return None


def antonym(question, _passage, _others, chance):
    spots = [m for m in re.finditer(r"[A-Za-z]+", question) if m[0].lower() in OPPOSITE]
    return replaced(question, chance.choice(spots), OPPOSITE) if spots else None


def replaced(question, spot, table):
    return question[: spot.start()] + table[spot[0].lower()] + question[spot.end() :]


def swapped(question, pattern, pool, chance):
    spots = list(pattern.finditer(question))
    pool = [p for p in pool if p.lower() not in question.lower()]
    if not spots or not pool:
        return None
    spot = chance.choice(spots)
    return question[: spot.start()] + chance.choice(pool) + question[spot.end() :]


def name(question, passage, others, chance):
    pool = NAME.findall(passage) if chance.random() < 0.6 else NAME.findall(chance.choice(others))
    return swapped(question, NAME, pool, chance)


def number(question, passage, _others, chance):
    pool = NUMBER.findall(passage) or [str(chance.randint(1, 2030))]
    return swapped(question, NUMBER, pool, chance)


def word(question, passage, others, chance):
    """A longer word for another of the passage (or of another one) that ends alike."""
    spots = [m for m in WORD.finditer(question) if m[0] in passage.lower()]
    if not spots:
        return None
    spot = chance.choice(spots)
    text = passage if chance.random() < 0.6 else chance.choice(others)
    alike = {w for w in WORD.findall(text) if w[-2:] == spot[0][-2:] and w not in question.lower()}
    if not alike:
        return None
    return question[: spot.start()] + chance.choice(sorted(alike)) + question[spot.end() :]


def negated(question, _passage, _others, chance):
    if chance.random() > 0.3:
        return None
    spot = VERB.search(question)
    return f"{question[: spot.end()]} not{question[spot.end() :]}" if spot else None


def without_answer(passage, start, end):
    """The passage without the sentences that hold `start..end`; None when nothing else is left."""
    cuts = [0] + [m.end() for m in SENTENCE.finditer(passage)] + [len(passage)]
    kept = [passage[a:b] for a, b in zip(cuts, cuts[1:]) if b <= start or a >= end]
    rest = "".join(kept).strip()
    return rest if len(rest) > 80 else None
