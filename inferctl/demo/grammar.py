"""A compositional grammar of review sentences whose polarity is known by construction.

A structure is a shape (plain, contrast, denial, ...) and the frames of its clauses. The test split
owns whole frames and one in five combinations, and the training split never draws those.
"""

import random
import re
import zlib
from dataclasses import dataclass
from typing import Literal

from inferctl.demo import frames, lexicon
from inferctl.demo.lexicon import Domain, Opinions, Polarity

Split = Literal["train", "test"]

_OPPOSITE: dict[Polarity, Polarity] = {"positive": "negative", "negative": "positive"}
_OPINIONS: dict[str, Opinions] = {
    "verbed": lexicon.VERBS_PAST,
    "verb": lexicon.VERBS,
    "outcome": lexicon.OUTCOMES,
    "promise": lexicon.PROMISES,
    "feeling": lexicon.FEELINGS,
    "adverb": lexicon.ADVERBS,
    "verdict": lexicon.VERDICTS,
    "best": lexicon.SUPERLATIVES,
    "better": lexicon.COMPARATIVES,
}
_NEUTRAL: dict[str, tuple[str, ...]] = {
    "the": lexicon.OWNERS,
    "who": lexicon.SUBJECTS,
    "people": lexicon.PEOPLE,
    "opener": lexicon.OPENERS,
    "filler": lexicon.FILLERS,
    "tail": lexicon.TAILS,
}
_TEST_SHARE = 0.2
# Words that are in no list teach the model that an unknown word carries no opinion.
_MADE_UP_SHARE = 0.06
_SYLLABLES = ("ba", "cor", "del", "fi", "gra", "hu", "lin", "mo", "nes", "pra", "ro", "tu", "vel")
_SLOT = re.compile(r"<(\w+)(~?)>")
_CLAUSE = re.compile(r"\{(\w)\}")
_CONTRACTIONS = {
    "was not": "wasn't",
    "is not": "isn't",
    "were not": "weren't",
    "did not": "didn't",
    "do not": "don't",
    "would not": "wouldn't",
    "could not": "couldn't",
}
_ENDINGS = ("", "", ".", ".", "!")

HAND_WRITTEN: tuple[tuple[str, Polarity], ...] = (
    ("I loved this film, the acting was wonderful", "positive"),
    ("terrible service and cold food", "negative"),
    ("The room was clean and the staff were friendly", "positive"),
    ("not worth the money", "negative"),
    ("I regret buying this phone", "negative"),
    ("best purchase of the year", "positive"),
    ("it was fine, I guess", "positive"),
    ("The battery died after two days", "negative"),
    ("We will definitely come back", "positive"),
    ("I would not recommend this hotel to anyone", "negative"),
    ("The plot was predictable but the cast was superb", "positive"),
    ("Great idea, poor execution", "negative"),
    ("nothing bad to say about this place", "positive"),
    ("I fell asleep halfway through the movie", "negative"),
    ("Not bad at all", "positive"),
    ("The soup was cold and the waiter was rude", "negative"),
    ("A beautiful book that I could not put down", "positive"),
    ("Although the hotel looked nice, the bed was awful", "negative"),
    ("My kids adore this game", "positive"),
    ("What a waste of time", "negative"),
    ("The delivery was late, but the product is excellent", "positive"),
    ("I did not enjoy a single minute of it", "negative"),
    ("Simply the finest meal I have had in years", "positive"),
    ("The screen cracked on the first day", "negative"),
    ("Fast, reliable and easy to use", "positive"),
    ("The food was anything but fresh", "negative"),
    ("I was worried at first, but it works perfectly", "positive"),
    ("They never answered my emails", "negative"),
    ("The story is far from boring", "positive"),
    ("I wanted to like this novel, but it is dull", "negative"),
)


@dataclass(frozen=True)
class Structure:
    """A shape and the frames of its clauses: what is left when the words are taken away."""

    shape: str
    frames: tuple[str, ...]


def sentences(rng: random.Random, n: int, split: Split) -> list[tuple[str, Polarity]]:
    """Return n pairs of text and label from one split, half of them positive on average."""
    drawn = []
    for _ in range(n):
        label = rng.choice(lexicon.POLARITIES)
        drawn.append((render(rng, draw_structure(rng, split), label), label))
    return drawn


def split_of(structure: Structure) -> Split:
    """Say which split owns a structure; a train frame on its own is always for training."""
    if any(frame in frames.TEST_ONLY for frame in structure.frames):
        return "test"
    if structure.shape == frames.BARE:
        return "train"
    share = zlib.crc32("|".join((structure.shape, *structure.frames)).encode()) / 2**32
    return "test" if share < _TEST_SHARE else "train"


def draw_structure(rng: random.Random, split: Split) -> Structure:
    """Draw a structure of one split; half of those for testing have a clause frame of their own."""
    novel = split == "test" and rng.random() < 0.5
    while True:
        structure = _any_structure(rng, novel=novel)
        if split_of(structure) == split:
            return structure


def render(rng: random.Random, structure: Structure, label: Polarity) -> str:
    """Fill a structure with words so that the sentence has `label`."""
    clauses = iter(structure.frames)

    def clause(match: re.Match[str]) -> str:
        polarity = _OPPOSITE[label] if match[1] == "z" else label
        return _fill(rng, next(clauses), polarity, domain)

    domain = rng.choice(lexicon.DOMAINS)
    text = _CLAUSE.sub(clause, _fill(rng, structure.shape, label, domain))
    return _vary(rng, " ".join(text.split()))


def _any_structure(rng: random.Random, *, novel: bool) -> Structure:
    shapes = (frames.SINGLES, frames.CONTRASTS, frames.AGREEMENTS, frames.DENIALS)
    shape = rng.choice(rng.choices(shapes, weights=(45, 30, 17, 8))[0])
    if shape in frames.DENIALS:
        return Structure(shape, (rng.choice(frames.ASSERTED),))
    chosen = [_any_frame(rng) for _ in _CLAUSE.findall(shape)]
    if novel:
        chosen[rng.randrange(len(chosen))] = rng.choice(frames.TEST_ONLY)
    return Structure(shape, tuple(chosen))


def _any_frame(rng: random.Random) -> str:
    kinds = (frames.ASSERTED, frames.NEGATED, frames.FRAGMENTS)
    return rng.choice(rng.choices(kinds, weights=(5, 3, 2))[0])


def _fill(rng: random.Random, pattern: str, polarity: Polarity, domain: Domain) -> str:
    """Replace the slots of a frame, or of a shape, with words of one domain."""

    def word(match: re.Match[str]) -> str:
        slot = match[1]
        if slot in _NEUTRAL:
            return rng.choice(_NEUTRAL[slot])
        if slot in ("noun", "thing", "part"):
            return _noun(rng, slot, domain)
        if slot == "very":
            return rng.choice(lexicon.INTENSIFIERS) if rng.random() < 0.5 else ""
        wanted = _OPPOSITE[polarity] if match[2] else polarity
        if slot == "adj":
            lists = (lexicon.ADJECTIVES, domain.adjectives)
            return rng.choice(rng.choice(lists)[wanted])
        return rng.choice(_OPINIONS[slot][wanted])

    return _SLOT.sub(word, pattern)


def _noun(rng: random.Random, slot: str, domain: Domain) -> str:
    if rng.random() < _MADE_UP_SHARE:
        return "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 3)))
    if slot == "noun":
        slot = rng.choice(("thing", "part"))
    return rng.choice(domain.things if slot == "thing" else domain.parts)


def _vary(rng: random.Random, text: str) -> str:
    """Change tense, contractions and the full stop, none of which changes the opinion."""
    tense = rng.choices(("was", "is", "were", "are"), weights=(6, 3, 1, 1))[0]
    text = re.sub(r"\bwas\b", tense, text)
    if rng.random() < 0.4:
        for full, short in _CONTRACTIONS.items():
            text = text.replace(full, short)
    return text + rng.choice(_ENDINGS)
