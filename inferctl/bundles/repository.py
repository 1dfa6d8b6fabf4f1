"""Finding bundles on disk: a single bundle, or a models folder `<name>/<version>/`."""

from __future__ import annotations

import json
import os
import stat
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferctl.bundles.external import external_spans
from inferctl.bundles.manifest import (
    DATA_FILE,
    GRAPH_FILE,
    MANIFEST_FILE,
    REPORT_FILE,
    File,
    Manifest,
    read_manifest,
)
from inferctl.errors import BundleError


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle folder and its parsed manifest."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Shelved:
    """A version as it lies in a models folder: its bundle, or why it cannot be served."""

    path: Path
    bundle: Bundle | None
    problem: BundleError | None = None


def open_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest and check every file it lists by size and SHA-256.

    Raises BundleError when a file is missing, changed, or a link (the graph is code: what was
    verified at export is what must be served).
    """
    bundle = Bundle(path, read_manifest(path))
    check_files(bundle)
    return bundle


def check_files(
    bundle: Bundle, *, by_hash: bool = True, on_bytes: Callable[[int], object] = lambda count: None
) -> None:
    """Check every file that the manifest lists; `on_bytes` hears how large each was.

    Raises BundleError as `open_bundle`.
    """
    for name, file in bundle.manifest.files.items():
        check_file(bundle.path, bundle.manifest, name, by_hash=by_hash)
        on_bytes(file.bytes)
    _check_weights(bundle.path, bundle.manifest)


def read_report(bundle: Path) -> dict[str, Any]:
    """What the export noted of a bundle in `report.json`; nothing where there is none.

    Not listed in the manifest, for no two exports report the same times. Raises BundleError when it
    is no report.
    """
    file = bundle / REPORT_FILE
    try:
        document = json.loads(file.read_bytes()) if file.is_file() else {}
    except (OSError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BundleError(
            "report.json is not what an export writes",
            where=str(bundle),
            hint="export the bundle again",
        )
    return document


def check_graph(bundle: Path, manifest: Manifest) -> None:
    """Check what a runtime opens: the graph, and its weights beside it.

    Raises BundleError as `open_bundle`.
    """
    for name in (GRAPH_FILE, DATA_FILE):
        if name in manifest.files:
            check_file(bundle, manifest, name)
    _check_weights(bundle, manifest)


def check_file(bundle: Path, manifest: Manifest, name: str, *, by_hash: bool = True) -> Path:
    """The path of a file that the manifest lists; without `by_hash` its size alone is compared.

    Raises BundleError as `open_bundle`.
    """
    file = bundle / name
    expected = manifest.files[name]
    try:
        if Path(name).name != name or not _is_plain(file):
            raise BundleError(
                f"the bundle's file {name!r} is missing or not a plain file",
                where=str(bundle),
                hint="export the bundle again",
            )
        if file.stat().st_nlink != 1:
            raise BundleError(
                f"the bundle's file {name!r} has a second name, by which it can be changed",
                where=str(bundle),
                hint="copy the bundle instead of linking to it",
            )
        differs = "size" if file.stat().st_size != expected.bytes else ""
        if by_hash and not differs and File.of(file) != expected:
            differs = "SHA-256"
    except OSError as error:
        raise _unreadable(f"the bundle's file {name!r}", bundle, error) from None
    if differs:
        raise BundleError(
            f"the bundle's file {name!r} is not what was exported ({differs} differs)",
            where=str(bundle),
            hint="copy the bundle again, or export it again",
        )
    return file


def _is_plain(file: Path) -> bool:
    """Raises OSError where that cannot be seen."""
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except FileNotFoundError:
        return False


def _check_weights(bundle: Path, manifest: Manifest) -> None:
    """Refuse a graph that would have another file opened than the one that was checked."""
    try:
        spans = external_spans(bundle / GRAPH_FILE)
    except OSError as error:
        raise _unreadable("the graph", bundle, error) from None
    size = manifest.files[DATA_FILE].bytes if DATA_FILE in manifest.files else 0
    for span in sorted(spans):
        if span.location != DATA_FILE or DATA_FILE not in manifest.files:
            raise BundleError(
                f"the graph takes weights from {span.location!r:.200}, "
                "which the manifest does not list",
                where=str(bundle),
                hint=f"weights lie in the graph, or in {DATA_FILE} beside it; "
                "export the bundle again",
            )
        if max(span.offset, span.end) > size:
            raise BundleError(
                f"the graph takes weights from beyond the end of {DATA_FILE}",
                where=str(bundle),
                hint="export the bundle again",
            )


def _unreadable(what: str, bundle: Path, error: OSError) -> BundleError:
    return BundleError(f"cannot read {what}: {error.strerror}", where=str(bundle))


def version_folders(root: Path) -> dict[str, dict[int, Path]]:
    """The folders of all versions below `root` by model and number, both ascending; none is opened.

    `root` is a bundle, a model folder (`<version>/` inside) or a models folder
    (`<name>/<version>/` inside). Raises BundleError when there is none.
    """
    root = _folder(root)
    if (root / MANIFEST_FILE).is_file():
        manifest = read_manifest(root)
        return {manifest.name: {manifest.version: root}}
    return {
        name: {int(folder.name): folder for folder in folders}
        for name, folders in _versions(root).items()
    }


def read_bundle(root: Path, folder: Path) -> Bundle:
    """A version found below `root`: its manifest, which must agree with its place.

    Its files are not opened. Raises BundleError.
    """
    bundle = Bundle(folder, read_manifest(folder))
    if folder != _folder(root):
        _check_place(bundle)
    return bundle


def find_bundles(root: Path) -> list[Bundle]:
    """The newest version of each model below `root`, with intact files, sorted by name.

    Raises BundleError as `version_folders`, and when one is damaged.
    """
    newest = [found[max(found)] for found in version_folders(root).values()]
    bundles = [read_bundle(root, folder) for folder in newest]
    for bundle in bundles:
        check_files(bundle)
    return bundles


def list_bundles(root: Path) -> list[Shelved]:
    """Every version of every model below `root`, a models folder or a model folder; by name, then
    version. Raises BundleError when there is none; a damaged one is listed with its problem.
    """
    return [
        _shelved(folder) for versions in _versions(_folder(root)).values() for folder in versions
    ]


def _folder(root: Path) -> Path:
    """An existing folder with a name of its own. Raises BundleError."""
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            raise NotADirectoryError
        with os.scandir(root):  # else it would seem to be empty
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            "no such folder of models", where=str(root), hint="make one with `inferctl export`"
        ) from None
    except OSError as error:
        raise _unreadable("the folder of models", root, error) from None
    # `.` and `..` have no name to hold against the manifest.
    return root if root.name.strip(".") else root.resolve()


def _versions(root: Path) -> dict[str, list[Path]]:
    """Version folders by model, both ascending. Raises BundleError when there are none."""
    by_model: defaultdict[str, list[Path]] = defaultdict(list)
    for depth in ("*", "*/*"):
        for path in root.glob(f"{depth}/{MANIFEST_FILE}"):
            if path.parent.name.isdecimal():
                by_model[path.parent.parent.name].append(path.parent)
    if not by_model:
        raise BundleError(
            "no bundle found: expected <name>/<version>/manifest.json",
            where=str(root),
            hint="make one with `inferctl export`",
        )
    return {
        model: sorted(by_model[model], key=lambda folder: int(folder.name))
        for model in sorted(by_model)
    }


def _shelved(folder: Path) -> Shelved:
    try:
        return Shelved(folder, _open_in_place(folder))
    except BundleError as problem:
        return Shelved(folder, None, problem)


def _open_in_place(folder: Path) -> Bundle:
    """Open a bundle that lies in a models folder, where its place must agree with its manifest."""
    bundle = open_bundle(folder)
    _check_place(bundle)
    return bundle


def _check_place(bundle: Bundle) -> None:
    folder, manifest = bundle.path, bundle.manifest
    if (folder.parent.name, int(folder.name)) != (manifest.name, manifest.version):
        raise BundleError(
            f"the manifest says {manifest.name} version {manifest.version}, the folder does not",
            where=str(folder),
            hint=f"move it to {manifest.name}/{manifest.version}",
        )
