"""Real pictures from a folder, decoded as the server decodes what it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import UsageError
from inferctl.export.samples import Sample
from inferctl.refusals import RequestError
from inferctl.settings import LimitsSettings, RuntimeSettings
from inferctl.tasks.decode import decode_image

Array = npt.NDArray[Any]
Item = TypeVar("Item")

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Half of them calibrates, half of them judges; more changes neither.
MAX_PICTURES = 256
_AT_ONCE = 8


def picture_files(folder: Path, flag: str) -> list[Path]:
    """The pictures of a folder and the folders in it, by name; raises UsageError without any."""
    if not folder.is_dir():
        raise UsageError("no such folder", where=f"{flag} {folder}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(
            "the folder holds no pictures",
            where=f"{flag} {folder}",
            hint="put JPEG, PNG or WebP files into it",
        )
    return files


def decode_file(path: Path, to: ImageInput) -> Array:
    """uint8 [height, width, 3]; raises UsageError naming a file that is no picture."""
    limits, runtime = LimitsSettings(), RuntimeSettings()
    try:
        return decode_image(path.read_bytes(), to, limits.max_pixels, runtime.decode).array
    except OSError as error:
        raise UsageError(f"cannot read it: {error.strerror}", where=str(path)) from None
    except RequestError as error:
        raise UsageError(error.what, where=str(path), hint="take it out of the folder") from None


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly from the whole list."""
    count = min(count, len(items))
    return [items[len(items) * number // count] for number in range(count)]


def picture_samples(files: Sequence[Path], to: ImageInput) -> Iterator[Sample]:
    """The pictures in batches; a batch is called by its first and last file."""
    for start in range(0, len(files), _AT_ONCE):
        some = files[start : start + _AT_ONCE]
        pictures = np.stack([decode_file(path, to) for path in some])
        name = some[0].name if len(some) == 1 else f"{some[0].name} to {some[-1].name}"
        yield Sample(name, len(some), None, {"image": pictures})
