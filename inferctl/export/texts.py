"""Real texts from a folder, made into rows as the server makes them of what it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inferctl.bundles.manifest import TextInput
from inferctl.errors import UsageError
from inferctl.export.samples import Sample
from inferctl.refusals import RequestError
from inferctl.settings import LimitsSettings
from inferctl.tasks.text import row_tokenizer, token_ids

_AT_ONCE = 8
_MAX_LINES = 10_000
# Place and content: ("file.txt line 3", "Not bad.")
Line = tuple[str, str]


def text_lines(folder: Path, flag: str) -> list[Line]:
    """Every line that is not empty of the .txt files of a folder and the folders in it.

    Raises UsageError when there are none, or a file is no text.
    """
    if not folder.is_dir():
        raise UsageError("no such folder", where=f"{flag} {folder}")
    lines: list[Line] = []
    for path in sorted(folder.rglob("*.txt")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read it: {error}", where=str(path)) from None
        numbered = enumerate(text.splitlines(), 1)
        lines += [(f"{path.name} line {number}", line) for number, line in numbered if line.strip()]
    if not lines:
        raise UsageError(
            "the folder holds no texts",
            where=f"{flag} {folder}",
            hint="put .txt files into it, a text on each line",
        )
    return lines[:_MAX_LINES]


def text_samples(lines: Sequence[Line], tokenizer: bytes, text: TextInput) -> list[Sample]:
    """Batches of texts of similar length; raises UsageError for a text a server would refuse."""
    rows_of = row_tokenizer(tokenizer, text.max_tokens)
    longest = LimitsSettings().max_text_chars
    rows = []
    for name, line in lines:
        if len(line) > longest:
            raise UsageError(
                f"the text has more than {longest} characters", where=name, hint="shorten it"
            )
        try:
            rows.append((name, token_ids(line, rows_of, text.vocab_size)))
        except RequestError as error:
            raise UsageError(error.what, where=name, hint="take it out of the file") from None
    rows.sort(key=lambda row: len(row[1]))
    return [_batch(rows[start : start + _AT_ONCE], text) for start in range(0, len(rows), _AT_ONCE)]


def _batch(rows: list[tuple[str, list[int]]], text: TextInput) -> Sample:
    longest = max(len(ids) for _, ids in rows)
    input_ids = np.full((len(rows), longest), text.pad_id, np.int64)
    mask = np.zeros_like(input_ids)
    for number, (_, ids) in enumerate(rows):
        input_ids[number, : len(ids)] = ids
        mask[number, : len(ids)] = 1
    name = rows[0][0] if len(rows) == 1 else f"{rows[0][0]} and {len(rows) - 1} more texts"
    return Sample(name, len(rows), longest, {"input_ids": input_ids, "attention_mask": mask})
