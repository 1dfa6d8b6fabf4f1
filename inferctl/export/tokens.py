"""What a `tokenizer.json` says about the rows of a text model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from inferctl.bundles.manifest import TOKENIZER_FILE
from inferctl.errors import CheckpointError

_PAD_TOKENS = ("[PAD]", "<pad>", "<|padding|>", "<|endoftext|>")


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A tokenizer as it lies on disk, with the numbers of it that a graph depends on.

    `vocab_size` is the highest token id + 1; `max_length` is what it truncates to, if it does.
    """

    data: bytes
    vocab_size: int
    pad_id: int | None
    max_length: int | None


def read_tokenizer(path: Path) -> TokenizerFile:
    """Read and parse a `tokenizer.json`.

    Raises CheckpointError when it is missing, damaged or without a vocabulary.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read the tokenizer: {error.strerror}",
            where=str(path),
            hint="save one with `tokenizer.save_pretrained(directory)` of a fast tokenizer",
        ) from None
    tokenizer = parse_tokenizer(data, where=str(path))
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    if not ids:
        raise CheckpointError("the tokenizer's vocabulary is empty", where=str(path))
    truncation = tokenizer.truncation
    return TokenizerFile(
        data, max(ids) + 1, _pad_id(tokenizer), truncation["max_length"] if truncation else None
    )


def parse_tokenizer(data: bytes, *, where: str = TOKENIZER_FILE) -> Tokenizer:
    """Build the tokenizer; raises CheckpointError when `data` is not one."""
    # The library raises bare `Exception` for a document it cannot read, and nothing narrower.
    with suppress(Exception):
        return Tokenizer.from_str(data.decode())
    raise CheckpointError(
        "not a tokenizer.json that can be read", where=where, hint="save it again"
    )


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of `text`; none when it has unknown words and no token for them."""
    with suppress(Exception):
        return [int(number) for number in tokenizer.encode(text).ids]
    return []


def _pad_id(tokenizer: Tokenizer) -> int | None:
    if tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    for token in _PAD_TOKENS:
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    return None
