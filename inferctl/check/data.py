"""A person's own inputs: pictures as the server decodes them, texts as it tokenises them."""

from __future__ import annotations

from pathlib import Path

from inferctl.check.opened import Opened
from inferctl.errors import UsageError
from inferctl.export.pictures import picture_files, picture_samples
from inferctl.export.samples import Sample
from inferctl.export.texts import text_lines, text_samples

_FLAG = "--check-data"


def real_samples(opened: Opened, folder: Path) -> list[Sample]:
    """Batches of the pictures, or of the lines of the .txt files, of a folder.

    Raises UsageError when there are none, or one that a server would refuse.
    """
    if opened.image is not None:
        return list(picture_samples(picture_files(folder, _FLAG), opened.image))
    if opened.text is None or opened.tokenizer is None:
        raise UsageError(
            "only pictures and texts can be given",
            where=_FLAG,
            hint=f"leave it out: its task is {opened.manifest.task}",
        )
    return text_samples(text_lines(folder, _FLAG), opened.tokenizer, opened.text)
