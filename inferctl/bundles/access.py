"""Who may change a bundle: the graph in it is code that the engine runs."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from inferctl.bundles.manifest import MANIFEST_FILE
from inferctl.bundles.repository import Bundle
from inferctl.errors import BundleError

ROOT = 0


def check_access(bundle: Bundle) -> tuple[str, ...]:
    """What should be known of who may change a bundle, its files and the folders it is found in.

    Raises BundleError when anybody may. Of root's it is only said: the volumes of a container are
    everybody's, and nobody else is in there.
    """
    try:
        return tuple(dict.fromkeys(_warnings(bundle)))
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise BundleError(
            f"the bundle's file {name!r} is missing or not a plain file",
            where=str(bundle.path),
            hint="export the bundle again",
        ) from None
    except OSError as error:
        raise BundleError(
            f"cannot see who may change the bundle: {error.strerror}", where=str(bundle.path)
        ) from None


def _warnings(bundle: Bundle) -> Iterator[str]:
    files = (bundle.path / name for name in (MANIFEST_FILE, *bundle.manifest.files))
    for path in (*_folders(bundle), *files):
        found = path.stat()
        # In a sticky folder nobody replaces what is another's.
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            if found.st_uid != ROOT:
                raise BundleError(
                    "anybody on this machine may change it",
                    where=str(path),
                    hint="chmod o-w, or copy the models elsewhere",
                )
            yield f"anybody may change {_shown(path)}; chmod o-w"
        # A group of its owner's number is its owner's alone.
        elif found.st_mode & stat.S_IWGRP and found.st_gid != found.st_uid:
            yield f"its whole group may change {_shown(path)}; chmod g-w"


def _folders(bundle: Bundle) -> list[Path]:
    """The bundle's own, and where it lies in a models folder those of its model and of all."""
    path = bundle.path.resolve()
    in_place = (path.parent.name, path.name) == (bundle.manifest.name, str(bundle.manifest.version))
    return [path, *path.parents[:2]] if in_place else [path]


def _shown(path: Path) -> str:
    """Clients may read it: it says nothing of where on this machine the models are."""
    return f"the folder {path.name}" if path.is_dir() else path.name
