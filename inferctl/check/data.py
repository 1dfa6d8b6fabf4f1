"""A person's own inputs: pictures as the server decodes them, texts as it tokenises them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inferctl.bundles.manifest import Manifest, TextInput
from inferctl.errors import RequestError, UsageError
from inferctl.export.pictures import picture_files, picture_samples
from inferctl.export.samples import Sample
from inferctl.settings import LimitsSettings
from inferctl.tasks.text import TextTask

_FLAG = "--check-data"
_AT_ONCE = 8
_MAX_TEXTS = 10_000


def real_samples(bundle: Path, manifest: Manifest, folder: Path) -> list[Sample]:
    """Batches of the pictures, or of the lines of the .txt files, of a folder.

    Raises UsageError when there are none, or one that a server would refuse.
    """
    if manifest.image is not None:
        return list(picture_samples(picture_files(folder, _FLAG), manifest.image))
    if manifest.text is None:
        raise UsageError(
            "only pictures and texts can be given",
            where=_FLAG,
            hint=f"leave it out: its task is {manifest.task}",
        )
    return _texts(TextTask(bundle, manifest, LimitsSettings()), manifest.text, _lines(folder))


def _lines(folder: Path) -> list[tuple[str, str]]:
    """Every line that is not empty, with its place: `file.txt line 3`."""
    if not folder.is_dir():
        raise UsageError("no such folder", where=f"{_FLAG} {folder}")
    lines = []
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
            where=f"{_FLAG} {folder}",
            hint="put .txt files into it, a text on each line",
        )
    return lines[:_MAX_TEXTS]


def _texts(task: TextTask, text: TextInput, lines: list[tuple[str, str]]) -> list[Sample]:
    """Batches of texts of similar length."""
    rows = []
    for name, line in lines:
        try:
            prepared = task.preprocess(task.read_raw(line.encode(), {}))
        except RequestError as error:
            raise UsageError(error.what, where=name, hint="take it out of the file") from None
        rows.append((name, prepared.tensors["input_ids"][0]))
    rows.sort(key=lambda row: len(row[1]))
    return [_batch(rows[start : start + _AT_ONCE], text) for start in range(0, len(rows), _AT_ONCE)]


def _batch(rows: list[tuple[str, np.ndarray]], text: TextInput) -> Sample:
    longest = max(len(ids) for _, ids in rows)
    input_ids = np.full((len(rows), longest), text.pad_id, np.int64)
    mask = np.zeros_like(input_ids)
    for number, (_, ids) in enumerate(rows):
        input_ids[number, : len(ids)] = ids
        mask[number, : len(ids)] = 1
    name = rows[0][0] if len(rows) == 1 else f"{rows[0][0]} and {len(rows) - 1} more texts"
    return Sample(name, len(rows), longest, {"input_ids": input_ids, "attention_mask": mask})
