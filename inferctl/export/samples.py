"""Inputs that look like what a server will send: pictures, and texts of several lengths, padded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from inferctl.bundles.manifest import ImageInput, TextInput
from inferctl.errors import CheckpointError
from inferctl.export.tokens import encode, parse_tokenizer

Feeds = dict[str, npt.NDArray[np.generic]]
Ids = npt.NDArray[np.int64]

BATCH_SIZES = (1, 2, 5)
# Rows of which a variant's agreement with fp32 is told, and which static int8 is calibrated on
# where there is nothing better; in batches of `_MORE_AT_ONCE`.
MORE_ROWS = 64
_MORE_AT_ONCE = 8
_EXAMPLE_ROWS = 2
_LENGTHS = (7, 33)
_TIMED_TOKENS = 64
_SEED = 20_240
_JUDGING_SEED = 3
_SENTENCES = (
    "The film was long, but I would watch it again tomorrow.",
    "Terrible service; we waited an hour and the food was cold!",
    "It does what it says, nothing more and nothing less.",
    "Who would have thought that such a small room could be so comfortable?",
    "Not bad.",
    "My order 4711 arrived on Monday with two parts missing and a scratch on the lid.",
)


class Described(Protocol):
    """What samples are made from: a loaded checkpoint, or a bundle."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def image(self) -> ImageInput | None:
        """Input of an image model."""

    @property
    def text(self) -> TextInput | None:
        """Input of a text model."""

    @property
    def tokenizer(self) -> bytes | None:
        """The tokenizer.json of a text model."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch to compare on; `tokens` is the padded length of a text batch.

    Its last `padding_rows` hold no token at all. What a model answers to nothing is not defined (a
    mean over no words is 0 / 0), and a server refuses such texts; the other rows must not notice.
    """

    name: str
    rows: int
    tokens: int | None
    feeds: Feeds
    padding_rows: int = 0

    @property
    def defined_rows(self) -> int:
        """How many rows, from the first on, must have an answer."""
        return self.rows - self.padding_rows


def example(loaded: Described) -> Feeds:
    """The batch of two rows that the graph is drawn with."""
    random = np.random.default_rng(_SEED)
    if loaded.image is not None:
        return {"image": _pictures(loaded.image, _EXAMPLE_ROWS, random)}
    text, sentences = _text_parts(loaded)
    length = _lengths(text.max_tokens)[0]
    return _texts(text, sentences, _EXAMPLE_ROWS, length, random)


def samples(loaded: Described) -> Iterator[Sample]:
    """The batches to verify with, the same in every run; the edges of what is sent come last."""
    random = np.random.default_rng(_SEED + 1)
    if loaded.image is not None:
        for rows in BATCH_SIZES:
            feeds: Feeds = {"image": _pictures(loaded.image, rows, random)}
            yield Sample(f"{_count(rows, 'picture')}", rows, None, feeds)
        yield _black_and_white(loaded.image)
        return
    text, sentences = _text_parts(loaded)
    lengths = _lengths(text.max_tokens)
    shapes = [(rows, length) for rows in BATCH_SIZES for length in lengths]
    if text.max_tokens not in lengths:
        shapes.append((1, text.max_tokens))
    for rows, length in shapes:
        yield Sample(
            f"{_count(rows, 'text')} of {_count(length, 'token')}",
            rows,
            length,
            _texts(text, sentences, rows, length, random),
        )
    yield from _text_edges(text, sentences, lengths[0], random)


def judging_samples(described: Described) -> Iterator[Sample]:
    """The generated rows that another precision is judged on, at the export and by a check."""
    yield from more_samples(described, _JUDGING_SEED)


def more_samples(loaded: Described, seed: int) -> Iterator[Sample]:
    """`MORE_ROWS` more rows of the same kind, others for each `seed`."""
    random = np.random.default_rng(_SEED + seed)
    for first in range(0, MORE_ROWS, _MORE_AT_ONCE):
        rows = f"{first + 1} to {first + _MORE_AT_ONCE}"
        if loaded.image is not None:
            feeds: Feeds = {"image": _pictures(loaded.image, _MORE_AT_ONCE, random)}
            yield Sample(f"pictures {rows}", _MORE_AT_ONCE, None, feeds)
            continue
        text, sentences = _text_parts(loaded)
        length = int(random.choice(_lengths(text.max_tokens)))
        feeds = _texts(text, sentences, _MORE_AT_ONCE, length, random)
        yield Sample(f"texts {rows}", _MORE_AT_ONCE, length, feeds)


def timed_feeds(loaded: Described, rows: int) -> Feeds:
    """A batch to measure speed with; texts have 64 tokens, or as many as they may, none padded."""
    random = np.random.default_rng(_SEED)
    if loaded.image is not None:
        return {"image": _pictures(loaded.image, rows, random)}
    text, _ = _text_parts(loaded)
    return _full_texts(text, rows, min(_TIMED_TOKENS, text.max_tokens), random)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _lengths(max_tokens: int) -> tuple[int, ...]:
    short = min(_LENGTHS[0], max(2, max_tokens // 2))
    return tuple(sorted({short, min(_LENGTHS[1], max_tokens)}))


def _pictures(image: ImageInput, rows: int, random: np.random.Generator) -> npt.NDArray[np.generic]:
    """uint8 [rows, H, W, 3]: smooth shades with grain; every third picture is noise alone."""
    shape = (image.height, image.width, 3)
    pictures = np.empty((rows, *shape), np.uint8)
    for row in range(rows):
        grain = random.normal(0, 8, shape)
        coarse = random.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize(
            (image.width, image.height), Image.Resampling.BICUBIC
        )
        picture = random.integers(0, 256, shape) if row % 3 == 2 else np.asarray(smooth) + grain
        pictures[row] = np.clip(picture, 0, 255).astype(np.uint8)
    return pictures


def _black_and_white(image: ImageInput) -> Sample:
    """The edges of a picture: every value at its lowest, and every value at its highest."""
    pictures = np.zeros((2, image.height, image.width, 3), np.uint8)
    pictures[1] = 255
    return Sample("a black and a white picture", 2, None, {"image": pictures})


def _text_edges(
    text: TextInput, sentences: list[list[int]], length: int, random: np.random.Generator
) -> Iterator[Sample]:
    """One token; as many as there may be, none of them padding; a row that holds nothing."""
    yield Sample("1 text of 1 token", 1, 1, _full_texts(text, 1, 1, random))
    if text.max_tokens > 1:
        feeds = _full_texts(text, 1, text.max_tokens, random)
        yield Sample(f"the longest text, {text.max_tokens} tokens", 1, text.max_tokens, feeds)
    feeds = _texts(text, sentences, 2, length, random)
    feeds["input_ids"][1], feeds["attention_mask"][1] = text.pad_id, 0
    yield Sample("a text beside an empty one", 2, length, feeds, padding_rows=1)


def _full_texts(text: TextInput, rows: int, length: int, random: np.random.Generator) -> Feeds:
    """Texts of random words without padding."""
    ids = np.array([_random_ids(text, length, random) for _ in range(rows)], np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _text_parts(loaded: Described) -> tuple[TextInput, list[list[int]]]:
    if loaded.text is None or loaded.tokenizer is None:
        raise CheckpointError("a text model needs its tokenizer", where=loaded.name)
    tokenizer = parse_tokenizer(loaded.tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    sentences = [encode(tokenizer, sentence) for sentence in _SENTENCES]
    return loaded.text, [ids for ids in sentences if ids]


def _texts(
    text: TextInput,
    sentences: list[list[int]],
    rows: int,
    length: int,
    random: np.random.Generator,
) -> Feeds:
    """`input_ids` and `attention_mask` int64 [rows, length], padded on the right."""
    input_ids: Ids = np.full((rows, length), text.pad_id, np.int64)
    mask: Ids = np.zeros((rows, length), np.int64)
    for row in range(rows):
        if row % 2 == 0 and sentences:
            ids = sentences[int(random.integers(len(sentences)))][:length]
        else:
            ids = _random_ids(text, int(random.integers(1, length + 1)), random)
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": mask}


def _random_ids(text: TextInput, length: int, random: np.random.Generator) -> list[int]:
    """Ids from the whole vocabulary but the padding's, which some models look for."""
    ids = random.integers(0, text.vocab_size, length)
    ids[ids == text.pad_id] = (text.pad_id + 1) % text.vocab_size
    # The highest id is the one that an embedding too small for the tokenizer does not have.
    ids[0] = text.vocab_size - 1 if text.pad_id != text.vocab_size - 1 else ids[0]
    return [int(number) for number in ids]
