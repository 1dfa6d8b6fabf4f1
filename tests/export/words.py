"""The tokenizer of the tiny text models: a few words, each a token."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

VOCABULARY = (
    "[PAD]", "[UNK]",
    "the", "film", "was", "long", "not", "bad", "terrible", "service", "food", "and", "cold",
)  # fmt: skip


def write_tokenizer(path: Path) -> Path:
    numbers = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))
    return path
