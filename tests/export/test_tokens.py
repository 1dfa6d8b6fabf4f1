"""What is read of a tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from inferctl.errors import CheckpointError
from inferctl.export.tokens import encode, read_tokenizer

from .tinymodels import VOCABULARY


def test_numbers_come_from_the_file(store: Path) -> None:
    found = read_tokenizer(store / "tokenizer.json")
    assert found.vocab_size <= VOCABULARY
    assert (found.pad_id, found.max_length) == (0, None)


def test_padding_and_truncation_settings_are_read(store: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(store / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=1, pad_token="[UNK]")
    tokenizer.enable_truncation(12)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = read_tokenizer(tmp_path / "tokenizer.json")
    assert (found.pad_id, found.max_length) == (1, 12)


def test_a_vocabulary_without_padding_or_unknown_token_is_usable(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="?"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path / "tokenizer.json").pad_id is None
    assert encode(tokenizer, "a") == [0]
    assert encode(tokenizer, "b") == []


def test_an_unusable_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(CheckpointError, match="cannot read the tokenizer"):
        read_tokenizer(path)
    path.write_text("{}")
    with pytest.raises(CheckpointError, match=r"not a tokenizer\.json"):
        read_tokenizer(path)
    Tokenizer(models.WordLevel({}, unk_token="?")).save(str(path))
    with pytest.raises(CheckpointError, match="vocabulary is empty"):
        read_tokenizer(path)
