"""What config.json says of any model, read with care: people edit it by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from inferctl.bundles.manifest import CARD_FILE
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.foreign import first_line
from inferctl.export.loaded import name_from, read_card
from inferctl.export.request import BundleRequest, ExportRequest

_DEFAULTS = {field.name: field.default for field in fields(ExportRequest)}


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory whose config.json was read, and what was asked of its export."""

    path: Path
    config: Mapping[str, Any]
    request: BundleRequest

    @property
    def architecture(self) -> str:
        """The class that was saved, such as ViTForImageClassification, or "nothing"."""
        return str((self.config.get("architectures") or ["nothing"])[0])

    @property
    def name(self) -> str:
        """The model's name; raises UsageError when none can be made of the folder's."""
        return self.request.name or name_from(self.path)

    def card(self) -> bytes | None:
        """The model card that was asked for, or the directory's; raises UsageError."""
        return read_card(self.request.card or self.file(CARD_FILE))

    def file(self, name: str) -> Path | None:
        """The path of a file of the directory; None when there is no such file."""
        path = self.path / name
        return path if path.is_file() else None

    def labels(self, *, at_least: int) -> tuple[str, ...]:
        """The names that were asked for, or those of id2label.

        Raises CheckpointError when id2label does not number `at_least` names from 0.
        """
        return self.request.labels or _labels(self.config, self.path, at_least)

    def refuse_flags(self, *names: str) -> None:
        """Raise UsageError for the first of these settings of the request that was given."""
        for name in names:
            if getattr(self.request, name) != _DEFAULTS[name]:
                raise UsageError(
                    "a Hugging Face directory describes its model itself",
                    where=f"--{name.replace('_', '-')}",
                    hint="leave the flag out",
                )


def open_directory(request: ExportRequest) -> Directory:
    """Read the config.json of `request.checkpoint`.

    Raises CheckpointError when it is no configuration, UsageError for flags of state dicts.
    """
    directory = Directory(
        request.checkpoint, read_json(request.checkpoint / "config.json"), request
    )
    directory.refuse_flags("factory", "weights_key", "mean", "std")
    return directory


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that must hold a JSON object; raises CheckpointError."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot read it: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise CheckpointError(f"not JSON: {first_line(error)}", where=str(path)) from None
    if not isinstance(content, dict):
        raise CheckpointError("not a model's configuration", where=str(path))
    return content


def number(config: Mapping[str, Any], key: str, otherwise: int) -> int:
    """A whole number from 0 up; absent, null and absurd ones (1e30 means unlimited) are not."""
    value = config.get(key)
    return int(value) if isinstance(value, int) and 0 <= value < 2**31 else otherwise


def _labels(config: Mapping[str, Any], path: Path, at_least: int) -> tuple[str, ...]:
    named = config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}
    try:
        by_id = {int(key): str(label) for key, label in dict(named).items()}
    except (TypeError, ValueError):
        by_id = {}
    if sorted(by_id) != list(range(len(by_id))) or len(by_id) < at_least:
        count = "two labels" if at_least == 2 else "one label"
        raise CheckpointError(
            f"id2label in config.json does not number {count} or more from 0",
            where=str(path),
            hint="correct it, or pass --labels",
        )
    return tuple(by_id[key] for key in range(len(by_id)))
